"""What `train` and `resume` say before, during and after training."""

import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dlsuite.cli.console import err, in_units, note, out, print_json, table
from dlsuite.environment import is_emulated, worker
from dlsuite.recipes.resolve import Resolved
from dlsuite.recipes.schema import Recipe
from dlsuite.wording import counted

# What a shell or a batch queue is told; 75 is EX_TEMPFAIL: come again.
EXIT_CODES = {"finished": 0, "stopped": 0, "diverged": 3, "paused": 75, "interrupted": 130}
_QUEUE_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

_TITLE_WIDTH = 10


def _counting(
    ctx: click.Context, param: click.Parameter, hours: float | None
) -> Callable[[], float | None]:
    """Returns what tells the hours that are left: loading and preparing count as well."""
    started = time.monotonic()
    return lambda: None if hours is None else hours - (time.monotonic() - started) / 3600


max_hours_option = click.option(
    "--max-hours",
    "hours_left",
    callback=_counting,
    type=click.FloatRange(min=0, min_open=True),
    metavar="HOURS",
    help="Stop after that time, resumable, with exit code 75.",
)


def heed_queue(plan: Any = None) -> None:
    """Has a queue's signal end the process with 75 from now on, as long as nothing has begun.

    A training that has begun heeds signals by itself, until its folder says how it ended. That
    decides the exit code, and what comes after it changes nothing.

    Args:
        plan: the plan that is about to be carried out.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if plan is not None and plan.has_begun:
            return
        ignore_queue()
        if worker()[0] == 0:
            note("Stopped before the training began; nothing is changed. Give the command again.")
        raise SystemExit(EXIT_CODES["paused"])

    for number in _QUEUE_SIGNALS:
        signal.signal(number, stop)


def ignore_queue() -> None:
    """Ignores a queue's signals up to the end of the process, which Python's handlers don't see."""
    for number in _QUEUE_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def preparing() -> Iterator[None]:
    """Says what is going on, and ends with 75 at a queue's signal: nothing has begun."""
    before = [signal.getsignal(number) for number in _QUEUE_SIGNALS]
    heed_queue()
    try:
        with err.status("Loading TensorFlow and the data ..."):
            yield
    finally:
        for number, handler in zip(_QUEUE_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def report_plan(plan: Any, resolved: Resolved, *, as_json: bool) -> None:
    """Prints a plan that is not carried out: every value, where it came from, the numbers."""
    numbers = plan_numbers(plan)
    if as_json:
        origins = dict(resolved.origins)
        print_json({"recipe": resolved.recipe.model_dump(), "origins": origins, **numbers})
        return
    _print_origins(resolved)
    _print_numbers(out, numbers)


def train_and_report(plan: Any, train: Callable[[Any], Any], *, as_json: bool) -> None:
    """Carries a plan out with a live display, prints the result and ends the process.

    Args:
        plan: shown first.
        train: given the display, an observer; returns the run.
        as_json: print one object instead of tables.
    """
    from dlsuite.cli.progress import make_observer

    heed_queue(plan)
    if not plan.workers.is_chief:  # which alone speaks
        status = train(None).status
        ignore_queue()
        raise SystemExit(EXIT_CODES[status])
    _print_recipe(plan.resolved)
    _print_numbers(err, plan_numbers(plan))
    started = time.perf_counter()
    with make_observer(plan) as observer:
        run = train(observer)
    ignore_queue()
    result = _result(run, time.perf_counter() - started)
    has_test = "test" in plan.task.dataset.splits
    if as_json:
        print_json(result)
    else:
        _print_result(result, evaluated="" if has_test else " --split validation")
    raise SystemExit(EXIT_CODES[run.status])


def plan_numbers(plan: Any) -> dict[str, Any]:
    """Returns the numbers that catch mistakes before a run starts."""
    model, task = plan.task.model, plan.task
    trainable = sum(variable.shape.num_elements() for variable in model.trainable_variables)
    splits = {name: split.num_examples for name, split in task.dataset.splits.items()}
    epochs = task.recipe.train.epochs
    return {
        "model": model.name,
        "parameters": model.count_params(),
        "trainable_parameters": trainable,
        "flops_per_example": task.flops,
        "image_shape": list(task.dataset.image_shape),
        "classes": task.dataset.num_classes,
        "examples": splits,
        "steps_per_epoch": task.steps_per_epoch,
        "steps": task.steps_per_epoch * epochs,
        "examples_seen": task.steps_per_epoch * epochs * task.step_size,
        "device": plan.execution.device,
        "threads": plan.execution.threads,
        "precision": task.recipe.train.precision,
        "xla": plan.execution.use_xla,
        "xla_reason": plan.execution.xla_reason,
    }


def _print_numbers(console: Console, numbers: dict[str, Any]) -> None:
    shape = " x ".join(str(side) for side in numbers["image_shape"])
    splits = ", ".join(f"{count:,} {name}" for name, count in numbers["examples"].items())
    rows = {
        "network": [
            f"{numbers['model']}: {numbers['parameters']:,} parameters",
            f"{numbers['trainable_parameters']:,} trainable",
            f"{in_units(numbers['flops_per_example'], 'FLOPs')} an example forward",
        ],
        "images": [shape, f"{counted(numbers['classes'], 'class', 'classes')}; {splits}"],
        "training": [
            f"{counted(numbers['steps_per_epoch'], 'step')} an epoch",
            f"{numbers['steps']:,} in all",
            f"{counted(numbers['examples_seen'], 'example')} seen",
            *_left_out(numbers),
        ],
        "computing": [
            numbers["device"],
            counted(numbers["threads"], "thread"),
            *_half_precision(numbers),
            f"XLA {'on' if numbers['xla'] else 'off'} ({numbers['xla_reason']})",
        ],
    }
    for name, texts in rows.items():
        _print_titled(console, name, [escape(text) for text in texts])


def _left_out(numbers: dict[str, Any]) -> list[str]:
    """What is said of the examples that fill no batch at the end of an epoch."""
    seen = numbers["examples_seen"] // numbers["steps"] * numbers["steps_per_epoch"]
    rest = numbers["examples"]["train"] - seen
    return [f"{counted(rest, 'example')} an epoch left out, others each time"] if rest else []


def _half_precision(numbers: dict[str, Any]) -> list[str]:
    precision = numbers["precision"]
    if precision == "float32":
        return []
    if "CPU" in numbers["device"] and is_emulated(precision):
        return [f"{precision}, which this processor emulates: float32 is faster"]
    return [precision]


def _settings(recipe: Recipe) -> list[tuple[str, str, Any]]:
    """Returns (section, key, value) of each setting but the descriptive ones."""
    rows = []
    for section, values in recipe.model_dump().items():
        if section == "about":
            continue
        if not isinstance(values, dict):
            rows.append(("", section, values))
            continue
        for key, value in values.items():
            nested = value.items() if isinstance(value, dict) else [(None, value)]
            for inner, leaf in nested:
                rows.append((section, key if inner is None else f"{key}.{inner}", leaf))
    return rows


def _shown(value: Any) -> str:
    return "unset" if value is None else escape(str(value))


def _print_recipe(resolved: Resolved) -> None:
    err.print(f"[bold]recipe {resolved.name}[/]  (dim: the defaults)")
    lines: dict[str, list[str]] = {}
    # by value: a run's own recipe, by which it is resumed, spells all of them out
    defaults = {(section, key): value for section, key, value in _settings(type(resolved.recipe)())}
    for section, key, value in _settings(resolved.recipe):
        default = (section, key) in defaults and defaults[section, key] == value
        if default and (value is None or value is False or key.startswith("augment.")):
            continue  # what is unset or off is no news
        text = f"{key} {_shown(value)}"
        lines.setdefault(section, []).append(f"[dim]{text}[/]" if default else text)
    for section, texts in lines.items():
        _print_titled(err, section or "task", texts)


def _print_titled(console: Console, title: str, texts: list[str]) -> None:
    """Prints texts behind their title, further lines below the first, broken between texts."""
    if not console.is_terminal:  # in a log a paragraph stays one line
        console.print(f"[bold]{title:<{_TITLE_WIDTH}}[/] {', '.join(texts)}", soft_wrap=True)
        return
    lines, room = [[]], console.width - _TITLE_WIDTH - 1
    for text in texts:
        taken = sum(Text.from_markup(one).cell_len + 2 for one in lines[-1])
        if lines[-1] and taken + Text.from_markup(text).cell_len + 1 > room:
            lines.append([])
        lines[-1].append(text)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_TITLE_WIDTH, style="bold")
    grid.add_column(overflow="fold")
    grid.add_row(title, ",\n".join(", ".join(line) for line in lines))
    console.print(grid)


def _print_origins(resolved: Resolved) -> None:
    settings = table("setting", "value", "from", title=f"recipe {resolved.name}")
    for section, key, value in _settings(resolved.recipe):
        path = f"{section}.{key}".lstrip(".")
        settings.add_row(path, _shown(value), resolved.origins.get(path, "default"))
    out.print(settings)


def _result(run: Any, seconds: float) -> dict[str, Any]:
    info = run.info
    history = run.history
    best = info["best"]
    return {
        "run": str(run.path),
        "status": info["status"],
        "epochs": info["epochs_done"],
        "steps": info["steps_done"],
        "seconds": seconds,
        "diverged_at": info.get("diverged_at"),
        "diverged_in": info.get("diverged_in"),
        "skipped_steps": info.get("skipped_steps", 0),
        "best": best,
        "best_epoch": history[best["epoch"] - 1] if best else None,
        "last_epoch": history[-1] if history else None,
    }


def _best_and_last(best: dict[str, Any], last: dict[str, Any]) -> Table:
    """Two rows, or two columns where the terminal is too narrow for the metrics' names."""
    names = [name for name in best if name != "step"]
    cells = [
        [str(row["epoch"]), *("-" if row[n] is None else f"{row[n]:.4g}" for n in names[1:])]
        for row in (best, last)
    ]
    if sum(max(len(name), 7) + 2 for name in names) + 4 <= out.width:
        results = table("", *names, right=tuple(names))
        for title, values in zip(("best", "last"), cells, strict=True):
            results.add_row(title, *values)
    else:
        results = table("", "best", "last", right=("best", "last"))
        for row in zip(names, *cells, strict=True):
            results.add_row(*row)
    return results


def _print_result(result: dict[str, Any], *, evaluated: str) -> None:
    verdict = {
        "finished": "Finished",
        "stopped": "Stopped early, for want of improvement or by a callback,",
        "interrupted": "Interrupted; the run is usable and can go on,",
        "paused": "Stopped in time; the run can go on,",
        "diverged": f"Diverged at step {result['diverged_at']}: "
        f"{result['diverged_in'] or 'the validation'} is not finite; lower --learning-rate;",
    }[result["status"]]
    out.print(
        f"{verdict} after {counted(result['epochs'], 'epoch')}, "
        f"{counted(result['steps'], 'step')}, {result['seconds']:.1f} s."
    )
    if result["best_epoch"]:
        out.print(_best_and_last(result["best_epoch"], result["last_epoch"]))
    out.print(f"Run folder: {result['run']}", soft_wrap=True, markup=False)
    quoted = shlex.quote(result["run"])
    if result["status"] in ("interrupted", "paused"):
        out.print(f"Next: dlsuite resume {quoted}", soft_wrap=True, markup=False)
    elif result["best_epoch"]:
        out.print(f"Next: dlsuite evaluate {quoted}{evaluated}", soft_wrap=True, markup=False)
