"""An evaluation's figures and files."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dlsuite.analysis.classification import Evaluation, wilson_interval
from dlsuite.reports import style
from dlsuite.reports.confusion import confusion_matrix
from dlsuite.reports.curves import precision_recall_curves, roc_curves
from dlsuite.runs.folder import replacing


@style.styled
def reliability_diagram(evaluation: Evaluation) -> Figure:
    """Returns the figure of accuracy against confidence, above the histogram of confidence.

    A calibrated classifier's points lie on the diagonal. Each point stands at its bin's mean
    confidence; its line is the 95 % Wilson interval, which says which gaps are noise.

    Source: Guo et al. 2017, arXiv:1706.04599, figure 1, with intervals added.
    """
    bins = evaluation.reliability
    held = np.flatnonzero(bins.counts)
    figure = Figure(figsize=(style.COLUMN_WIDTH * 0.95, style.COLUMN_WIDTH * 1.2))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=":")
    for m in held:
        right = round(bins.accuracy[m] * bins.counts[m])
        low, high = wilson_interval(right, int(bins.counts[m]))
        upper.plot([bins.confidence[m]] * 2, [low, high], color=style.SKY, linewidth=1.6)
    upper.plot(
        bins.confidence[held], bins.accuracy[held], color=style.BLUE, marker="o", markersize=3.5
    )
    upper.set_ylim(-0.02, 1.02)
    upper.set_ylabel("accuracy")
    upper.set_title("Reliability")
    # the side of the diagonal that the points leave free
    cautious = np.nansum(bins.counts * (bins.accuracy - bins.confidence)) > 0
    upper.text(
        0.98 if cautious else 0.03,
        0.03 if cautious else 0.97,
        f"expected calibration error {100 * evaluation.expected_calibration_error:.2f} %\n"
        f"accuracy {100 * evaluation.accuracy:.2f} %",
        transform=upper.transAxes,
        ha="right" if cautious else "left",
        va="bottom" if cautious else "top",
        fontsize=7,
    )
    upper.grid()
    lower.bar(
        bins.edges[:-1],
        bins.counts,
        width=np.diff(bins.edges),
        align="edge",
        color=style.SKY,
        edgecolor="white",
        linewidth=0.5,
    )
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.7)
    lower.set_xlim(0, 1.005)
    lower.set_xlabel("confidence (probability of the predicted class)")
    lower.set_ylabel("examples")
    return figure


@style.styled
def confident_mistakes(
    evaluation: Evaluation, read: Callable[[np.ndarray], np.ndarray], *, limit: int = 24
) -> Figure:
    """Returns the picture of the most confident mistakes, most confident first.

    Args:
        evaluation: its mistakes are drawn.
        read: takes indices, shape (B,), and returns images, shape (B, H, W, C).
        limit: the most images to draw.
    """
    mistakes = evaluation.mistakes[:limit]
    if not mistakes:
        figure = Figure(figsize=(style.COLUMN_WIDTH, 0.8))
        figure.text(
            0.5,
            0.5,
            f"No mistake among {evaluation.num_examples:,} examples",
            ha="center",
            va="center",
        )
        return figure
    columns = min(6, len(mistakes))
    rows = math.ceil(len(mistakes) / columns)
    figure = Figure(figsize=(style.PAGE_WIDTH / 6 * max(columns, 3), 1.5 * rows + 0.3))
    figure.suptitle(
        f"The most confident of {evaluation.num_mistakes:,} mistakes "
        f"among {evaluation.num_examples:,} examples",
        x=0.01,
        ha="left",
        fontsize=9,
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    images = read(np.array([mistake.index for mistake in mistakes]))
    # what was boolean is stored as 0 and 1
    largest = 255.0 if images.max() > 1 else 1.0
    for axes, mistake, image in zip(grid, mistakes, images, strict=False):
        style.show_image(axes, image, largest=largest)
        predicted = style.shortened(evaluation.class_names[mistake.predicted], 14)
        true = style.shortened(evaluation.class_names[mistake.true], 14)
        axes.set_title(
            f"{predicted}  {_percent(mistake.probability)}",
            color=style.ORANGE,
            fontsize=7.5,
            loc="center",
            pad=2,
        )
        axes.text(
            0.5,
            -0.03,
            f"is {true}",
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=7.5,
            color=style.BLUE,
        )
    for axes in grid[len(mistakes) :]:
        axes.set_axis_off()
    return figure


def _percent(probability: float) -> str:
    """Never rounds up to certainty."""
    return ">99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"


def write_figures(
    evaluation: Evaluation, read: Callable[[np.ndarray], np.ndarray], folder: Path
) -> list[Path]:
    """Draws every figure of an evaluation into a folder and returns the PNG files' paths.

    Args:
        evaluation: what to draw.
        read: takes indices, shape (B,), and returns images, shape (B, H, W, C), as a split does.
        folder: must exist.
    """
    figures = {
        "confusion_matrix.png": confusion_matrix(evaluation),
        "reliability.png": reliability_diagram(evaluation),
        "roc.png": roc_curves(evaluation),
        "precision_recall.png": precision_recall_curves(evaluation),
        "mistakes.png": confident_mistakes(evaluation, read),
    }
    return [style.save(figure, folder / name) for name, figure in figures.items()]


def write_evaluation(
    evaluation: Evaluation,
    read: Callable[[np.ndarray], np.ndarray],
    folder: Path,
    *,
    about: Mapping[str, Any],
) -> list[Path]:
    """Writes an evaluation's folder and returns the files' paths, ``evaluation.json`` last.

    ``evaluation.json`` holds the numbers, ``predictions.npz`` labels and logits, from which
    all of it can be computed and drawn again without the model.

    Args:
        evaluation: what to write.
        read: takes indices, shape (B,), and returns images, shape (B, H, W, C), as a split does.
        folder: made where it doesn't exist.
        about: what was evaluated on what; stands before the numbers.

    Raises:
        OSError: the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = write_figures(evaluation, read, folder)
    arrays = folder / "predictions.npz"
    with replacing(arrays) as temporary:
        np.savez(
            temporary,
            labels=evaluation.labels,
            logits=evaluation.logits,
            class_names=np.array(evaluation.class_names),
        )
    numbers = folder / "evaluation.json"
    with replacing(numbers) as temporary:
        content = json.dumps({**about, **evaluation.to_json()}, indent=2, allow_nan=False)
        temporary.write_text(content + "\n", encoding="utf-8")
    return [*files, arrays, numbers]
