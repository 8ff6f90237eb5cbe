"""Figures, page and files of a generator's evaluation, and what is drawn while it trains."""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import keras
import numpy as np
from matplotlib.figure import Figure

from dlsuite.analysis.gan import GanEvaluation
from dlsuite.analysis.gan_statistics import Summaries
from dlsuite.analysis.generation import Sampler
from dlsuite.reports import style
from dlsuite.reports.sheets import Painter, save_sheet, sheet
from dlsuite.runs.folder import replacing

_NUM_SAMPLES = 64
# What warns of a collapse: below the first value the images differ much less from each other than
# real ones do, or leave a class out; early in training, until they reach the second or for some
# epochs, they do so anyway.
_SIGNS = {
    "val_diversity": (0.3, 0.5, "they differ {:.2f} times as much from each other as real ones"),
    "val_coverage": (0.1, 0.25, "a class has {:.2f} times its share of the real ones"),
}
_EARLY_EPOCHS = 10
_FIGURES = (
    ("samples.png", "Real and generated", "Real held-out images on the left, generated ones on "
     "the right, all on one scale."),
    ("histogram.png", "Pixel values", "Pixels a bin and image; bands are the deviation over "
     "images, and below stands the ratio of the means. Grey: other real images."),
    ("power_spectrum.png", "Power spectrum", "Mean over images with the band from the 16th to the "
     "84th percentile, and the ratio to the real images' mean."),
    ("minkowski.png", "Minkowski functionals", "Area, boundary and Euler characteristic of what "
     "lies above a threshold; bands as above."),
    ("correlation.png", "Correlation of modes", "Of the power in bins of k over images."),
)  # fmt: skip


@style.styled
def pixel_histogram(evaluation: GanEvaluation) -> Figure:
    """Returns the figure of pixels a bin, with its ratio panel.

    Source: the form of Mustafa et al. 2017, arXiv:1706.02390, figure 3.
    """
    centres = (evaluation.axes.edges[1:] + evaluation.axes.edges[:-1]) / 2
    figure, upper, lower = _with_ratio()
    means = {}
    for name, label, color in _sets():
        counts = getattr(evaluation, name).histogram
        means[name] = counts.mean(axis=0)
        deviation = counts.std(axis=0)
        upper.plot(centres, means[name], color=color, label=label, linewidth=1.1)
        if name != "floor":
            band = (np.maximum(means[name] - deviation, 1e-3), means[name] + deviation)
            upper.fill_between(centres, *band, color=color, alpha=0.2, linewidth=0)
    held = means["real"] > 0.01
    for name, _, color in _sets()[1:]:
        lower.plot(centres[held], means[name][held] / means["real"][held], color=color)
    _limit_ratio(lower)
    upper.set_yscale("log")
    upper.set_ylim(bottom=max(1e-2, means["real"][held].min() / 3))
    upper.set_ylabel("pixels a bin")
    lower.set_xlabel("pixel value (as stored)")
    upper.legend()
    return figure


@style.styled
def power_spectrum(evaluation: GanEvaluation) -> Figure:
    """Returns the figure of power spectra, with its ratio panel.

    Source: the form of Mustafa et al. 2017, arXiv:1706.02390, figure 4.
    """
    figure, upper, lower = _with_ratio()
    k = evaluation.real.spectra.wave_number
    mean = evaluation.real.spectra.mean
    for name, label, color in _sets():
        power = getattr(evaluation, name).spectra.power
        low, high = np.percentile(power, [16, 84], axis=0)
        upper.plot(k, power.mean(axis=0), color=color, label=label, linewidth=1.1)
        if name != "floor":
            upper.fill_between(k, low, high, color=color, alpha=0.2, linewidth=0)
            lower.fill_between(k, low / mean, high / mean, color=color, alpha=0.12, linewidth=0)
        lower.plot(k, power.mean(axis=0) / mean, color=color)
    _limit_ratio(lower)
    upper.set_yscale("log")
    for axes in (upper, lower):
        axes.set_xscale("log")
    upper.set_ylabel("P(k) of standardised pixels")
    lower.set_xlabel("k [cycles a side]")
    upper.legend()
    return figure


