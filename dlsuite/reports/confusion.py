"""Which classes are taken for which."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from dlsuite.analysis.classification import Evaluation
from dlsuite.reports import style

# Up to here each cell has room for its count, and each class for its name.
_MOST_WITH_COUNTS = 20
_MOST_WITH_NAMES = 60

# The palest part of each map is left out, so that a single mistake is not white.
_WRONG = ListedColormap(colormaps["Oranges"](np.linspace(0.12, 0.72, 256)))
_RIGHT = ListedColormap(colormaps["Blues"](np.linspace(0.15, 0.85, 256)))


@style.styled
def confusion_matrix(evaluation: Evaluation) -> Figure:
    """Returns the figure of the confusion matrix, rows true, columns predicted.

    What is right and what is wrong are coloured apart, blue by the fraction of the true class
    and orange likewise up to the largest confusion, so that a few mistakes among thousands
    still show. Up to 20 classes each cell holds its count; up to 60 each class its name;
    beyond that classes are numbered and each confused pair is a dot.
    """
    num_classes, counts = evaluation.num_classes, evaluation.confusion
    with np.errstate(invalid="ignore"):  # a class without examples has no fractions
        fractions = np.nan_to_num(counts / evaluation.support[:, None])
    wrong = fractions.copy()
    np.fill_diagonal(wrong, 0)
    counted = num_classes <= _MOST_WITH_COUNTS
    norm = _normalization(wrong, logarithmic=not counted)

    side = min(max(2.0 + 0.27 * num_classes, 2.6), style.PAGE_WIDTH - 0.9)
    figure = Figure(figsize=(side + (0 if counted else 0.9), side))
    axes = figure.subplots()
    axes.set_title(f"{evaluation.num_mistakes:,} of {evaluation.num_examples:,} misclassified")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(style.GREY)
    if num_classes <= _MOST_WITH_NAMES:
        _draw_cells(axes, fractions, wrong, norm)
        _name_classes(axes, evaluation.class_names)
    else:
        _draw_dots(axes, fractions, wrong, norm)
    if counted:
        _write_counts(axes, counts, fractions)
    else:
        bar = figure.colorbar(ScalarMappable(norm, _WRONG), ax=axes, shrink=0.6, pad=0.02)
        bar.set_label("fraction of the true class taken for another")
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    return figure


def _normalization(wrong: np.ndarray, *, logarithmic: bool) -> Normalize:
    largest = wrong.max() or 1.0
    if not logarithmic:
        return Normalize(0, largest)
    smallest = min(wrong[wrong > 0], default=largest)
    return LogNorm(min(smallest, largest / 10), largest)


def _draw_cells(axes: Axes, fractions: np.ndarray, wrong: np.ndarray, norm: Normalize) -> None:
    colors = np.ones((*wrong.shape, 4))
    colors[wrong > 0] = _WRONG(norm(wrong[wrong > 0]))
    diagonal = np.arange(len(wrong))
    colors[diagonal, diagonal] = _RIGHT(fractions[diagonal, diagonal])
    axes.imshow(colors, interpolation="nearest")


def _draw_dots(axes: Axes, fractions: np.ndarray, wrong: np.ndarray, norm: Normalize) -> None:
    """A cell would be smaller than a pixel, and most are empty."""
    true, predicted = np.nonzero(wrong)
    order = np.argsort(wrong[true, predicted])  # the frequent ones on top
    true, predicted = true[order], predicted[order]
    size = float(np.clip(400 / len(wrong), 1.0, 4.0)) ** 2
    axes.scatter(
        predicted, true, c=wrong[true, predicted], cmap=_WRONG, norm=norm, s=size, linewidths=0
    )
    diagonal = np.arange(len(wrong))
    right = np.diag(fractions)
    axes.scatter(diagonal, diagonal, c=right, cmap=_RIGHT, vmin=0, vmax=1, s=size, linewidths=0)
    axes.set_xlim(-0.5, len(wrong) - 0.5)
    axes.set_ylim(len(wrong) - 0.5, -0.5)
    axes.set_aspect("equal")


def _name_classes(axes: Axes, class_names: tuple[str, ...]) -> None:
    names = [style.shortened(name) for name in class_names]
    upright = max(map(len, names)) > 2 and len(names) > 4
    size = 7 if len(names) <= 30 else 4.5
    axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(length=0)


def _write_counts(axes: Axes, counts: np.ndarray, fractions: np.ndarray) -> None:
    size = 7 if counts.max() < 10_000 else 5.5
    for row, column in zip(*np.nonzero(counts), strict=True):
        # white on the dark blues only
        dark = row == column and fractions[row, column] > 0.6
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=size,
            color="white" if dark else "black",
        )
