"""How a training run shows itself: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from dlsuite.cli.console import drop_to_fit, err, note
from dlsuite.engine.loop import Block
from dlsuite.engine.loop import Progress as TrainingProgress
from dlsuite.engine.training import Observer
from dlsuite.planning import Plan


@contextmanager
def make_observer(plan: Plan) -> Iterator[Observer]:
    """Yields the observer that suits stderr: a live bar, or a line an epoch."""
    settings = plan.resolved.recipe.train
    if not err.is_terminal:
        yield _Lines(settings.epochs, plan.task.step_size)
        return
    with Progress(
        TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        # gives way first where the terminal is narrow
        BarColumn(bar_width=None, table_column=Column(max_width=24)),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[metrics]}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    ) as bar:
        yield _Bar(
            bar,
            settings.epochs,
            plan.task.steps_per_epoch,
            plan.task.step_size,
            settings.monitor,
        )


class _Rate:
    """Examples a second over the epoch's blocks, compiling left out."""

    def __init__(self, step_size: int):
        self._step_size = step_size
        self._steps = 0
        self._seconds = 0.0

    def block(self, block: Block) -> None:
        if not block.compiling:
            self._steps += block.count
            self._seconds += block.seconds

    def take(self, unit: str = " examples/s") -> str:
        text = self.show(unit)
        self._steps, self._seconds = 0, 0.0
        return text

    def show(self, unit: str = " examples/s") -> str:
        if not self._steps:
            return ""
        return f"{self._steps * self._step_size / self._seconds:,.0f}{unit}"


class _Display(Observer):
    def on_note(self, message: str) -> None:
        note(f"Note: {message}")


class _Lines(_Display):
    def __init__(self, epochs: int, step_size: int):
        self._epochs = epochs
        self._rate = _Rate(step_size)
        self._start = time.perf_counter()

    def on_block(self, block: Block, progress: TrainingProgress) -> None:
        self._rate.block(block)

    def on_epoch(self, row: Mapping[str, Any], is_best: bool) -> None:
        elapsed = time.perf_counter() - self._start
        self._start = time.perf_counter()
        line = _line(row, self._epochs, is_best, f"{elapsed:.1f} s", self._rate.take())
        err.print(line, soft_wrap=True)


class _Bar(_Display):
    def __init__(self, bar: Progress, epochs: int, steps: int, step_size: int, monitor: str):
        self._bar = bar
        self._monitor = monitor
        self._epochs = epochs
        self._rate = _Rate(step_size)
        self._start = time.perf_counter()
        self._table: _EpochTable | None = None
        self._task = bar.add_task(
            "", total=epochs * steps, epoch=1, epochs=epochs, metrics="compiling the first step"
        )

    def on_start(self, progress: TrainingProgress) -> None:
        self._bar.update(self._task, completed=progress.step, epoch=progress.epoch + 1)

    def on_block(self, block: Block, progress: TrainingProgress) -> None:
        self._rate.block(block)
        metrics = {name: values[-1] for name, values in sorted(block.metrics.items())}
        self._bar.update(
            self._task,
            completed=block.step,
            epoch=progress.epoch + 1,
            metrics=" ".join([*_named(metrics, ".3f"), self._rate.show()]),
        )

    def on_epoch(self, row: Mapping[str, Any], is_best: bool) -> None:
        elapsed = time.perf_counter() - self._start
        self._start = time.perf_counter()
        if self._table is None:
            self._table = _EpochTable(row, self._epochs, self._bar.console, self._monitor)
        self._table.print(row, is_best, f"{elapsed:.1f} s", self._rate.take(""))


class _EpochTable:
    """Epochs as the rows of a table that grows; what doesn't fit the width is left out.

    Each row is in ``history.csv`` and ``timing.jsonl`` whole. What chooses the best epoch, and
    which that is, stays longest.
    """

    def __init__(self, row: Mapping[str, Any], epochs: int, console: Console, monitor: str):
        self._console = console
        self._epochs = epochs
        metrics = list(_metrics(row))
        columns = ["epoch", *metrics, "best", "time", "examples/s"]
        self._widths = {name: max(len(name), 7 if name == "time" else 6) for name in columns}
        self._widths["epoch"] = max(5, 2 * len(str(epochs)) + 1)
        others = [name for name in metrics if name != monitor]
        unneeded = ("examples/s", "time", *reversed(others), "best")
        drop_to_fit(self._widths, unneeded, console.width)
        self._print({name: name for name in columns if name != "best"}, style="bold")

    def print(self, row: Mapping[str, Any], is_best: bool, elapsed: str, rate: str) -> None:
        cells = {name: _number(value) for name, value in _metrics(row).items()}
        cells |= {"epoch": f"{row['epoch']}/{self._epochs}", "best": "best" if is_best else ""}
        self._print(cells | {"time": elapsed, "examples/s": rate})

    def _print(self, cells: Mapping[str, str], style: str | None = None) -> None:
        padded = [cells.get(name, "").rjust(width) for name, width in self._widths.items()]
        self._console.print("  ".join(padded).rstrip(), style=style, soft_wrap=True)


def _line(row: Mapping[str, Any], epochs: int, is_best: bool, *ends: str) -> str:
    number = f"{row['epoch']:>{len(str(epochs))}}/{epochs}"
    mark = "best" if is_best else "    "
    return "  ".join(["epoch", number, *_named(_metrics(row)), mark, *ends]).rstrip()


def _metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in row if name not in ("epoch", "step", "learning_rate")}


def _named(metrics: Mapping[str, Any], form: str = ".4f") -> list[str]:
    return [f"{name} {_number(value, form)}" for name, value in metrics.items()]


def _number(value: Any, form: str = ".4f") -> str:
    return "-" if value is None else format(float(value), form)
