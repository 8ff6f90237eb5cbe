"""Attribution maps over images, and the curves that compare them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dlsuite.analysis.neurons.faithfulness import Faithfulness
from dlsuite.reports import style
from dlsuite.reports.neurons.encode import shown

# The strongest percent of pixels would else leave the rest dark.
_CLIP = 99.0


@style.styled
def attribution_figure(
    images: np.ndarray,
    titles: Sequence[str],
    maps: Mapping[str, np.ndarray],
) -> Figure:
    """Returns a column an image and a row a method: red speaks for the class, blue against it.

    Args:
        images: (B, H, W, C), uint8.
        titles: of the images.
        maps: by method, (B, H, W).
    """
    side = 0.95 if len(maps) > 3 else 1.5
    across = len(images)
    figure = Figure(figsize=(side * across + 1.3, (side + 0.03) * (1 + len(maps)) + 0.4))
    figure.supxlabel("red speaks for the class, blue against it", fontsize=6.5)
    grid = figure.subplots(
        1 + len(maps), across + 1, squeeze=False, width_ratios=[1.25 / side, *[1] * across]
    )
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, image, title in zip(grid[0, 1:], images, titles, strict=True):
        axes.imshow(shown(image), cmap="gray", vmin=0, vmax=255)
        axes.set_title(style.shortened(title, 20), fontsize=6.5, pad=2, loc="center")
    for row, (name, found) in zip(grid[1:], maps.items(), strict=True):
        row[0].text(1.0, 0.5, name, fontsize=7, ha="right", va="center", wrap=True)
        for axes, image, one in zip(row[1:], images, found, strict=True):
            grey = shown(image)
            grey = grey if grey.ndim == 2 else grey.mean(axis=-1)
            peak = np.percentile(np.abs(one), _CLIP) or np.abs(one).max() or 1.0
            axes.imshow(grey, cmap="gray", vmin=-255, vmax=510)
            axes.imshow(one, cmap="RdBu_r", vmin=-peak, vmax=peak, alpha=0.75)
    return figure


@style.styled
def faithfulness_figure(found: Mapping[str, Faithfulness]) -> Figure:
    """Returns the mean deletion and insertion curve of each method, with its area."""
    figure = Figure(figsize=(style.PAGE_WIDTH, 2.9))
    kinds = {"deletion": "lower", "insertion": "higher"}
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), kinds, strict=True):
        for number, (name, one) in enumerate(found.items()):
            mean = getattr(one, kind).mean(axis=0)
            area = getattr(one, f"{kind}_area").mean()
            axes.plot(
                one.fractions,
                mean,
                label=f"{name} {area:.2f}",
                color=style.COLORS[number % len(style.COLORS)],
                linestyle=("-", "--", ":")[number // len(style.COLORS) % 3],
            )
        axes.set_title(f"{kind.capitalize()}: {kinds[kind]} is better")
        axes.set_xlabel("fraction of the pixels, most marked first")
        axes.grid()
        axes.legend(fontsize=5.5)
        axes.set_ylim(-0.02, 1.02)
    figure.axes[0].set_ylabel("probability of the class")
    return figure
