"""The contenders' paths over the contour of a problem on paper, drawn and animated."""

from pathlib import Path

import matplotlib.animation
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from dlsuite.reports import style
from dlsuite.reports.race_curves import look
from dlsuite.runs.folder import replacing
from dlsuite.studies.records import Record
from dlsuite.studies.scoring import Results
from dlsuite.studies.surfaces import Surface, surface

_FRAMES = 60
_FRAMES_A_SECOND = 15
_PLACES = 241


@style.styled
def paths(results: Results) -> Figure:
    """Returns each tuned contender's path from the first fresh seed's start over the contour."""
    ground = surface(results.plan.problem)
    count = len(results.standings)
    columns = min(4, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(style.PAGE_WIDTH, 1.75 * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, standing in zip(panels.flat, results.standings, strict=False):
        _contour(axes, ground)
        x, y = _path(standing.finals[0])
        axes.plot(x, y, ".-", color=style.ORANGE, linewidth=0.9, markersize=2)
        axes.plot(x[:1], y[:1], "o", color="white", markeredgecolor=style.BLACK, markersize=4)
        state = "" if standing.finals[0].status == "ended" else " (diverged)"
        axes.set_title(standing.contender.label + state)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    return figure


def write_animation(results: Results, path: Path) -> Path:
    """Writes an animated GIF of all contenders' paths at once and returns its path."""
    with style.applied():
        ground = surface(results.plan.problem)
        figure = Figure(figsize=(4.6, 3.4), dpi=110)
        axes = figure.subplots()
        _contour(axes, ground)
        drawn = []
        for standing in results.standings:
            (line,) = axes.plot([], [], linewidth=1.1, **look(results, standing))
            (head,) = axes.plot(
                [], [], "o", color=line.get_color(), markersize=4, label=standing.contender.label
            )
            drawn.append((line, head, *_path(standing.finals[0])))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
        title = axes.set_title("step 0")
        # early steps are the interesting ones
        longest = max(len(x) for *_, x, _ in drawn)
        shown = np.unique(np.linspace(0, 1, _FRAMES) ** 1.5 * (longest - 1)).astype(int)

        def frame(last: int) -> list:
            for line, head, x, y in drawn:
                line.set_data(x[: last + 1], y[: last + 1])
                at = min(last, len(x) - 1)
                head.set_data(x[at : at + 1], y[at : at + 1])
            title.set_text(f"step {results.plan.evaluate_every * last}")
            return []

        moving = matplotlib.animation.FuncAnimation(figure, frame, frames=shown.tolist())
        with replacing(path) as temporary:
            moving.save(temporary, writer=matplotlib.animation.PillowWriter(_FRAMES_A_SECOND))
    return path


def _path(record: Record) -> tuple[np.ndarray, np.ndarray]:
    return np.array(record.values("x")), np.array(record.values("y"))


def _contour(axes: Axes, ground: Surface) -> None:
    left, right, low, high = ground.view
    x, y = np.meshgrid(np.linspace(left, right, _PLACES), np.linspace(low, high, _PLACES))
    above = ground.value(x, y, np) - ground.lowest
    top = float(above.max())
    bottom = top * 1e-4
    axes.contourf(
        x,
        y,
        np.clip(above, bottom, top),
        levels=np.geomspace(bottom, top, 18),
        norm=LogNorm(bottom, top),
        cmap="Blues",
        alpha=0.75,
    )
    for minimum in ground.minima:
        axes.plot(*minimum, "*", color=style.GREEN, markersize=7)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
