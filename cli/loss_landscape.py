"""`dlsuite loss-landscape`: the ground around and between trained networks."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dlsuite.cli.console import err, json_option, note, number_option, out, print_json
from dlsuite.cli.hessian import measure_hessians
from dlsuite.errors import DlsuiteError
from dlsuite.wording import counted

if TYPE_CHECKING:
    from dlsuite.analysis.landscape_grid import Landscape
    from dlsuite.analysis.landscape_modes import Grid, Job, Subject

MODES = ("line", "plane", "between", "trajectory", "hessian")
_TIMED = 3
_CURVE_STEPS = 400


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
    help="Places along a direction, an odd number; 51 is the paper's.",
)
@number_option("samples", 512, "Images of training and of test that the loss is measured on.")
@click.option(
    "--span",
    metavar="X",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How far to go, in units of the filters' own norms.",
)
@number_option("seed", 0, "Of the random directions.", least=0)
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
    dlsuite loss-landscape runs/mnist --mode hessian --samples 256

    Several runs are drawn side by side with the same seed, resolution and scale: the second
    example is the figure that shows why shortcuts matter. `line` follows five random directions,
    `plane` spans two; both are filter-normalised (arXiv:1712.09913), and leave biases and
    normalization as they are. `between` goes from one run to another, straight and on a
    curve of low loss that is trained for it (arXiv:1802.10026).
    `trajectory` draws a training's path in its own plane, with the true loss beside the plane's;
    train with --set train.trajectory=true to keep the path. `hessian` gives the largest
    eigenvalues, trace, spectral density and sharpness. Points of a grid, and whole Hessians, are
    kept as they are computed; the same command goes on after a kill.
    """
    import dlsuite

    loaded = [dlsuite.load(path) for path in runs]
    for run in loaded:
        run.require_task("classification", command="loss-landscape")
    if mode == "between" and len(runs) != 2:
        raise DlsuiteError(
            f"A line between networks has two ends. Received: {counted(len(runs), 'run')}. Name "
            "two runs of one model."
        )
    folder = output or loaded[0].path / "landscape"
    with err.status("Loading TensorFlow and the runs ..."):
        from dlsuite.runtime import prepare

        prepare()
        from dlsuite.analysis.landscape import draw_samples
        from dlsuite.analysis.landscape_modes import Grid, Subject

        grid = Grid(resolution, samples, span, seed, folder)
        subjects = [
            Subject(
                name,
                run.path,
                _in_float32(run),
                draw_samples(run.load_data(), samples),
            )
            for name, run in zip(_names([run.path for run in loaded]), loaded, strict=True)
        ]
    with _writing(folder):
        if mode == "hessian":
            report = measure_hessians(subjects, folder, seed=seed)
        else:
            jobs = _jobs(mode, subjects, grid)
            _announce(jobs)
            for job in jobs:
                _compute(job)
            report = _draw(jobs, mode, folder)
    report = {"folder": str(folder), "mode": mode, **report}
    if as_json:
        print_json(report)
        return
    for row in report["runs"]:
        out.print(_sentence(row), markup=False)
    out.print(f"\nFigures and data: {folder}", markup=False, soft_wrap=True)


def _names(runs: Sequence[Path]) -> list[str]:
    """The runs' own names; of those called the same, as much of the path as tells them apart."""
    paths = [run.resolve() for run in runs]
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(set(paths)):
        depth += 1
    # a path's root is no part of a file's name
    return ["-".join(part for part in path.parts[-depth:] if part != path.anchor) for path in paths]


