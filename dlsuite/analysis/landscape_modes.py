"""What each mode of a landscape computes: its grid, its weight vectors, its file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dlsuite.analysis.connectivity import Curve, bezier
from dlsuite.analysis.landscape import (
    Samples,
    Surface,
    Weights,
    axis,
    check_shapes,
    random_direction,
    weights_of,
)
from dlsuite.analysis.landscape_grid import (
    DAMAGED,
    Landscape,
    digest,
    on_grid,
    one_at_a_time,
    prepare_landscape,
    samples_digest,
)
from dlsuite.analysis.trajectory import PathPlane, load_path, path_plane
from dlsuite.errors import DlsuiteError
from dlsuite.runs.folder import replacing

# Losses of two networks with the same weights are the same up to this share: those of trainings on
# other parts of the data normalise a little differently.
_ALIKE = 0.01
# Random directions of a line, whose spread is shown.
_LINES = 5


@dataclass(frozen=True)
class Subject:
    """A trained network and what its loss is measured on.

    Attributes:
        name: of the run.
        run: its folder.
        model: images as stored in, logits out.
        samples: by split.
    """

    name: str
    run: Path
    model: keras.Model
    samples: Mapping[str, Samples]


@dataclass(frozen=True)
class Grid:
    """How a landscape is laid.

    Attributes:
        resolution: places along a direction.
        samples: examples of each split that were asked for.
        span: how far random directions go.
        seed: of the random directions.
        folder: where the file lies.
    """

    resolution: int
    samples: int
    span: float
    seed: int
    folder: Path


@dataclass(frozen=True)
class Job:
    """A landscape to be computed.

    Attributes:
        landscape: empty, or what its file held.
        surface: the network on its samples.
        coefficients: of the surface's weight vectors, (*grid, basis).
        path: of the ``.npz`` file.
        plane: of a training's path, in that mode.
        along: values of the path's points, in that mode: plane's loss and true loss, by split.
    """

    landscape: Landscape
    surface: Surface
    coefficients: np.ndarray
    path: Path
    plane: PathPlane | None = None
    along: dict[str, np.ndarray] = field(default_factory=dict)


def line_job(subject: Subject, grid: Grid) -> Job:
    """Returns five random lines through a network's weights."""
    places = axis(grid.resolution, grid.span)
    directions = [
        random_direction(subject.model, seed=grid.seed, number=number) for number in range(_LINES)
    ]
    basis = [weights_of(subject.model), *directions]
    axes = {"direction": np.arange(_LINES), "step": places}
    return _job(subject, grid, "line", axes, basis, one_at_a_time(_LINES, places))


def plane_job(subject: Subject, grid: Grid) -> Job:
    """Returns the plane of two random directions through a network's weights."""
    places = axis(grid.resolution, grid.span)
    directions = [random_direction(subject.model, seed=grid.seed, number=n) for n in range(2)]
    basis = [weights_of(subject.model), *directions]
    axes = {"direction 1": places, "direction 2": places}
    return _job(subject, grid, "plane", axes, basis, on_grid([places, places]))


def trajectory_job(
    subject: Subject, grid: Grid, *, progress: Callable[[int, int], object] = lambda done, of: None
) -> Job:
    """Returns the plane of a training's path, with the path's true losses beside the plane's.

    Args:
        subject: the network.
        grid: how the plane is laid.
        progress: called with the points of the path that are measured, and how many it has.

    Raises:
        DlsuiteError: the run kept no path.
    """
    axis(grid.resolution, 1.0)  # checked as everywhere
    plane = path_plane(subject.model, load_path(subject.run))
    places = plane.axes(grid.resolution)
    axes = {f"component {number}": along for number, along in enumerate(places, start=1)}
    basis = [plane.points[-1], *plane.directions]
    job = _job(subject, grid, "trajectory", axes, basis, on_grid(places))
    count = len(plane.points)
    rows = np.column_stack([np.ones(count), plane.coordinates])
    in_plane = job.surface(rows)
    # one point at a time: all of a path's weights at once may be many
    network, measured = Surface(subject.model, subject.samples, plane.points[:1]), []
    for done, point in enumerate(plane.points, start=1):
        network.move([point])
        measured.append(network(np.ones((1, 1))))
        progress(done, count)
    true = np.concatenate(measured)
    for index, split in enumerate(subject.samples):
        job.along[f"{split}_plane"] = in_plane[:, index, 0]
        job.along[f"{split}_true"] = true[:, index, 0]
    return Job(**vars(job) | {"plane": plane})


def between_job(
    one: Subject,
    other: Subject,
    grid: Grid,
    curve_steps: int,
    *,
    progress: Callable[[int], object] = lambda step: None,
) -> Job:
    """Returns two ways between networks: the straight line, and a curve of low loss.

    The line goes on about half a way beyond each network, in steps that meet both. Moving
    statistics of normalization follow either way too, as far as the networks. The curve is trained
    here, and kept beside the landscape's file.

    Args:
        one: at place 0.
        other: at place 1.
        grid: its seed is that of the curve's training.
        curve_steps: training steps of the curve's control point.
        progress: called after each of them.

    Raises:
        DlsuiteError: networks of different shapes or that compute differently, or the same
            weights twice.
    """
    steps = len(axis(grid.resolution, 1.0)) // 2  # from one network to the other
    beyond = (steps + 1) // 2
    places = np.arange(-beyond, steps + beyond + 1) / steps
    first, second = weights_of(one.model), weights_of(other.model)
    check_shapes(one.model, [first, second])
    ends = digest(first), digest(second)
    if ends[0] == ends[1]:
        raise DlsuiteError(
            f"A line needs two different ends. Received: {one.name} and {other.name}, whose "
            "weights are the same. Name two trainings of one model."
        )
    _check_alike(one, other)
    about = f"{ends[0]:08x}-{ends[1]:08x}-{grid.samples}-{grid.seed}-{curve_steps}"
    kept = grid.folder / f"curve-{about}.npz"
    control = _kept_weights(kept)
    if control is None:
        curve = Curve(one.model, first, second, one.samples["train"], seed=grid.seed)
        for step, _ in enumerate(curve.train(curve_steps), start=1):
            progress(step)
        control = curve.control
        grid.folder.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as temporary:
            np.savez(temporary, *control)
    straight = np.stack([1 - places, np.zeros_like(places), places], axis=-1)
    # beyond its ends the curve is nothing that was trained
    inside = np.clip(places, 0, 1)
    coefficients = np.stack([straight, bezier(inside)])
    axes = {"way": np.arange(2), "place": places}
    name = f"{one.name} to {other.name}"
    return _job(
        one,
        grid,
        "between",
        axes,
        [first, control, second],
        coefficients,
        name=name,
        extrapolates_statistics=False,
    )


def _check_alike(one: Subject, other: Subject) -> None:
    """Checks that two networks compute the same from the same weights.

    Raises:
        DlsuiteError: they don't.
    """
    weights, at = [weights_of(other.model)], np.ones((1, 1))
    losses = [
        Surface(model, one.samples, weights)(at)[0, 0, 0] for model in (one.model, other.model)
    ]
    if not np.isclose(*losses, rtol=_ALIKE):
        raise DlsuiteError(
            "A line between networks needs two that differ in their weights alone. Received: "
            f"{one.name} and {other.name}: with the weights of the second, the first has a loss of "
            f"{losses[0]:.4g}, and the second {losses[1]:.4g}, on the same images. Train both with "
            "the same data, normalization and model options."
        )


def _kept_weights(path: Path) -> Weights | None:
    """What `between_job` kept, if it is there and whole."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[f"arr_{index}"] for index in range(len(stored.files))]
    except DAMAGED:
        return None


def _job(
    subject: Subject,
    grid: Grid,
    mode: str,
    axes: dict[str, np.ndarray],
    basis: Sequence[Weights],
    coefficients: np.ndarray,
    *,
    name: str | None = None,
    extrapolates_statistics: bool = True,
) -> Job:
    surface = Surface(
        subject.model,
        subject.samples,
        basis,
        extrapolates_statistics=extrapolates_statistics,
    )
    settings: dict[str, Any] = {
        "mode": mode,
        "resolution": grid.resolution,
        "samples": grid.samples,
        "span": grid.span,
        "seed": grid.seed,
        "weights": [digest(weights) for weights in basis],
        "data": samples_digest(subject.samples),
    }
    name = name or subject.name
    about = f"{mode}-{grid.resolution}-{grid.samples}-{grid.span:g}-{grid.seed}"
    path = grid.folder / f"{name.replace(' ', '-')}-{about}.npz"
    landscape = prepare_landscape(name, axes, subject.samples, settings=settings, path=path)
    return Job(landscape, surface, coefficients, path)
