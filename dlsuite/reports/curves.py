"""ROC and precision-recall curves, each class against the rest."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from dlsuite.analysis.classification import Evaluation
from dlsuite.analysis.curves import Curve
from dlsuite.reports import style

# Up to here every class has a colour of its own; beyond it the worst have, the rest is grey.
_MOST_COLORED = len(style.COLORS)
_NUM_WORST = 4
# Curves that press into a corner of less than this area are shown enlarged as well.
_LARGEST_CORNER = 0.04


@style.styled
def roc_curves(evaluation: Evaluation) -> Figure:
    """Returns the figure of the ROC curves, each class against the rest.

    Up to 7 classes each has a colour and its area under the curve in the legend. Beyond that
    the classes of smallest area are coloured and named among the others in grey. Where the
    curves press into the corner, an inset enlarges it.
    """
    figure = Figure(figsize=(style.COLUMN_WIDTH, style.COLUMN_WIDTH))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=":")
    axes.set_xlabel("false-positive rate")
    axes.set_ylabel("true-positive rate")
    axes.set_title("Receiver operating characteristic")

    def corner(curves: Sequence[Curve]) -> tuple[float, float, float, float]:
        # where every curve has left the ideal and where nearly every one has reached it
        right = max(float(curve.x[np.searchsorted(curve.y, 0.99)]) for curve in curves)
        low = min(float(np.interp(right / 50, curve.x, curve.y)) for curve in curves)
        right, low = max(1.3 * right, 1e-3), min(low, 0.995)
        return -0.03 * right, right, low - 0.1 * (1 - low), 1 + 0.05 * (1 - low)

    _draw(
        axes,
        evaluation,
        evaluation.roc,
        quantity="AUC",
        corner=corner,
        where=(0.3, 0.42),
        legend=lambda mean: "lower right",
    )
    return figure


@style.styled
def precision_recall_curves(evaluation: Evaluation) -> Figure:
    """Returns the figure of the precision-recall curves, each class against the rest.

    Drawn as steps, since precision does not interpolate linearly; coloured, named and enlarged
    like the ROC curves, by average precision.
    """
    figure = Figure(figsize=(style.COLUMN_WIDTH, style.COLUMN_WIDTH))
    axes = figure.subplots()
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_title("Precision and recall")

    def corner(curves: Sequence[Curve]) -> tuple[float, float, float, float]:
        left = min(float(curve.x[curve.y >= 0.99].max(initial=0)) for curve in curves)
        low = min(float(curve.y[curve.x >= 0.99].max(initial=0)) for curve in curves)
        left, low = min(left, 0.99), min(low, 0.99)
        return left - 0.1 * (1 - left), 1 + 0.05 * (1 - left), low - 0.1 * (1 - low), 1.01

    _draw(
        axes,
        evaluation,
        evaluation.precision_recall,
        quantity="AP",
        corner=corner,
        where=(0.2, 0.42),
        # below good curves, above bad ones
        legend=lambda mean: "lower left" if mean > 0.5 else "upper right",
    )
    return figure


def _draw(
    axes: Axes,
    evaluation: Evaluation,
    curves: Sequence[Curve | None],
    *,
    quantity: str,
    corner: Callable[[Sequence[Curve]], tuple[float, float, float, float]],
    where: tuple[float, float],
    legend: Callable[[float], str],
) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    drawn = [(k, curve) for k, curve in enumerate(curves) if curve is not None]
    if not drawn:
        axes.text(0.5, 0.5, "undefined: only one class\nhas examples", ha="center", va="center")
        return
    mean = float(np.mean([curve.area for _, curve in drawn]))
    _lines(axes, evaluation, drawn, quantity=quantity, mean=mean)
    axes.legend(loc=legend(mean), handlelength=1.4, labelspacing=0.3)
    left, right, low, high = corner([curve for _, curve in drawn])
    if (right - left) * (high - low) < _LARGEST_CORNER:
        inset = axes.inset_axes([*where, 0.5, 0.42], xlim=(left, right), ylim=(low, high))
        _lines(inset, evaluation, drawn, quantity=quantity, mean=mean)
        inset.tick_params(labelsize=6)
        inset.spines[:].set_visible(True)
        inset.spines[:].set_color(style.GREY)
        axes.indicate_inset_zoom(inset, edgecolor=style.GREY, linewidth=0.6)


def _lines(
    axes: Axes,
    evaluation: Evaluation,
    drawn: Sequence[tuple[int, Curve]],
    *,
    quantity: str,
    mean: float,
) -> None:
    colored = sorted(drawn, key=lambda item: item[1].area)
    if len(drawn) > _MOST_COLORED:
        colored = colored[:_NUM_WORST]
        rest = [curve for k, curve in drawn if k not in {k for k, _ in colored}]
        # many lines add up to a shade; few must be seen one by one
        opacity = float(np.clip(20 / len(rest), 0.08, 0.7))
        axes.add_collection(
            LineCollection(
                [_steps(curve, quantity) for curve in rest],
                colors=style.GREY,
                linewidths=0.7,
                alpha=opacity,
            ),
            autolim=False,
        )
        axes.plot([], [], color=style.GREY, linewidth=0.7, label=f"{len(rest)} others")
    else:
        colored = sorted(colored)
    for color, (k, curve) in zip(style.COLORS, colored, strict=False):
        name = style.shortened(evaluation.class_names[k], 14)
        x, y = _steps(curve, quantity).T
        axes.plot(x, y, color=color, linewidth=1.1, label=f"{name}  {quantity} {_area(curve.area)}")
    axes.plot([], [], linestyle="none", label=f"mean {quantity} {_area(mean)}")


def _area(area: float) -> str:
    """Rounded down beyond three digits, so that only a perfect curve reads 1."""
    return "1" if area == 1 else f"{min(area, 0.9999):.4f}" if area > 0.999 else f"{area:.3f}"


def _steps(curve: Curve, quantity: str) -> np.ndarray:
    """Returns the curve's vertices, shape (P, 2)."""
    if quantity == "AUC":
        return np.column_stack([curve.x, curve.y])
    # the precision of each recall holds since the recall before: what the average sums
    return np.column_stack([np.repeat(curve.x, 2)[:-1], np.repeat(curve.y, 2)[1:]])
