"""Figures of kernels, maps, maximised pictures and exemplars."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlsuite.analysis.neurons.activations import Activations
from dlsuite.analysis.neurons.kernels import Kernels
from dlsuite.reports import style
from dlsuite.reports.neurons.encode import kernel_picture, shown

_ACROSS = 12
_MOST_UNITS = 8


def show(axes: Axes, picture: np.ndarray) -> None:
    """Draws a picture (H, W, C), uint8, pixel by pixel, without ticks."""
    axes.imshow(shown(picture), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    # where a picture is white it would run into the page
    axes.spines[:].set(visible=True, color=style.GREY, linewidth=0.3)


@style.styled
def kernel_grid(found: Kernels, units: Sequence[int], *, most: int = 96) -> Figure:
    """Returns kernels of a layer, largest norm first; dead and duplicate ones are marked.

    Colours where there are three input channels; one picture where there is one; else each row
    is a unit and its columns the input channels of the largest weights.
    """
    units = _by_norm(found, units)[:most]
    channels = found.weights.shape[-1]
    across = _ACROSS
    if channels in (1, 3):
        pictures = [kernel_picture(found.weights[unit]) for unit in units]
        titles = [_kernel_title(found, unit) for unit in units]
    else:
        across = min(_ACROSS, channels)
        units = units[: most // across]
        pictures, titles = [], []
        for unit in units:
            weights = found.weights[unit]
            peak = np.abs(weights).max() or 1.0
            loud = np.argsort(-np.abs(weights).sum(axis=(0, 1)), kind="stable")[:across]
            for n, channel in enumerate(loud):
                # one scale a unit, so that its channels compare
                part = weights[..., channel : channel + 1]
                pictures.append(np.rint(127.5 + 127.5 * part / peak).astype(np.uint8))
                titles.append(_kernel_title(found, unit) if n == 0 else f"in {channel}")
    heading = f"{found.layer}: {len(found.weights)} kernels, by norm"
    if found.is_dead.any():
        heading += f", {int(found.is_dead.sum())} dead"
    if (found.duplicate_of >= 0).any():
        heading += f", {int((found.duplicate_of >= 0).sum())} duplicates"
    return _grid(pictures, titles, f"{heading}; grey is 0", across=across)


def _by_norm(found: Kernels, units: Sequence[int]) -> np.ndarray:
    return found.order[np.isin(found.order, units)]


def _kernel_title(found: Kernels, unit: int) -> str:
    if found.is_dead[unit]:
        return f"{unit} dead"
    if found.duplicate_of[unit] >= 0:
        return f"{unit} = {found.duplicate_of[unit]}"
    return str(unit)


@style.styled
def kernel_spectra(found: Kernels, units: Sequence[int], *, most: int = 96) -> Figure:
    """Returns the power spectra of kernels in the same order, zero frequency in the middle."""
    units = _by_norm(found, units)[:most]
    pictures = [np.rint(255 * found.spectrum[unit])[..., None].astype(np.uint8) for unit in units]
    titles = [
        f"{unit}" + ("" if np.isnan(found.coherence[unit]) else f": {found.coherence[unit]:.2f}")
        for unit in units
    ]
    return _grid(pictures, titles, f"{found.layer}: power spectra, and how oriented (0 to 1)")


@style.styled
def picture_grid(
    pictures: np.ndarray, titles: Sequence[str], heading: str, *, across: int | None = None
) -> Figure:
    """Returns pictures (N, H, W, C), uint8, in rows, each under its title."""
    if across is None:
        across = min(len(pictures), 4 if len(pictures) <= 12 else 8)
    return _grid(list(pictures), titles, heading, across=across)


def _grid(
    pictures: Sequence[np.ndarray], titles: Sequence[str], heading: str, *, across: int = _ACROSS
) -> Figure:
    down = max(math.ceil(len(pictures) / across), 1)
    side = style.PAGE_WIDTH / max(across, 4)
    figure = Figure(figsize=(side * across, (side + 0.16) * down + 0.35))
    figure.suptitle(heading, x=0.01, ha="left", fontsize=9)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, picture, title in zip(grid, pictures, titles, strict=False):
        show(axes, picture)
        axes.set_title(title, fontsize=6, pad=2, loc="center")
    return figure


@style.styled
def exemplar_rows(
    pictures: np.ndarray | None,
    crops: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    labels: Sequence[Sequence[str]],
    heading: str,
) -> Figure:
    """Returns a row a unit: its maximised picture, if there is one, and what it saw in the data.

    Args:
        pictures: (N, H, W, C), uint8.
        crops: k of each unit, uint8.
        titles: of each unit.
        labels: of each crop.
        heading: of the figure.
    """
    first = 0 if pictures is None else 1
    across = first + max(len(row) for row in crops)
    side = style.PAGE_WIDTH / across
    lines = 1 + max(title.count("\n") for title in titles)
    height = (side + 0.07 + 0.1 * lines) * len(crops) + 0.35
    figure = Figure(figsize=(style.PAGE_WIDTH, height))
    figure.suptitle(heading, x=0.01, ha="left", fontsize=9)
    grid = figure.subplots(len(crops), across, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for n, row in enumerate(crops):
        if pictures is not None:
            show(grid[n, 0], pictures[n])
        for axes, crop, label in zip(grid[n, first:], row, labels[n], strict=False):
            show(axes, crop)
            axes.set_title(style.shortened(label, 16), fontsize=6, pad=2, loc="center")
        grid[n, 0].set_title(titles[n], fontsize=6.5, pad=2, loc="left", fontweight="bold")
    return figure


@style.styled
def activation_maps(
    images: np.ndarray,
    found: Mapping[str, Activations],
    units: Mapping[str, Sequence[int]],
    *,
    most: int,
) -> Figure:
    """Returns, for the first image, the strongest maps of layers from the input to the output.

    Args:
        images: uint8, (B, H, W, C).
        found: by layer, in their order.
        units: by layer, of which the strongest are drawn; a layer without maps is drawn whole.
        most: layers to draw, evenly through the network.
    """
    names = list(found)
    chosen = [names[round(n)] for n in np.linspace(0, len(names) - 1, min(most, len(names)))]
    figure = Figure(figsize=(style.PAGE_WIDTH, 0.95 * len(chosen) + 0.3))
    grid = figure.subplots(
        len(chosen), _MOST_UNITS + 1, squeeze=False, width_ratios=[2.4, *[1] * _MOST_UNITS]
    )
    for row, name in zip(grid, chosen, strict=True):
        for axes in row:
            axes.set_axis_off()
        one = found[name]
        row[0].text(
            0.0,
            0.5,
            f"{style.shortened(name, 20)}\n{'×'.join(map(str, one.maps.shape[1:]))}\n"
            f"{100 * one.sparsity:.0f} % zeros",
            fontsize=6.5,
            va="center",
            transform=row[0].transAxes,
        )
        maps = one.maps[0]
        if maps.ndim == 3:
            peaks = maps.max(axis=(0, 1))
            loud = sorted(units[name], key=lambda unit: -peaks[unit])[:_MOST_UNITS]
            for axes, unit in zip(row[1:], loud, strict=False):
                loudest = max(float(peaks[unit]), 1e-12)  # of a map below 0 nothing is seen
                axes.imshow(
                    maps[..., unit], cmap="viridis", vmin=0, vmax=loudest, interpolation="nearest"
                )
                axes.set_title(str(unit), fontsize=6, pad=2, loc="center")
        else:
            _draw_vector(row[1:], maps)
    if images.ndim == 4:
        inset = grid[0, 0].inset_axes((0.62, 0.1, 0.38, 0.8))
        show(inset, images[0])
    return figure


def _draw_vector(row: Sequence[Axes], values: np.ndarray) -> None:
    """A layer without maps: its units as bars over the whole row."""
    gridspec = row[0].get_subplotspec().get_gridspec()
    number = row[0].get_subplotspec().rowspan.start
    figure = row[0].figure
    wide = figure.add_subplot(gridspec[number, 1:])
    flat = values.reshape(-1)
    wide.bar(np.arange(len(flat)), flat, color=style.BLUE, width=1.0)
    wide.set_xlim(-0.5, len(flat) - 0.5)
    wide.tick_params(labelsize=5.5, length=1.5)


@style.styled
def receptive_field_figure(
    fields: Mapping[str, tuple[int, int] | None], size: tuple[int, int]
) -> Figure:
    """Returns the windows that layers see, drawn within the image; None is the whole of it."""
    names = list(fields)
    figure = Figure(figsize=(style.PAGE_WIDTH, 0.16 * len(names) + 0.7))
    axes = figure.subplots()
    widths = [size[1] if fields[name] is None else fields[name][1] for name in names]
    axes.barh(range(len(names)), widths, color=style.SKY, height=0.75)
    axes.axvline(size[1], color=style.ORANGE, linewidth=1)
    axes.set_yticks(range(len(names)), [style.shortened(name, 28) for name in names], fontsize=6)
    axes.invert_yaxis()
    axes.set_xlabel("width of the receptive field [pixel]; the line is the image")
    axes.set_title("What a unit can see")
    return figure