def _in_float32(run: Any) -> Any:
    """A run's model, which computes in float32 whatever it was trained in."""
    if run.recipe.train.precision == "float32":
        return run.model
    import keras

    from dlsuite.models.graft import graft

    note(f"{run.path.name} was trained in {run.recipe.train.precision}; its loss is in float32.")
    image = keras.Input(run.model.input_shape[1:], name=run.model.inputs[0].name)
    return keras.Model(image, graft(run.model, image, policy="float32"))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Checks that the folder can be written, before the work whose results it gets."""
    import tensorflow as tf

    from dlsuite.runs.folder import check_writable

    try:
        check_writable(folder)
        yield
    except tf.errors.ResourceExhaustedError:
        raise DlsuiteError(
            "A network's passes must fit into the device's memory. Received: out of memory. Take "
            "fewer than 128 --samples, as many as a pass has."
        ) from None
    except OSError as error:
        raise DlsuiteError(
            f"The output must be writable. Received: '{folder}' ({error.strerror}). Choose another "
            "folder with --output."
        ) from error


def _jobs(mode: str, subjects: list["Subject"], grid: "Grid") -> list["Job"]:
    from dlsuite.analysis import landscape_modes as modes

    if mode == "between":
        with _training_a_curve() as progress:
            return [modes.between_job(*subjects, grid, _CURVE_STEPS, progress=progress)]
    if mode == "trajectory":
        with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
            tasks = [bar.add_task(f"Path of {subject.name}", total=None) for subject in subjects]
            return [
                modes.trajectory_job(
                    subject,
                    grid,
                    progress=lambda done, of, task=task: bar.update(task, completed=done, total=of),
                )
                for subject, task in zip(subjects, tasks, strict=True)
            ]
    make = {"line": modes.line_job, "plane": modes.plane_job}
    return [make[mode](subject, grid) for subject in subjects]


@contextmanager
def _training_a_curve() -> Iterator[Callable[[int], None]]:
    """Yields what shows a curve's training, whose time it says after a few steps."""
    from dlsuite.studies.budget import duration

    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("Training a curve", total=_CURVE_STEPS)
        start = time.perf_counter()

        def progress(step: int) -> None:
            nonlocal start
            if step == 1:  # which compiled
                start = time.perf_counter()
            elif step == 1 + _TIMED:
                seconds = (time.perf_counter() - start) / _TIMED * _CURVE_STEPS
                note(
                    f"A curve between the runs is trained for {_CURVE_STEPS} steps, which will "
                    f"take about {duration(seconds)}."
                )
            bar.update(task, completed=step)

        yield progress


def _announce(jobs: list["Job"]) -> None:
    """Times a few points of each landscape and says how long the rest will take."""
    from dlsuite.analysis.landscape_grid import missing_points
    from dlsuite.studies.budget import duration

    seconds, points = 0.0, 0
    for job in jobs:
        left = missing_points(job.landscape)
        points += left
        if left:
            first = job.coefficients.reshape(-1, job.coefficients.shape[-1])[:_TIMED]
            job.surface(first)  # compiles
            start = time.perf_counter()
            job.surface(first)
            seconds += left * (time.perf_counter() - start) / len(first)
    if points:
        note(f"{points:,} points to compute; this will take about {duration(seconds)}.")
    else:
        note("All points are there already.")


def _compute(job: "Job") -> None:
    from dlsuite.analysis.landscape_grid import compute

    total = int(np.prod(job.landscape.shape))
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f} points"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as bar:
        task = bar.add_task(job.landscape.name, total=total)
        for done in compute(job.landscape, job.surface, job.coefficients, job.path):
            bar.update(task, completed=done)


