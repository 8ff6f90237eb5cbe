"""`dlsuite profile`: show where a training step's time goes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from dlsuite.cli.console import err, json_option, note, number_option, out, print_json, table

if TYPE_CHECKING:
    from dlsuite.analysis.trace import Operation
    from dlsuite.profiling import Profile

# The input pipeline's table is shorter: it is the step that is waited for.
_NUM_INPUT = 5


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@number_option("steps", 20, "Training steps to trace, at least.")
@number_option("top", 12, "Operations to list.")
@click.option(
    "--trace",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the trace there, for TensorBoard.",
)
@json_option
def command(run: Path, steps: int, top: int, trace: Path | None, as_json: bool) -> None:
    """Show where a training step's time goes.

    Trains the run's first steps anew, into nothing, under TensorFlow's profiler, and lists the
    operations that take longest, how long the step waited for its input, and what Python took
    between compiled calls. The run stays as it is; no browser is needed.

    \b
    dlsuite profile runs/mnist
    dlsuite profile runs/mnist --steps 100 --top 30 --json
    dlsuite profile runs/mnist --trace trace; tensorboard --logdir trace
    """
    from dlsuite.profiling import profile

    with err.status("Loading TensorFlow and the data, then tracing ..."):
        found = profile(run, steps=steps, trace_dir=trace)
    if trace is not None:
        note(f"Trace: {trace} (TensorBoard shows it with the package xprof installed)")
    if as_json:
        print_json(_as_json(run, found, top))
    else:
        _print(found, top)


def _as_json(run: Path, found: "Profile", top: int) -> dict[str, Any]:
    trace = found.trace
    busy = trace.device_busy_s
    return {
        "run": str(run),
        "device": found.device,
        "threads": found.threads,
        "xla": found.use_xla,
        "batch_size": found.batch_size,
        "step_s": found.step_s,
        "traced_steps": found.steps,
        "traced_s": found.wall_s,
        "input_fraction": found.input_fraction,
        "host_fraction": found.host_fraction,
        "device_busy_fraction": None if busy is None else busy / found.wall_s,
        "operations": _rows(trace.operations, found.steps)[:top],
        "input_operations": _rows(trace.input_operations, found.steps)[:top],
    }


def _rows(operations: "Sequence[Operation]", steps: int) -> list[dict[str, Any]]:
    total = sum(operation.seconds for operation in operations)
    return [
        {
            "name": operation.name,
            "fraction": operation.seconds / total if total else 0.0,
            "s_per_step": operation.seconds / steps,
            "calls_per_step": operation.calls / steps,
        }
        for operation in operations
    ]


def _print(found: "Profile", top: int) -> None:
    rate = found.batch_size / found.step_s
    out.print(
        f"A step of {found.batch_size} takes [bold]{_ms(found.step_s)}[/bold] ({rate:,.0f} "
        f"examples/s) on {found.device[1:]}, {found.threads} thread(s), XLA "
        f"{'on' if found.use_xla else 'off'}. Traced: {found.steps} steps."
    )
    shown = table("\nof the time", "", right=("",))
    rest = 1 - found.input_fraction - found.host_fraction
    shown.add_row("computing the step", f"{rest:.1%}")
    shown.add_row("waiting for input", f"{found.input_fraction:.1%}")
    shown.add_row("host, between compiled calls", f"{found.host_fraction:.1%}")
    if found.trace.device_busy_s is not None:
        shown.add_row("GPU busy, of all", f"{found.trace.device_busy_s / found.wall_s:.1%}")
    out.print(shown)
    _print_operations("operation of the step", found.trace.operations, found.steps, top)
    _print_operations(
        "operation of the input pipeline", found.trace.input_operations, found.steps, _NUM_INPUT
    )
    out.print(
        "[dim]Shares are of all operations of their kind; they overlap where several run at once, "
        "as the input pipeline does with the step.[/dim]"
    )


def _print_operations(title: str, operations: "Sequence[Operation]", steps: int, top: int) -> None:
    numbers = ("share", "time a step", "calls a step")
    shown = table(f"\n{title}", *(f"\n{name}" for name in numbers))
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in _rows(operations, steps)[:top]:
        shown.add_row(
            escape(row["name"]),
            f"{row['fraction']:.1%}",
            _ms(row["s_per_step"]),
            f"{row['calls_per_step']:.3g}",
        )
    if len(operations) > top:
        rest = sum(row["fraction"] for row in _rows(operations, steps)[top:])
        shown.add_row(f"[dim]{len(operations) - top} others[/dim]", f"{rest:.1%}")
    out.print(shown)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"
