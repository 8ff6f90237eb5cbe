"""`dlsuite optimizers`: list optimizers and learning-rate schedules, or show one."""

from typing import Any

import click
from rich.markup import escape

from dlsuite.cli.console import (
    check_nothing_before,
    completion,
    json_option,
    out,
    print_json,
    table,
)
from dlsuite.errors import unknown_name
from dlsuite.optimizers import OPTIMIZERS, SCHEDULES
from dlsuite.registry import Entry

# What a step takes off a kernel, apart from the kernel itself.
_COUPLING = {"learning rate": "learning rate x lambda", "schedule": "schedule multiplier x lambda"}
_SHORT_COUPLING = {"learning rate": "rate x lambda", "schedule": "schedule x lambda"}


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List optimizers and learning-rate schedules.

    \b
    dlsuite optimizers
    dlsuite optimizers show adamw-paper
    dlsuite train --optimizer nesterov --learning-rate 0.1 --schedule one_cycle
    """
    if ctx.invoked_subcommand is not None:
        check_nothing_before(ctx)
        return
    if as_json:
        print_json(
            {
                "optimizers": [_optimizer(entry) for entry in OPTIMIZERS.values()],
                "schedules": [_schedule(entry) for entry in SCHEDULES.values()],
            }
        )
        return
    optimizers = table("optimizer", "rate", "weight decay", "what it does", right=("rate",))
    for entry in OPTIMIZERS.values():
        optimizers.add_row(
            entry.name,
            _said(entry.details.get("learning_rate")),
            _SHORT_COUPLING.get(entry.details.get("coupling"), ""),
            f"{entry.description}\n[dim]{entry.source}[/dim]",
        )
    out.print(optimizers)
    out.print()
    schedules = table("schedule", "learning rate over training")
    for row in map(_schedule, SCHEDULES.values()):
        source = f"\n[dim]{row['source']}[/dim]" if row["source"] else ""
        schedules.add_row(row["name"], row["description"] + source)
    out.print(schedules)


@command.command()
@click.argument("name", shell_complete=completion(lambda: [*OPTIMIZERS, *SCHEDULES]))
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the options and defaults of an optimizer or a schedule.

    \b
    dlsuite optimizers show muon
    dlsuite optimizers show one_cycle --json
    """
    if name in OPTIMIZERS:
        section, row = "optimizer", _optimizer(OPTIMIZERS[name])
    elif name in SCHEDULES:
        section, row = "schedule", _schedule(SCHEDULES[name])
    else:
        raise unknown_name(
            "optimizer or schedule",
            name,
            [*OPTIMIZERS, *SCHEDULES],
            "List them with `dlsuite optimizers`.",
        )
    if as_json:
        print_json({"kind": section, **row})
        return
    out.print(f"[bold]{row['name']}[/bold]: {row['description']}")
    if row["source"]:
        out.print(f"[dim]{row['source']}[/dim]")
    if row["note"]:
        out.print(row["note"], markup=False)
    settings = table("key of a recipe", "default")
    if section == "optimizer":
        settings.add_row("optimizer.learning_rate", _said(row["learning_rate"]))
        settings.add_row(
            "optimizer.weight_decay", f"{_said(row['weight_decay'])} (lambda: {row['coupling']})"
        )
    else:
        settings.add_row("schedule.warmup_epochs", "0")
    for option, default in row["options"].items():
        settings.add_row(f"{section}.{option}", escape(_said(default)))
    out.print()
    out.print(settings)


def _optimizer(entry: Entry) -> dict[str, Any]:
    coupling = entry.details.get("coupling")
    return {
        "name": entry.name,
        "description": entry.description,
        "source": entry.source,
        "learning_rate": entry.details.get("learning_rate"),
        "weight_decay": entry.details.get("weight_decay"),
        "coupling": _COUPLING.get(coupling, ""),
        "note": entry.details.get("note", ""),
        "options": dict(entry.options),
    }


def _schedule(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "description": entry.description,
        "source": entry.source,
        "note": entry.details.get("note", ""),
        "options": dict(entry.options),
    }


def _said(value: Any) -> str:
    """A value as a recipe writes it."""
    if isinstance(value, str):
        return f'"{value}"'
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_said, value)) + "]"
    return str(value)
