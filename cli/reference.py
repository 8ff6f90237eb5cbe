"""The command-line reference, made from the commands' own help.

`python -m dlsuite.cli.reference > docs/cli.md` writes it anew.
"""

from collections.abc import Iterator

import click

from dlsuite.cli.main import cli

_WIDTH = 90


def reference() -> str:
    """Returns the help of every command as one Markdown page."""
    page = [
        "# Command-line reference",
        "",
        "Made from the commands' own help by `python -m dlsuite.cli.reference > docs/cli.md`.",
    ]
    root = click.Context(cli, info_name="dlsuite", terminal_width=_WIDTH, max_content_width=_WIDTH)
    for ctx in _contexts(root):
        page += ["", f"## {ctx.command_path}", "", "```text", ctx.get_help(), "```"]
    return "\n".join(page) + "\n"


def _contexts(ctx: click.Context) -> Iterator[click.Context]:
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            yield from _contexts(
                click.Context(
                    command,
                    info_name=name,
                    parent=ctx,
                    terminal_width=_WIDTH,
                    max_content_width=_WIDTH,
                    **command.context_settings,
                )
            )


if __name__ == "__main__":
    click.echo(reference(), nl=False)