@style.styled
def minkowski(evaluation: GanEvaluation) -> Figure:
    """Returns the figure of the three functionals.

    Source: the form of Mustafa et al. 2017, arXiv:1706.02390, figure 5.
    """
    figure = Figure(figsize=(style.PAGE_WIDTH, 2.3))
    panels = (("area", "V0"), ("boundary", "V1"), ("euler", "V2"))
    for axes, (key, title) in zip(figure.subplots(1, 3), panels, strict=True):
        for name, label, color in _sets():
            functionals = getattr(evaluation, name).functionals
            values = getattr(functionals, key)
            axes.plot(functionals.thresholds, values.mean(axis=0), color=color, label=label)
            if name != "floor":
                low, high = np.percentile(values, [16, 84], axis=0)
                axes.fill_between(
                    functionals.thresholds, low, high, color=color, alpha=0.2, linewidth=0
                )
        axes.set_title(title)
        axes.set_xlabel("threshold [deviations]")
    figure.axes[0].legend()
    return figure


@style.styled
def mode_correlation(evaluation: GanEvaluation) -> Figure:
    """Returns the figure of the correlation matrices of real and generated spectra."""
    figure = Figure(figsize=(style.PAGE_WIDTH, 2.6))
    axes = figure.subplots(1, 2)
    last = evaluation.real.spectra.wave_number[-1]
    for panel, (name, label, _) in zip(axes, _sets()[:2], strict=True):
        shown = panel.imshow(
            getattr(evaluation, name).spectra.correlation,
            vmin=-1, vmax=1, cmap="RdBu_r", origin="lower", extent=(0.5, last + 0.5) * 2,
        )  # fmt: skip
        panel.set_title(label)
        panel.set_xlabel("k [cycles a side]")
        panel.set_ylabel("k [cycles a side]")
    figure.colorbar(shown, ax=axes, shrink=0.9)
    return figure


def _sets() -> tuple[tuple[str, str, str], ...]:
    return (
        ("real", "real", style.BLUE),
        ("fake", "generated", style.ORANGE),
        ("floor", "other real", style.GREY),
    )


def _with_ratio() -> tuple[Figure, Any, Any]:
    figure = Figure(figsize=(style.COLUMN_WIDTH * 1.2, style.COLUMN_WIDTH * 1.2))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.3])
    lower.axhline(1, color=style.BLACK, linewidth=0.6)
    lower.set_ylabel("ratio")
    lower.grid(axis="y")
    return figure, upper, lower


def _limit_ratio(axes: Any) -> None:
    """Shows from 0.4 to 1.6, and as far as 0 and 3 where lines, not their bands, go beyond."""
    values = np.concatenate([line.get_ydata() for line in axes.lines])
    axes.set_ylim(max(0.0, min(0.4, values.min() - 0.1)), min(3.0, max(1.6, values.max() + 0.1)))


