"""`dlsuite loss-landscape`: the ground around and between trained networks."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dlsuite.cli.console import err, json_option, note, out, print_json
from dlsuite.errors import DlsuiteError

if TYPE_CHECKING:
    from dlsuite.analysis.landscape_grid import Landscape
    from dlsuite.run import Run

MODES = ("line", "plane")
# Random directions of a line, whose spread is shown.
_LINES = 5
_TIMED = 3


@click.command()
@click.argument(
    "runs",
    metavar="RUN...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="plane",
    show_default=True,
    help="What is looked at.",
)
@click.option(
    "--resolution",
    metavar="N",
    type=int,
    default=25,
    show_default=True,
    help="Places along a direction; 51 is the paper's.",
)
@click.option(
    "--samples",
    metavar="N",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Images of training and of test that the loss is measured on.",
)
@click.option(
    "--span",
    metavar="X",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How far to go, in units of the filters' own norms.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the random directions.",
)
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write.  [default: the first RUN/landscape]",
)
@json_option
def command(
    runs: tuple[Path, ...],
    mode: str,
    resolution: int,
    samples: int,
    span: float,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Draw the loss around trained networks.

    \b
    dlsuite loss-landscape runs/mnist --mode line
    dlsuite loss-landscape runs/plain56 runs/resnet56 --resolution 51

    Several runs are drawn side by side with the same seed, resolution and scale: the second
    example is the figure that shows why shortcuts matter. `line` follows five random directions,
    `plane` spans two; both are filter-normalised (arXiv:1712.09913), and leave biases and
    normalization as they are. What was computed is kept while it goes on; the same command goes
    on after a kill.
    """
    import dlsuite

    loaded = [dlsuite.load(path) for path in runs]
    for run in loaded:
        run.require_task("classification", command="loss-landscape")
    folder = output or runs[0] / "landscape"
    with err.status("Loading TensorFlow and the runs ..."):
        from dlsuite.runtime import prepare

        prepare()
        from dlsuite.analysis.landscape import axis

        places = axis(resolution, span)
        jobs = [_job(run, mode, places, samples, span, seed, folder) for run in loaded]
    _announce(jobs)
    for job in jobs:
        _compute(job)
    landscapes = [job["landscape"] for job in jobs]
    with err.status("Drawing ..."):
        files = _draw(landscapes, mode, folder)
    report = {
        "folder": str(folder),
        "mode": mode,
        "files": [path.name for path in (*[job["path"] for job in jobs], *files)],
        "runs": [_numbers(landscape) for landscape in landscapes],
    }
    if as_json:
        print_json(report)
        return
    for row in report["runs"]:
        lost = f"; {row['not_finite']} points are not finite" if row["not_finite"] else ""
        out.print(
            f"{row['run']}: {row['split']} loss {row['centre_loss']:.4g} at the weights, "
            f"{row['lowest_loss']:.4g} to {row['highest_loss']:.4g} around them{lost}",
            markup=False,
        )
    out.print(f"\nFigures and data: {folder}", markup=False, soft_wrap=True)


def _job(
    run: "Run", mode: str, places: np.ndarray, samples: int, span: float, seed: int, folder: Path
) -> dict[str, Any]:
    """What is to be computed of a run: its surface, coefficients and file."""
    from dlsuite.analysis.landscape import Surface, draw_samples, random_direction, weights_of
    from dlsuite.analysis.landscape_grid import (
        digest,
        on_grid,
        one_at_a_time,
        prepare_landscape,
    )

    model = run.model
    drawn = draw_samples(run.load_data(), samples)
    weights = weights_of(model)
    count = _LINES if mode == "line" else 2
    directions = [random_direction(model, seed=seed, number=number) for number in range(count)]
    surface = Surface(model, drawn, [weights, *directions])
    if mode == "line":
        axes = {"direction": np.arange(count), "step": places}
        coefficients = one_at_a_time(count, places)
    else:
        axes = {"direction 1": places, "direction 2": places}
        coefficients = on_grid(list(axes.values()))
    settings = {
        "mode": mode, "resolution": len(places), "samples": samples, "span": span, "seed": seed,
        "weights": digest(weights),
    }  # fmt: skip
    name = run.path.resolve().name
    path = folder / f"{name}-{mode}-{len(places)}-{samples}-{span:g}-{seed}.npz"
    landscape = prepare_landscape(name, axes, drawn, settings=settings, path=path)
    return {
        "landscape": landscape, "surface": surface, "coefficients": coefficients, "path": path,
    }  # fmt: skip


def _announce(jobs: list[dict[str, Any]]) -> None:
    """Times a few points of each run and says how long the rest will take."""
    from dlsuite.analysis.landscape_grid import missing_points
    from dlsuite.studies.budget import duration

    seconds, points = 0.0, 0
    for job in jobs:
        left = missing_points(job["landscape"])
        points += left
        if left:
            first = job["coefficients"].reshape(-1, job["coefficients"].shape[-1])[:_TIMED]
            job["surface"](first)  # compiles
            start = time.perf_counter()
            job["surface"](first)
            seconds += left * (time.perf_counter() - start) / len(first)
    if points:
        note(f"{points:,} points to compute; this will take about {duration(seconds)}.")
    else:
        note("All points are there already.")


def _compute(job: dict[str, Any]) -> None:
    from dlsuite.analysis.landscape_grid import compute

    landscape = job["landscape"]
    total = int(np.prod(landscape.shape))
    with Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f} points"), TimeRemainingColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task(landscape.name, total=total)
        try:
            for done in compute(landscape, job["surface"], job["coefficients"], job["path"]):
                bar.update(task, completed=done)
        except OSError as error:
            raise DlsuiteError(
                f"The output must be writable. Received: '{job['path'].parent}' "
                f"({error.strerror}). Choose another folder with --output."
            ) from error


def _draw(landscapes: list["Landscape"], mode: str, folder: Path) -> list[Path]:
    from dlsuite.reports import landscape as figures
    from dlsuite.reports import style

    if mode == "line":
        drawn = figures.lines(landscapes, along="step along a random direction", marks=(0,))
        return [style.save(drawn, folder / "line.png")]
    files = []
    for split in landscapes[0].splits:
        files += [
            style.save(figures.contours(landscapes, split=split), folder / f"contours-{split}.png"),
            style.save(figures.surfaces(landscapes, split=split), folder / f"surface-{split}.png"),
        ]
    files.append(figures.write_page(landscapes, folder / "surface.html", split="train"))
    files += [
        figures.write_vtk(landscape, folder / f"{landscape.name}.vtk") for landscape in landscapes
    ]
    return files


def _numbers(landscape: "Landscape") -> dict[str, Any]:
    split = landscape.splits[0]
    loss = landscape.loss(split)
    middle = tuple(size // 2 for size in loss.shape)
    return {
        "run": landscape.name,
        "split": split,
        "points": int(loss.size),
        "centre_loss": float(loss[middle]),
        "lowest_loss": float(np.nanmin(loss)),
        "highest_loss": float(np.nanmax(loss)),
        "not_finite": int(np.isnan(loss).sum()),
    }
