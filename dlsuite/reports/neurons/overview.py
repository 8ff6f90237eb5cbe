"""One figure of a model: what layers of rising depth respond to."""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dlsuite.analysis.neurons.records import Layer
from dlsuite.reports import style
from dlsuite.reports.neurons.encode import shown

_COLUMNS = 4
_ACROSS = 3


def write_overview(folder: Path) -> Path:
    """Draws ``overview.png`` from a microscope's folder and returns its path."""
    index = json.loads((folder / "microscope.json").read_text(encoding="utf-8"))
    rows = [row for row in index["layers"] if row["computed"]]
    chosen = [rows[n] for n in _spread(len(rows))]
    columns = []
    for row in chosen:
        with np.load(folder / row["file"], allow_pickle=False) as file:
            known = Layer({key: file[key] for key in file.files})
        columns.append((_title(row), known.arrays["unit_pictures"]))
    return style.save(columns_figure(columns), folder / "overview.png")


def _spread(count: int) -> list[int]:
    wanted = min(_COLUMNS, count)
    return sorted({round(n * (count - 1) / max(wanted - 1, 1)) for n in range(wanted)})


def _title(row: dict) -> str:
    field = row["receptive_field"]
    sees = "whole image" if field is None else f"sees {field[0]}×{field[1]}"
    return f"{style.shortened(row['name'], 22)}\n{sees}"


@style.styled
def columns_figure(columns: list[tuple[str, np.ndarray]]) -> Figure:
    """Returns up to nine pictures a column, (N, H, W, C), uint8, each column under its title."""
    width = style.PAGE_WIDTH / _COLUMNS
    most = max(min(len(pictures), _ACROSS**2) for _, pictures in columns)
    down = -(-most // _ACROSS)
    side = width / _ACROSS
    lines = max(name.count("\n") + 1 for name, _ in columns)
    figure = Figure(figsize=(width * len(columns), side * down + 0.15 + 0.13 * lines))
    for part, (name, pictures) in zip(
        np.atleast_1d(figure.subfigures(1, len(columns), wspace=0.04)), columns, strict=True
    ):
        part.suptitle(name, fontsize=7, x=0.02, ha="left")
        grid = part.subplots(down, _ACROSS, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, picture in zip(grid, pictures, strict=False):
            axes.imshow(shown(picture), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    return figure
