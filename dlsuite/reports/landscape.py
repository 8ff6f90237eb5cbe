"""Figures of loss landscapes: lines, contours, surfaces, files for others' tools."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dlsuite.analysis.landscape_grid import Landscape
from dlsuite.reports import style
from dlsuite.runs.folder import replacing

_LEVELS = 14
# The highest loss that figures tell apart, over the lowest: far walls would otherwise flatten the
# valley.
_SPAN = 1e5


@style.styled
def lines(landscapes: Sequence[Landscape], *, along: str, marks: Sequence[float] = ()) -> Figure:
    """Returns loss and accuracy along directions, a column a network, all on one scale.

    Thin lines are single random directions, the thick one their median; a cross marks a place
    whose loss is not a finite number.

    Args:
        landscapes: of grids (directions, places).
        along: label of the horizontal axis.
        marks: places to mark by a vertical line.
    """
    figure = Figure(figsize=(max(3.4, 2.4 * len(landscapes)), 4.0))
    panels = figure.subplots(2, len(landscapes), squeeze=False, sharex=True, sharey="row")
    for column, landscape in zip(panels.T, landscapes, strict=True):
        places = list(landscape.axes.values())[-1]
        for split, color in zip(landscape.splits, (style.SKY, style.BLUE), strict=False):
            for axes, values in zip(
                column, (landscape.loss(split), 100 * landscape.accuracy(split)), strict=True
            ):
                for line in values:
                    axes.plot(places, line, color=color, linewidth=0.5, alpha=0.6)
                middle = np.ma.median(np.ma.masked_invalid(values), axis=0).filled(np.nan)
                axes.plot(places, middle, color=color, label=f"{split}, median")
        lost = np.isnan(landscape.loss(landscape.splits[0])).any(axis=0)
        low = np.nanmin(landscape.loss(landscape.splits[0]))
        column[0].plot(places[lost], np.full(lost.sum(), low), "x", color=style.BLACK, ms=4)
        column[0].set_title(style.shortened(landscape.name, 30))
        column[0].set_yscale("log")
        column[1].set_xlabel(along)
        column[1].xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        for axes in column:
            axes.grid(axis="y")
            for place in marks:
                axes.axvline(place, color=style.GREY, linewidth=0.6, linestyle=":")
    panels[0, 0].set_ylabel("loss")
    panels[1, 0].set_ylabel("accuracy [%]")
    panels[0, 0].legend()
    return figure


class Scale(NamedTuple):
    """The losses that a figure tells apart.

    Attributes:
        low: the lowest.
        high: the highest.
        is_cut: whether there are higher ones.
    """

    low: float
    high: float
    is_cut: bool


def common_scale(landscapes: Sequence[Landscape], split: str) -> Scale:
    """Returns the scale that is the same for all."""
    low = min(np.nanmin(landscape.loss(split)) for landscape in landscapes)
    highest = max(np.nanmax(landscape.loss(split)) for landscape in landscapes)
    low = max(float(low), 1e-6)
    high = float(min(max(highest, 1.01 * low), _SPAN * low))
    return Scale(low, high, bool(highest > high))


@style.styled
def contours(landscapes: Sequence[Landscape], *, split: str) -> Figure:
    """Returns contour maps of loss, and below of accuracy, side by side and at the same levels.

    The trained network is the dot. Black squares are points whose loss is not a finite number.
    What lies above the loss's scale has its highest colour.
    """
    scale = common_scale(landscapes, split)
    width = max(3.6, 2.5 * len(landscapes) + 0.9)
    figure = Figure(figsize=(width, 4.9))
    panels = figure.subplots(2, len(landscapes), squeeze=False, sharex=True, sharey=True)
    for (upper, lower), landscape in zip(panels.T, landscapes, strict=True):
        x_name, y_name = landscape.axes
        losses = filled_contours(upper, landscape, scale, split=split, cmap="viridis")
        upper.contour(losses, colors="white", linewidths=0.3)
        # of what is not finite there is no accuracy either: the classes are compared with NaN
        accuracy = np.where(np.isnan(landscape.loss(split)), np.nan, landscape.accuracy(split))
        places = landscape.axes.values()
        levels = np.linspace(0, 100, _LEVELS)
        shares = lower.contourf(*places, 100 * accuracy.T, levels=levels, cmap="cividis")
        for axes in (upper, lower):
            mark_gaps(axes, landscape, split)
            axes.plot(0, 0, "o", color="white", markeredgecolor=style.BLACK, markersize=4)
            axes.set_box_aspect(1)
        upper.set_title(style.shortened(landscape.name, 30))
        lower.set_xlabel(x_name)
    for axes in panels[:, 0]:
        axes.set_ylabel(y_name)
    loss_bar(figure, losses, list(panels[0]), split)
    bar = figure.colorbar(shares, ax=list(panels[1]), shrink=0.9, ticks=[0, 50, 100])
    bar.set_label(f"{split} accuracy [%]")
    return figure


def mark_gaps(axes: Axes, landscape: Landscape, split: str) -> None:
    """Draws a black square where the loss over a plane is not a finite number."""
    axes.plot(*_gaps(landscape, split), "s", color=style.BLACK, markersize=2)


def _gaps(landscape: Landscape, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the loss over a plane is not a finite number."""
    x, y = landscape.axes.values()
    columns, rows = np.nonzero(np.isnan(landscape.loss(split)))
    return x[columns], y[rows]