def _draw(jobs: list["Job"], mode: str, folder: Path) -> dict[str, Any]:
    """Draws what was computed and returns the report's files and runs."""
    from dlsuite.reports import landscape as figures
    from dlsuite.reports import path, style

    landscapes = [job.landscape for job in jobs]
    files = [job.path for job in jobs]
    rows = [_numbers(landscape) for landscape in landscapes]
    shared, missing = _splits(landscapes)
    with err.status("Drawing ..."):
        if mode == "line":
            drawn = figures.lines(landscapes, along="step along a random direction", marks=(0,))
            files.append(style.save(drawn, folder / "line.png"))
        elif mode == "between":
            rows[0]["barriers"] = _barriers(landscapes[0])
            drawn = path.between(landscapes[0])
            files.append(style.save(drawn, folder / "between.png"))
        elif mode == "trajectory":
            for job, row in zip(jobs, rows, strict=True):
                row["explained_variance"] = job.plane.explained.tolist()
                row["along_path"] = {key: value.tolist() for key, value in job.along.items()}
                drawn = path.path_in_plane(job.landscape, job.plane, job.along, split="train")
                files.append(style.save(drawn, folder / f"trajectory-{job.landscape.name}.png"))
        else:
            if missing:
                note(f"Not drawn, since not every run has it: the {', '.join(missing)} split.")
            for split in shared:
                for name, draw in (("contours", figures.contours), ("surface", figures.surfaces)):
                    drawn = draw(landscapes, split=split)
                    files.append(style.save(drawn, folder / f"{name}-{split}.png"))
        if mode in ("plane", "trajectory"):
            stem = "surface" if mode == "plane" else "trajectory"
            for split in shared:
                page = folder / (f"{stem}.html" if split == "train" else f"{stem}-{split}.html")
                tracks = None
                if mode == "trajectory":
                    tracks = [
                        np.column_stack([job.plane.coordinates, job.along[f"{split}_plane"]])
                        for job in jobs
                    ]
                files.append(figures.write_page(landscapes, page, split=split, tracks=tracks))
            files += [
                figures.write_vtk(job.landscape, job.path.with_suffix(".vtk")) for job in jobs
            ]
    return {"files": [file.name for file in files], "runs": rows}


def _splits(landscapes: Sequence["Landscape"]) -> tuple[list[str], list[str]]:
    """The splits that all landscapes have, and those that only some have."""
    every = list(dict.fromkeys(split for one in landscapes for split in one.splits))
    shared = [split for split in every if all(split in one.splits for one in landscapes)]
    return shared, [split for split in every if split not in shared]


def _numbers(landscape: "Landscape") -> dict[str, Any]:
    split = landscape.splits[0]
    loss = landscape.loss(split)
    return {
        "run": landscape.name,
        "split": split,
        "points": int(loss.size),
        "lowest_loss": float(np.nanmin(loss)),
        "highest_loss": float(np.nanmax(loss)),
        "not_finite": int(np.isnan(loss).sum()),
    }


def _barriers(landscape: "Landscape") -> dict[str, dict[str, float]]:
    """How far the loss between two networks rises above the higher of the two, by split and way."""
    places = landscape.axes["place"]
    inside = (places >= 0) & (places <= 1)
    found = {}
    for split in landscape.splits:
        ways = landscape.loss(split)[:, inside]
        higher = max(ways[0, 0], ways[0, -1])
        rises = [float(np.max(way) - higher) for way in ways]
        found[split] = dict(zip(("straight", "curve"), rises, strict=True))
    return found


def _sentence(row: dict[str, Any]) -> str:
    if "eigenvalues" in row:
        values = ", ".join(f"{value:.4g}" for value in row["eigenvalues"])
        return (
            f"{row['run']}: largest eigenvalues {values}; smallest {row['smallest']:.3g}; trace "
            f"{row['trace']:.4g} +- {row['trace_error']:.2g}; sharpness {row['sharpness']:.3g}"
        )
    said = (
        f"{row['run']}: {row['split']} loss from {row['lowest_loss']:.4g} to "
        f"{row['highest_loss']:.4g} over {row['points']:,} points"
    )
    if row["not_finite"]:
        said += f", {row['not_finite']} of which are not finite"
    for split, rises in row.get("barriers", {}).items():
        said += (
            f"; {split}: the line rises {rises['straight']:.3g} above the higher end, the curve "
            f"{rises['curve']:.3g}"
        )
    if "explained_variance" in row:
        said += f"; the plane holds {100 * sum(row['explained_variance']):.0f} % of the variance"
    return said
