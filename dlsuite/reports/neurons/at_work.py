"""Pictures of networks at work: input, activations, output; and a kernel that slides."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dlsuite.reports import style
from dlsuite.reports.neurons.animation import frame
from dlsuite.reports.neurons.encode import shown

# Of each layer.
_MOST_MAPS = 16
_MOST_UNITS = 128
_MOST_CLASSES = 10


def network_frames(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> Iterator[np.ndarray]:
    """Yields a frame an image: the input, each layer's activations, and the classes.

    Of maps the 16 loudest are shown, of vectors up to 128 units as squares, always the same ones,
    each layer on one scale over all frames.

    Args:
        images: (B, H, W, C), uint8.
        maps: by layer in their order, (B, h, w, U) or (B, U).
        probabilities: (B, K).
        class_names: of the K.
    """
    sheets = {name: _sheets(one) for name, one in maps.items()}
    classes = np.sort(np.argsort(-probabilities.max(axis=0), kind="stable")[:_MOST_CLASSES])
    for n in range(len(images)):
        yield _network_frame(images[n], n, sheets, probabilities[n], classes, class_names)


@style.styled
def _network_frame(
    image: np.ndarray,
    n: int,
    sheets: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    classes: np.ndarray,
    class_names: Sequence[str],
) -> np.ndarray:
    figure = Figure(figsize=(1.35 * (len(sheets) + 2), 1.9))
    row = figure.subplots(1, len(sheets) + 2)
    row[0].imshow(shown(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    row[0].set_title("input", fontsize=7, loc="center")
    row[0].set_axis_off()
    for axes, (name, sheet) in zip(row[1:-1], sheets.items(), strict=True):
        axes.imshow(sheet[n], cmap="magma", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(style.shortened(name, 16), fontsize=7, loc="center")
        axes.set_axis_off()
    best = classes[np.argmax(probabilities[classes])]
    colours = [style.ORANGE if label == best else style.SKY for label in classes]
    row[-1].barh(range(len(classes)), probabilities[classes], color=colours)
    names = [style.shortened(class_names[label], 12) for label in classes]
    row[-1].set_yticks(range(len(classes)), names, fontsize=6)
    row[-1].invert_yaxis()
    row[-1].set_xlim(0, 1)
    row[-1].set_xticks([0, 1])
    row[-1].set_title("output", fontsize=7, loc="center")
    return frame(figure)


def _sheets(maps: np.ndarray) -> np.ndarray:
    """Activations as one picture an image, (B, H, W), from 0 to 1 over all of them."""
    maps = maps.astype(np.float32)
    loud = np.argsort(-maps.max(axis=tuple(range(maps.ndim - 1))), kind="stable")
    if maps.ndim == 4:
        chosen = np.sort(loud[:_MOST_MAPS])
        side = int(np.ceil(np.sqrt(len(chosen))))
        maps = np.pad(maps[..., chosen], ((0, 0), (0, 1), (0, 1), (0, 0)))  # a line between
    else:
        chosen = np.sort(loud[:_MOST_UNITS])
        side = int(np.ceil(np.sqrt(len(chosen))))
        maps = maps.reshape(len(maps), 1, 1, -1)[..., chosen]
    low, high = min(maps.min(), 0.0), maps.max()
    maps = (maps - low) / (high - low if high > low else 1)
    batch, height, width, count = maps.shape
    maps = np.pad(maps, ((0, 0), (0, 0), (0, 0), (0, side * side - count)))
    grid = maps.reshape(batch, height, width, side, side)
    return grid.transpose(0, 3, 1, 4, 2).reshape(batch, side * height, side * width)


def convolution_frames(image: np.ndarray, kernel: np.ndarray) -> Iterator[np.ndarray]:
    """Yields a frame a place: a kernel slides over an image, with all of its numbers.

    Args:
        image: whole numbers, such as (7, 7).
        kernel: whole numbers, such as (3, 3).
    """
    height, width = (a - b + 1 for a, b in zip(image.shape, kernel.shape, strict=True))
    output = convolved(image, kernel)
    for place in range(height * width):
        yield _convolution_frame(image, kernel, output, divmod(place, width))


def convolved(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Returns y(i, j) = sum over a, b of x(i + a, j + b) k(a, b), as networks convolve."""
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    return np.einsum("ijab,ab->ij", windows, kernel)


@style.styled
def _convolution_frame(
    image: np.ndarray, kernel: np.ndarray, output: np.ndarray, place: tuple[int, int]
) -> np.ndarray:
    row, column = place
    figure = Figure(figsize=(7.2, 3.5))
    figure.get_layout_engine().set(rect=(0, 0.12, 1, 0.88))  # room for the sum below
    left, middle, right = figure.subplots(
        1, 3, width_ratios=[image.shape[1], kernel.shape[1], output.shape[1]]
    )
    _numbers(left, image, "input")
    _numbers(middle, kernel, "kernel")
    done = np.full(output.shape, np.nan)
    done.ravel()[: row * output.shape[1] + column + 1] = output.ravel()[
        : row * output.shape[1] + column + 1
    ]
    _numbers(right, done, "output", scale=np.abs(output).max())
    height, width = kernel.shape
    _frame(left, column, row, width, height)
    _frame(right, column, row, 1, 1)
    window = image[row : row + height, column : column + width]
    terms = " + ".join(
        f"{x:g}·{k:g}" if k >= 0 else f"{x:g}·({k:g})"
        for x, k in zip(window.ravel(), kernel.ravel(), strict=True)
        if k
    )
    figure.text(0.5, 0.03, f"{terms} = {output[row, column]:g}", ha="center", fontsize=9)
    return frame(figure)


def _numbers(axes: Axes, values: np.ndarray, title: str, *, scale: float | None = None) -> None:
    peak = scale or np.abs(values).max() or 1.0
    axes.imshow(np.nan_to_num(values), cmap="RdBu_r", vmin=-1.6 * peak, vmax=1.6 * peak)
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            axes.text(j, i, f"{value:g}", ha="center", va="center", fontsize=8)
    axes.set_xticks(np.arange(values.shape[1] + 1) - 0.5, [])
    axes.set_yticks(np.arange(values.shape[0] + 1) - 0.5, [])
    axes.grid(color=style.GREY, linewidth=0.5)
    axes.tick_params(length=0)
    axes.set_title(title, loc="center")


def _frame(axes: Axes, column: int, row: int, width: int, height: int) -> None:
    axes.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5),
            width,
            height,
            fill=False,
            edgecolor=style.ORANGE,
            linewidth=2.5,
            zorder=5,
        )
    )
