"""The one look of every figure, whatever the user's own matplotlib settings are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

Arguments = ParamSpec("Arguments")

# Okabe and Ito's palette, told apart with every kind of colour vision; yellow, too pale for
# a line on white, is left out.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, SKY, AMBER, BLACK = "#CC79A7", "#56B4E9", "#E69F00", "#000000"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, BLACK)
GREY = "#777777"
PALE = "#D9D9D9"

COLUMN_WIDTH = 3.5  # inches, one column of a two-column page
PAGE_WIDTH = 7.2  # inches, both columns

_STYLE = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": PALE,
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "figure.dpi": 100,
    "savefig.dpi": 250,
    "figure.constrained_layout.use": True,
}


@contextmanager
def applied() -> Iterator[None]:
    """Within it, what matplotlib makes has the project's style; after it, all is as before."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Returns the drawing function with the project's style around it."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with applied():
            return draw(*args, **kwargs)

    return drawn


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG and returns the path.

    The same figure gives the same bytes: no date and no version is written into the file.
    """
    _number_short_logs(figure)
    with applied():
        figure.savefig(path, format="png", metadata={"Software": None})
    return path


def _number_short_logs(figure: Figure) -> None:
    """Gives logarithmic axes of less than a decade, where powers are rare, plain ticks."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            if axis.get_scale() == "log" and low > 0 and high < 10 * low:
                ticks = [
                    t for t in LogLocator(subs=(1, 2, 5)).tick_values(low, high) if low <= t <= high
                ]
                many = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
                axis.set_major_locator(FixedLocator(ticks) if len(ticks) > 1 else many)
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
                axis.set_minor_locator(NullLocator())


def shortened(name: str, limit: int = 18) -> str:
    """Returns a user's name for a figure, its middle left out where it is longer than the limit.

    Matplotlib draws it as it is: what stands between dollar signs is no formula, and a legend
    leaves out no name that begins with an underscore.
    """
    if len(name) > limit:
        head = (limit - 1) // 2
        name = f"{name[:head]}…{name[len(name) - (limit - 1 - head) :]}"
    name = name.replace("$", r"\$")
    return f"\u00a0{name}" if name.startswith("_") else name


def show_image(axes: Axes, image: np.ndarray, *, largest: float = 255.0) -> None:
    """Draws an image of any channel count.

    Integer images are shown from 0 to the largest value, so that dark ones look dark. Float images
    are stretched between their own 1st and 99th percentile, since their range says nothing
    about what to see. One channel is grey and three are colour; of any other number the mean
    over the channels, each stretched for itself, is shown in grey.

    Args:
        axes: what to draw on; its ticks and frame are removed.
        image: shape (H, W, C), uint8 or float.
        largest: that an integer can be: 1 for what was boolean.
    """
    image = np.asarray(image)
    if image.dtype == np.uint8:
        shown = image / largest
    else:
        across = (0, 1) if image.shape[-1] not in (1, 3) else (0, 1, 2)
        low, high = np.percentile(image.astype(np.float64), [1, 99], axis=across, keepdims=True)
        shown = (image - low) / np.where(high > low, high - low, 1)
    shown = np.clip(shown, 0, 1)
    if image.shape[-1] != 3:
        shown = shown.mean(axis=-1)
    # nearest: pixels are data, and small images would blur
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
