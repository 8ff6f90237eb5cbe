"""Figures of `dlsuite benchmark`: speed, passes and primitives."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from dlsuite.errors import DlsuiteError
from dlsuite.reports import style

Row = Mapping[str, Any]

# Fields by which variants may differ, and how a value of each is said.
_SETTINGS = {
    "device": "{}".format,
    "precision": "{}".format,
    "xla": "XLA {}".format,
    "threads": "threads {}".format,
    "batch_size": "batch {}".format,
}


def setting_labels(rows: Sequence[Row]) -> list[str]:
    """Returns what tells each row's setting from the others', in words; the model left out."""
    varied = [key for key in _SETTINGS if len({row[key] for row in rows}) > 1]
    return [", ".join(_SETTINGS[key](row[key]) for key in varied) for row in rows]


@style.styled
def speed_figure(rows: Sequence[Row]) -> Figure:
    """Returns images/s of each network as dots, one panel a mode, one colour a setting.

    Args:
        rows: of `dlsuite.studies.benchmark.measure_speed`.

    Raises:
        DlsuiteError: nothing was measured.
    """
    rows = _measured(rows)
    modes = [mode for mode in ("inference", "training") if any(r["mode"] == mode for r in rows)]
    settings = list(dict.fromkeys(setting_labels(rows)))
    height = 1.0 + 0.16 * len({row["model"] for row in rows}) * (len(settings) + 1)
    figure = Figure(figsize=(style.PAGE_WIDTH, max(1.6, height)))
    for axes, mode in zip(figure.subplots(1, len(modes), squeeze=False)[0], modes, strict=True):
        shown = [
            (row["model"], label, row["images_per_s"])
            for row, label in zip(rows, setting_labels(rows), strict=True)
            if row["mode"] == mode
        ]
        # dots: a bar's length says nothing on a logarithmic axis
        _grouped(axes, shown, settings, as_dots=True)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        axes.xaxis.set_major_formatter("{x:,.6g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="x")
        axes.set_title(mode)
        axes.set_xlabel("images/s")
    return figure


@style.styled
def passes_figure(rows: Sequence[Row]) -> Figure:
    """Returns the time of a forward and a backward pass of each network, stacked, by device.

    Args:
        rows: of `dlsuite.studies.benchmark.measure_passes`.

    Raises:
        DlsuiteError: nothing was measured.
    """
    rows = _measured(rows)
    labels = [
        " ".join([row["model"], *([label] if label else [])])
        for row, label in zip(rows, setting_labels(rows), strict=True)
    ]
    figure = Figure(figsize=(style.PAGE_WIDTH, 1.0 + 0.28 * len(rows)))
    axes = figure.subplots()
    forward = np.array([row["forward_s"] for row in rows]) * 1e3
    total = np.array([row["forward_backward_s"] for row in rows]) * 1e3
    places = np.arange(len(rows))
    axes.barh(places, forward, 0.7, color=style.SKY, label="forward")
    axes.barh(places, total - forward, 0.7, left=forward, color=style.BLUE, label="backward")
    for place, value in zip(places, total, strict=True):
        said = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        axes.annotate(f" {said}", (value, place), va="center", fontsize=6)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("time of a batch [ms]")
    axes.set_title(f"Forward and backward pass, batch {rows[0]['batch_size']}")
    # above the axes, where no bar lies
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    return figure


@style.styled
def primitives_figure(rows: Sequence[Row]) -> Figure:
    """Returns the time of a forward and backward pass by what computes it, one colour each.

    Args:
        rows: of `measure_passes`, with ``primitives``, a word for what computed it.

    Raises:
        DlsuiteError: nothing was measured.
    """
    rows = _measured(rows)
    kinds = list(dict.fromkeys(row["primitives"] for row in rows))
    several = len({row["device"] for row in rows}) > 1
    names = [f"{row['model']} {row['device']}" if several else row["model"] for row in rows]
    height = 1.2 + 0.2 * len(dict.fromkeys(names)) * (len(kinds) + 1)
    figure = Figure(figsize=(style.PAGE_WIDTH, height))
    axes = figure.subplots()
    shown = [
        (name, row["primitives"], row["forward_backward_s"] * 1e3)
        for name, row in zip(names, rows, strict=True)
    ]
    _grouped(axes, shown, kinds)
    axes.margins(x=0.12)
    axes.set_xlabel("time of a forward and backward pass [ms]")
    axes.set_title(f"Optimised and plain primitives, batch {rows[0]['batch_size']}")
    return figure


def _measured(rows: Sequence[Row]) -> list[Row]:
    measured = [row for row in rows if row["status"] == "ok"]
    if not measured:
        raise DlsuiteError(
            "A figure needs a measurement. Received: none that succeeded. "
            "Choose other settings, such as a smaller --batch-size."
        )
    return measured


def _grouped(
    axes: Axes,
    shown: Sequence[tuple[str, str, float]],
    kinds: Sequence[str],
    *,
    as_dots: bool = False,
) -> None:
    """Draws (group, kind, value) as bars: groups below each other, a colour for each kind."""
    groups = list(dict.fromkeys(group for group, _, _ in shown))
    width = 0.8 / len(kinds)
    for number, kind in enumerate(kinds):
        bars = [(groups.index(group), value) for group, one, value in shown if one == kind]
        places = [group + (number - (len(kinds) - 1) / 2) * width for group, _ in bars]
        values = [value for _, value in bars]
        color = style.COLORS[number % len(style.COLORS)]
        if as_dots:
            axes.plot(values, places, "o", color=color, label=kind, markersize=4)
        else:
            axes.barh(places, values, width * 0.9, color=color, label=kind)
        for place, value in zip(places, values, strict=True):
            said = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            axes.annotate(
                said, (value, place), (4, 0), textcoords="offset points", va="center", fontsize=6
            )
    axes.set_yticks(range(len(groups)), groups)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.margins(x=0.15)
    if len(kinds) > 1:
        axes.legend()
