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
    root = _context(cli, "dlsuite", None)
    for ctx in _contexts(root):
        page += ["", f"## {ctx.command_path}", "", "```text", ctx.get_help(), "```"]
    return "\n".join(page) + "\n"


def _contexts(ctx: click.Context) -> Iterator[click.Context]:
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            yield from _contexts(_context(ctx.command.get_command(ctx, name), name, ctx))


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    widths = {"terminal_width": _WIDTH, "max_content_width": _WIDTH}
    settings = command.context_settings | widths
    return click.Context(command, info_name=name, parent=parent, **settings)


if __name__ == "__main__":
    click.echo(reference(), nl=False)
