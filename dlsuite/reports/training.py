"""A run's training curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dlsuite.errors import DlsuiteError
from dlsuite.reports import style

# Title of a panel, axis label, and its curves: key of the history and label.
_PANELS = (
    ("Loss", "loss", (("loss", "training"), ("val_loss", "validation"))),
    ("Accuracy", "accuracy", (("accuracy", "training"), ("val_accuracy", "validation"))),
    ("Losses", "loss", (("g_loss", "generator"), ("d_loss", "discriminator"))),
    ("Discriminator", "accuracy", (("d_real", "on real"), ("d_fake", "on generated"))),
    ("Gradients", "norm", (("g_gradient", "generator"), ("d_gradient", "discriminator"))),
    ("Learning rate", "learning rate", (("learning_rate", ""),)),
)


@style.styled
def training_curves(
    history: Sequence[Mapping[str, Any]], *, best: Mapping[str, Any] | None = None
) -> Figure:
    """Returns the figure of losses, accuracies, gradients and learning rate by epoch.

    Training values are means over an epoch, of augmented images and of weights that change
    meanwhile; validation values belong to the epoch's end.

    Args:
        history: one mapping an epoch, with ``epoch`` and any of ``loss``, ``val_loss``,
            ``accuracy``, ``val_accuracy``, those of a GAN (``g_loss``, ``d_loss``, ``d_real``,
            ``d_fake``, ``g_gradient``, ``d_gradient``) and ``learning_rate``; None leaves a gap.
        best: ``epoch``, marked by a line, and ``monitor``, the metric that chose it, which has a
            panel of its own where no other shows it.

    Raises:
        DlsuiteError: no epoch was recorded.
    """
    if not history:
        raise DlsuiteError(
            "Training curves need at least one epoch. Received: an empty history. "
            "Train for an epoch first."
        )
    panels = [
        panel for panel in _PANELS if any(key in row for key, _ in panel[2] for row in history)
    ]
    if best is not None and all(best["monitor"] != key for panel in panels for key, _ in panel[2]):
        panels.append(("What chose the epoch", best["monitor"], ((best["monitor"], ""),)))
    figure = Figure(figsize=(2.4 * len(panels), 2.2))
    epochs = [row["epoch"] for row in history]
    for axes, (title, label, curves) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        for color, (key, name) in zip((style.SKY, style.BLUE), curves, strict=False):
            if len(curves) == 1:
                color = style.BLACK
            _curve(axes, epochs, [row.get(key) for row in history], color=color, label=name)
        if best is not None:
            axes.axvline(
                best["epoch"],
                color=style.GREY,
                linewidth=0.8,
                linestyle=":",
                zorder=0,
                label="best epoch",
            )
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        if len(curves) > 1:
            axes.legend()
    return figure


def _curve(axes: Axes, epochs: list[int], values: list[float | None], *, color, label: str) -> None:
    values = np.array([np.nan if value is None else value for value in values], dtype=float)
    marker = "o" if len(epochs) <= 30 else ""
    axes.plot(epochs, values, color=color, label=label, marker=marker, markersize=2.2)


def write_training_curves(
    history: Sequence[Mapping[str, Any]], path: Path, *, best: Mapping[str, Any] | None = None
) -> Path:
    """Writes the training curves as PNG and returns the path."""
    return style.save(training_curves(history, best=best), path)