def filled_contours(
    axes: Axes, landscape: Landscape, scale: Scale, *, split: str, cmap: str
) -> QuadContourSet:
    """Draws the loss over a plane; what lies above the scale has its last colour."""
    levels = np.geomspace(scale.low, scale.high, _LEVELS)
    levels[-1] *= 1 + 1e-6  # what lies at the last level is not filled
    return axes.contourf(
        *landscape.axes.values(),
        np.maximum(landscape.loss(split).T, scale.low),
        levels=levels,
        norm=LogNorm(scale.low, scale.high),
        extend="max" if scale.is_cut else "neither",
        cmap=cmap,
    )


def loss_bar(figure: Figure, drawn: QuadContourSet, axes: Sequence[Axes], split: str) -> None:
    """Adds the colour bar of a loss: lowest, middle and highest value."""
    low, high = drawn.levels[0], drawn.levels[-1]
    ticks = [low, np.sqrt(low * high), high]
    bar = figure.colorbar(drawn, ax=axes, shrink=0.9)
    bar.set_label(f"{split} loss")
    bar.set_ticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
    bar.minorticks_off()


@style.styled
def surfaces(landscapes: Sequence[Landscape], *, split: str) -> Figure:
    """Returns surfaces in three dimensions side by side, of the logarithm of the loss.

    What lies above the scale is drawn at its highest value; where the loss is not a finite number
    there is a gap, and a black square on the floor.
    """
    low, high, _ = common_scale(landscapes, split)
    figure = Figure(figsize=(max(3.6, 3.2 * len(landscapes)), 3.2))
    for place, landscape in enumerate(landscapes, start=1):
        axes = figure.add_subplot(1, len(landscapes), place, projection="3d")
        (x_name, x), (y_name, y) = landscape.axes.items()
        height = np.log10(np.clip(landscape.loss(split).T, low, high))
        axes.plot_surface(
            *np.meshgrid(x, y),
            height,
            cmap="viridis",
            vmin=np.log10(low),
            vmax=np.log10(high),
            linewidth=0.1,
            edgecolor="#00000030",
            rcount=60,
            ccount=60,
        )
        gaps = _gaps(landscape, split)
        axes.plot(*gaps, np.log10(low), "s", color=style.BLACK, markersize=2)
        axes.set_zlim(np.log10(low), np.log10(high))
        axes.set_title(style.shortened(landscape.name, 30))
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name)
        axes.set_zlabel("log10 loss")
        for of_axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            of_axis.set_major_locator(MaxNLocator(4))
        axes.set_box_aspect(None, zoom=0.8)  # labels stay inside
    return figure


def write_page(
    landscapes: Sequence[Landscape],
    path: Path,
    *,
    split: str,
    tracks: Sequence[np.ndarray] | None = None,
) -> Path:
    """Writes a self-contained page on which the surfaces can be turned, and returns its path.

    Args:
        landscapes: planes.
        path: of the page.
        split: whose loss is drawn.
        tracks: of each landscape the (P, 3) places and losses of a path over it, drawn from a ring
            to a dot; None draws a dot at the middle, the trained network.
    """
    is_path = tracks is not None
    if tracks is None:
        tracks = [_middle(landscape, split) for landscape in landscapes]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dlsuite.reports"), autoescape=True
    )

    def plain(values: np.ndarray) -> list[Any]:
        return [[round(float(v), 6) if np.isfinite(v) else None for v in row] for row in values]

    data = [
        {
            "name": landscape.name,
            "axes": [first, second],
            "x": landscape.axes[first].round(5).tolist(),
            "y": landscape.axes[second].round(5).tolist(),
            "loss": plain(landscape.loss(split)),
            "accuracy": plain(landscape.accuracy(split)),
            "track": plain(track),
        }
        for landscape, track in zip(landscapes, tracks, strict=True)
        for first, second in [landscape.axes]
    ]
    text = environment.get_template("landscape.html").render(
        data=data, split=split, is_path=is_path, **common_scale(landscapes, split)._asdict()
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _middle(landscape: Landscape, split: str) -> np.ndarray:
    """Place and loss of a plane's middle, (1, 3)."""
    x, y = landscape.axes.values()
    i, j = len(x) // 2, len(y) // 2
    return np.array([[x[i], y[j], landscape.loss(split)[i, j]]])


def write_vtk(landscape: Landscape, path: Path) -> Path:
    """Writes a plane as a legacy VTK structured grid, for ParaView and others.

    Points lie at (a, b, loss of the first split); loss and accuracy of each split are point data.
    A loss that is not a finite number is written as ``nan``, a letter that is not ASCII as ``?``.

    Source: VTK file formats, "Simple Legacy Formats", dataset format STRUCTURED_GRID.
    """
    x, y = landscape.axes.values()
    loss = landscape.loss(landscape.splits[0])
    # VTK counts the first index fastest
    points = [(a, b, loss[i, j]) for j, b in enumerate(y) for i, a in enumerate(x)]
    rows = [
        "# vtk DataFile Version 3.0",
        f"{landscape.name} loss landscape"[:255],
        "ASCII",
        "DATASET STRUCTURED_GRID",
        f"DIMENSIONS {len(x)} {len(y)} 1",
        f"POINTS {len(points)} float",
        *(f"{a:.7g} {b:.7g} {c:.7g}" for a, b, c in points),
        f"POINT_DATA {len(points)}",
    ]
    for split in landscape.splits:
        for name, values in (
            ("loss", landscape.loss(split)),
            ("accuracy", landscape.accuracy(split)),
        ):
            rows += [f"SCALARS {split}_{name} float 1", "LOOKUP_TABLE default"]
            rows += [f"{value:.7g}" for value in values.T.ravel()]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(rows) + "\n", encoding="ascii", errors="replace")
    return path
