"""Where the commands print: results on stdout, progress, notes and warnings on stderr."""

import json
import math
import os
from collections.abc import Callable, Iterable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

# piped into grep or a file, a row must stay one line
_PIPED_WIDTH = 200

out = Console(highlight=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = _PIPED_WIDTH
err = Console(stderr=True, highlight=False)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of tables."
)


def number_option(name: str, default: int, text: str, *, least: int = 1) -> Callable:
    """Returns the option of a whole number that has a default, and is `least` at the least."""
    return click.option(
        f"--{name}",
        metavar="N",
        type=click.IntRange(min=least),
        default=default,
        show_default=True,
        help=text,
    )


def is_given(name: str) -> bool:
    """Returns whether the user gave a parameter of the command that runs."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def check_nothing_before(ctx: click.Context) -> None:
    """Checks that a group got no options of its own before its subcommand, which would be lost.

    Raises:
        click.UsageError: it did.
    """
    for parameter in ctx.command.params:
        # not an argument: a group whose argument may be left out reads the subcommand by it
        if isinstance(parameter, click.Option) and is_given(parameter.name):
            raise click.UsageError(
                "Options stand behind the subcommand. Received: "
                f"{parameter.opts[0]} before {ctx.invoked_subcommand}.",
                ctx,
            )


def print_json(value: dict[str, Any]) -> None:
    """Prints one JSON object on stdout; numbers that are not finite become null."""
    click.echo(json.dumps(_finite(value), indent=2))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(*columns: str, title: str | None = None, right: tuple[str, ...] = ()) -> Table:
    """Returns an empty Rich table in the project's one style; `right` names numeric columns."""
    made = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def drop_to_fit(widths: dict[str, int], unneeded: Iterable[str], room: int) -> None:
    """Takes columns out of a table, by name to width, until it and its gaps of two fit the room.

    Args:
        widths: changed; it may stay too wide where all that is unneeded is gone.
        unneeded: what may go, the first one first.
        room: characters.
    """
    for name in unneeded:
        if sum(widths.values()) + 2 * (len(widths) - 1) <= room:
            break
        del widths[name]


def in_units(number: float, unit: str) -> str:
    """Returns a number with an SI prefix: 12.7 kFLOPs, 8.18 GFLOPs."""
    for prefix in ("", "k", "M", "G"):
        if abs(number) < 999.5:
            return f"{number:.3g} {prefix}{unit}"
        number /= 1000
    return f"{number:,.3g} T{unit}"


def note(message: str) -> None:
    """Prints a note on stderr."""
    # in a log file a path broken over two lines can't be copied
    err.print(message, markup=False, soft_wrap=not err.is_terminal)


def completion(names: Callable[[], Any]) -> Callable[..., list[str]]:
    """Returns a Click completion function over names that are read when Tab is pressed."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete
