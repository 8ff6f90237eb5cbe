"""`dlsuite runs`: list run folders, or show one."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem
from rich.markup import escape

from dlsuite.cli.console import (
    check_nothing_before,
    drop_to_fit,
    json_option,
    note,
    out,
    print_json,
    table,
)
from dlsuite.errors import DlsuiteError
from dlsuite.runs.folder import RunFolder, RunSummary, list_runs
from dlsuite.runs.lock import is_broken_off

# columns of a terminal in which the listing leaves model, data and time to `runs show`
_NARROW = 120


class ListOrShow(click.Group):
    """A listing with an optional folder that also has a verb: `runs [FOLDER]`, `runs show RUN`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A first word that is a verb stands for itself, with the default folder before it."""
        if args and args[0] in self.commands:
            args = ["runs", *args]
        else:
            ctx.allow_interspersed_args = True
        return super().parse_args(ctx, args)


def _complete_folder(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    verbs = [name for name in ctx.command.commands if name.startswith(incomplete)]
    return [*map(CompletionItem, verbs), CompletionItem(incomplete, type="dir")]


@click.group(cls=ListOrShow, invoke_without_command=True, subcommand_metavar="| show RUN")
@click.argument(
    "folder",
    default="runs",
    type=click.Path(path_type=Path, file_okay=False),
    shell_complete=_complete_folder,
)
@json_option
@click.pass_context
def command(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """List run folders, or show one.

    FOLDER holds the runs; without one, it is ./runs, where `dlsuite train` puts them.

    \b
    dlsuite runs
    dlsuite runs /scratch/experiments --json
    dlsuite runs show runs/mnist

    Newest first. `dlsuite runs show` takes one run and gives its settings, progress and
    metrics by epoch. Wherever a RUN is asked for, the bare name of one in ./runs will do.
    docs/json.md lists the keys of `--json`.
    """
    if ctx.invoked_subcommand is not None:
        check_nothing_before(ctx)
        return
    if ctx.get_parameter_source("folder") is ParameterSource.COMMANDLINE and not folder.is_dir():
        raise DlsuiteError(
            f"FOLDER holds run folders. Received: '{folder}', which doesn't exist. Check the path."
        )
    runs = list_runs(folder)
    if as_json:
        print_json({"folder": str(folder), "runs": [_summary(run) for run in runs]})
        return
    if not runs:
        if (folder / "run.json").is_file():
            note(f"'{folder}' is itself a run. Show it with `dlsuite runs show {folder}`.")
        else:
            note(f"There are no runs in '{folder}'. `dlsuite train` makes one.")
        return
    columns = ("run", "status", "epochs", "val_accuracy", "val_loss", "model", "data", "created")
    is_narrow = out.width < _NARROW
    listing = table(*columns[: 5 if is_narrow else None], right=columns[2:5])
    for column in listing.columns:
        column.no_wrap = column.header != "data"  # what is copied stays in one piece
    for run in runs:
        info, best = run.info, _best_epoch(run)
        row = (
            escape(run.path.name),
            escape(_status(run.path, info)),
            str(info.get("epochs_done", "-")),
            _cell(best.get("val_accuracy")),
            _cell(best.get("val_loss")),
            escape(str(info.get("model", "-"))),
            escape(str(info.get("data", "-"))),
            _local_time(info.get("created")),
        )
        listing.add_row(*row[: len(listing.columns)])
    out.print(listing)


@command.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option("--figure", is_flag=True, help="Draw the training curves into RUN/training.png.")
@json_option
def show(run: Path, figure: bool, as_json: bool) -> None:
    """Show a run's settings, progress and metrics by epoch.

    \b
    dlsuite runs show runs/mnist
    dlsuite runs show runs/mnist --figure
    """
    folder = RunFolder.open(run)
    info = folder.read("run.json")
    # a run that failed early lacks what comes later
    dataset = folder.read("dataset.json") if (folder.path / "dataset.json").exists() else None
    history = folder.read("history.json") if (folder.path / "history.json").exists() else []
    if as_json:
        summary = _summary(RunSummary(folder.path, info))
        print_json({**info, **summary, "dataset": dataset, "history": history})
    else:
        _print_run(folder, info, dataset, history)
    if figure:
        _draw(folder, info, history)


def _draw(folder: RunFolder, info: dict[str, Any], history: list[dict[str, Any]]) -> None:
    from dlsuite.reports.training import write_training_curves

    path = folder.path / "training.png"
    try:
        write_training_curves(history, path, best=info.get("best"))
    except OSError as error:
        raise DlsuiteError(
            f"The run folder must be writable. Received: '{path}' ({error.strerror}). "
            "Free space, or copy the run to where you may write."
        ) from error
    note(f"Written: {path}")


def _summary(run: RunSummary) -> dict[str, Any]:
    info = run.info
    keys = ("status", "recipe", "model", "data", "epochs_done", "parameters", "created", "ended")
    return {
        "name": run.path.name,
        "path": str(run.path),
        **{key: info.get(key) for key in keys},
        "best": info.get("best"),
        "metrics": _best_epoch(run) or None,
    }


def _best_epoch(run: RunSummary) -> dict[str, Any]:
    """The metrics of the run's best epoch; empty where none has ended."""
    best = run.info.get("best")
    try:
        history = RunFolder(run.path).read("history.json") if best else []
    except DlsuiteError:  # a damaged run must not hide the others
        history = []
    return next((row for row in history if row["epoch"] == best["epoch"]), {})


def _print_run(
    folder: RunFolder,
    info: dict[str, Any],
    dataset: dict[str, Any] | None,
    history: list[dict[str, Any]],
) -> None:
    settings = table("setting", "value")
    settings.show_header = False
    rows = {
        "run": str(folder.path),
        "status": _status(folder.path, info),
        "recipe": info.get("recipe"),
        "model": info.get("model"),
        "parameters": f"{info['parameters']:,}" if "parameters" in info else None,
        "data": info.get("data"),
        "created": _local_time(info.get("created")),
        "ended": _local_time(info.get("ended")),
        "epochs": info.get("epochs_done"),
        "steps": info.get("steps_done"),
        "best": _best(info),
    }
    if dataset is not None:
        height, width, channels = dataset["image_shape"]
        rows["images"] = f"{height} x {width} x {channels}"
        rows["classes"] = f"{len(dataset['class_names']):,}"
        rows["examples"] = ", ".join(f"{n:,} {name}" for name, n in dataset["splits"].items())
    for name, value in rows.items():
        settings.add_row(name, escape("-" if value is None else str(value)))
    out.print(settings)
    if history:
        out.print()
        _print_epochs(history, (info.get("best") or {}).get("monitor"))


def _print_epochs(history: list[dict[str, Any]], monitor: str | None) -> None:
    """A row an epoch; what doesn't fit the width is left out, and named."""
    columns = dict.fromkeys(key for row in history for key in row)
    cells = {name: [_cell(row.get(name)) for row in history] for name in columns}
    widths = {name: max(map(len, (name, *texts))) for name, texts in cells.items()}
    kept = ("epoch", monitor)
    drop_to_fit(widths, [name for name in reversed(columns) if name not in kept], out.width)
    epochs = table(*widths, right=tuple(widths))
    for row in zip(*(cells[name] for name in widths), strict=True):
        epochs.add_row(*row)
    out.print(epochs)
    if left_out := [name for name in columns if name not in widths]:
        note(f"Left out, as they don't fit {out.width} columns: {', '.join(left_out)}.")


def _status(path: Path, info: dict[str, Any]) -> str:
    """The run's own word, or that its process was killed, which it can't say itself."""
    status = str(info.get("status", "-"))
    return "broken off" if status == "running" and is_broken_off(RunFolder(path)) else status


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _best(info: dict[str, Any]) -> str:
    best = info.get("best")
    if not best:
        return "-"
    return f"{best['monitor']} {_cell(best['value'])} (epoch {best['epoch']})"


def _local_time(moment: str | None) -> str:
    if moment is None:
        return "-"
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"