def write_evaluation(
    evaluation: GanEvaluation,
    read: Callable[[np.ndarray], np.ndarray],
    folder: Path,
    *,
    about: Mapping[str, Any],
) -> list[Path]:
    """Writes an evaluation's figures, its page and its numbers, ``evaluation.json`` last.

    ``summaries.npz`` holds what was measured of each image, from which every figure follows.

    Args:
        evaluation: what to write.
        read: of the split; not needed, the evaluation has its images.
        folder: made where it doesn't exist.
        about: what was evaluated on what; stands before the numbers.

    Raises:
        OSError: the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    real, fake = evaluation.images
    files = [save_sheet(_side_by_side(real, fake, evaluation.value_range), folder / "samples.png")]
    for name, figure in (
        ("histogram.png", pixel_histogram(evaluation)),
        ("power_spectrum.png", power_spectrum(evaluation)),
        ("minkowski.png", minkowski(evaluation)),
        ("correlation.png", mode_correlation(evaluation)),
    ):
        files.append(style.save(figure, folder / name))
    page = folder / "index.html"
    with replacing(page) as temporary:
        temporary.write_text(_page(evaluation, about), encoding="utf-8")
    arrays = folder / "summaries.npz"
    with replacing(arrays) as temporary:
        np.savez_compressed(temporary, **_arrays(evaluation))
    numbers = folder / "evaluation.json"
    with replacing(numbers) as temporary:
        content = json.dumps({**about, **evaluation.to_json()}, indent=2, allow_nan=False)
        temporary.write_text(content + "\n", encoding="utf-8")
    return [*files, page, arrays, numbers]


def _side_by_side(
    real: np.ndarray, fake: np.ndarray, value_range: tuple[float, float]
) -> np.ndarray:
    """A sheet with four real images and four generated ones a row."""
    painter = Painter(real, value_range)
    rows = []
    for images in (real, fake):
        pixels = painter(images)
        filled = np.pad(pixels, ((0, -len(pixels) % 4), *[(0, 0)] * 3), constant_values=255)
        rows.append(filled.reshape(-1, 4, *pixels.shape[1:]))
    return sheet(np.concatenate(rows, axis=1).reshape(-1, *rows[0].shape[2:]), columns=8)


def _arrays(evaluation: GanEvaluation) -> dict[str, np.ndarray]:
    def of(summaries: Summaries, name: str) -> dict[str, np.ndarray]:
        return {
            f"{name}_histogram": summaries.histogram,
            f"{name}_power": summaries.spectra.power,
            f"{name}_v0": summaries.functionals.area,
            f"{name}_v1": summaries.functionals.boundary,
            f"{name}_v2": summaries.functionals.euler,
            f"{name}_peaks": summaries.peaks,
            f"{name}_minima": summaries.minima,
            f"{name}_correlation": summaries.correlation,
            f"{name}_bispectrum": summaries.bispectrum,
        }

    shared = {
        "edges": evaluation.axes.edges,
        "separation": evaluation.axes.separation,
        "triangles": evaluation.axes.triangles,
        "heights": evaluation.axes.heights,
        "wave_number": evaluation.real.spectra.wave_number,
        "thresholds": evaluation.real.functionals.thresholds,
    }
    sets = [of(getattr(evaluation, name), name) for name, _, _ in _sets()]
    return shared | sets[0] | sets[1] | sets[2]


def _page(evaluation: GanEvaluation, about: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dlsuite.reports"), autoescape=True
    )
    shown = [
        {
            "name": row.name,
            "cells": [
                "" if value is None else f"{value:.4g}"
                for value in (row.generated, row.floor, row.best, row.p_value, row.p_floor)
            ],
        }
        for row in evaluation.rows
    ]
    return environment.get_template("gan.html").render(
        about=about,
        evaluation=evaluation,
        rows=shown,
        figures=[{"file": f, "title": t, "caption": c} for f, t, c in _FIGURES],
    )


class SampleSheets(keras.callbacks.Callback):
    """Draws the same latents after each epoch, and warns of images that grow alike.

    Likewise of a class that is left out, where a classifier watches.

    Args:
        generator: latents to images as stored.
        folder: ``samples/epoch-NNNN.png`` are written into it.
        value_range: of stored pixels.
        seed: of the latents.
    """

    def __init__(
        self,
        generator: keras.Model,
        folder: Path,
        *,
        value_range: tuple[float, float],
        seed: int,
    ):
        super().__init__()
        self._sampler = Sampler(generator, seed=seed)
        self._folder = folder / "samples"
        self._range = value_range
        # by the metric's name; checkpoints keep what has no underscore, so that once is once
        self.was_fair = dict.fromkeys(_SIGNS, False)
        self.has_warned = dict.fromkeys(_SIGNS, False)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Draws, and looks at the epoch's diversity."""
        images = self._sampler.images(self._sampler.latents(0, _NUM_SAMPLES))
        if np.isfinite(images).all():
            path = self._folder / f"epoch-{epoch + 1:04d}.png"
            try:
                save_sheet(sheet(Painter(images, self._range)(images)), path)
            except OSError as error:
                # what the training itself writes next says so too, if it is lost
                warnings.warn(
                    f"A sheet of samples was not written: '{path}' ({error.strerror or error}).",
                    stacklevel=2,
                )
        for name, (poor, fair, words) in _SIGNS.items():
            value = (logs or {}).get(name, 1.0)
            self.was_fair[name] |= value > fair
            is_late = self.was_fair[name] or epoch >= _EARLY_EPOCHS
            if value < poor and is_late and not self.has_warned[name]:
                self.has_warned[name] = True
                warnings.warn(
                    f"The generator's images may be collapsing: after epoch {epoch + 1} "
                    f"{words.format(value)}.",
                    stacklevel=2,
                )


def watch(task: Any, folder: Path) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that draw what a GAN's user watches while it trains.

    Args:
        task: a `dlsuite.tasks.gan.Gan`.
        folder: of the run.
    """
    sheets = SampleSheets(
        task.exported, folder, value_range=task.dataset.value_range, seed=task.recipe.train.seed
    )
    return [sheets]
