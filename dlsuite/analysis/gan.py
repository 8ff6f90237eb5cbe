"""A generator measured against held-out images, each number beside its real-against-real floor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dlsuite.analysis import comparison
from dlsuite.analysis.evaluation import choose_split
from dlsuite.analysis.generation import Sampler
from dlsuite.analysis.judged import Judgement, judge
from dlsuite.analysis.minkowski import Functionals, extrema, minkowski_functionals
from dlsuite.analysis.spectra import (
    Spectra,
    equilateral_bispectra,
    power_spectra,
    two_point,
)
from dlsuite.data.dataset import Dataset, Split, evenly_spaced
from dlsuite.data.pixels import PixelTransform
from dlsuite.errors import DlsuiteError
from dlsuite.models.saved import read_classifier
from dlsuite.recipes.gan import GanRecipe
from dlsuite.wording import counted

_HISTOGRAM_BINS = 64
_LEVELS = np.linspace(-2.5, 4.0, 27)  # thresholds in deviations of the real pixels
_EXTREMA_EDGES = np.concatenate([[-np.inf], np.linspace(-3.0, 6.0, 10), [np.inf]])
# Nearest training images are looked for among at most so many, and for at most so many.
_NEIGHBOURS, _QUERIES = 50_000, 2000
_READ = 2000  # training images at a time


@dataclass(frozen=True)
class Row:
    """One statistic.

    Attributes:
        name: what is measured.
        generated: generated against real.
        floor: other real images against the same real ones: what a perfect generator has.
        best: the value of two equal sets.
        p_value: of the KS tests where the statistic is one, the median over bins.
        p_floor: likewise, real against real.
    """

    name: str
    generated: float
    floor: float
    best: float
    p_value: float | None = None
    p_floor: float | None = None


@dataclass(frozen=True, eq=False)
class Summaries:
    """What is measured of one set of images, a row an image.

    Attributes:
        histogram: pixels a bin, (N, B).
        spectra: power spectra; k counts cycles a side.
        functionals: Minkowski functionals; their thresholds in deviations of the real pixels.
        peaks, minima: numbers by height, (N, H).
        correlation: two-point, (N, R).
        bispectrum: equilateral, (N, K).
    """

    histogram: np.ndarray
    spectra: Spectra
    functionals: Functionals
    peaks: np.ndarray
    minima: np.ndarray
    correlation: np.ndarray
    bispectrum: np.ndarray


@dataclass(frozen=True, eq=False)
class GanEvaluation:
    """Generated images against held-out ones.

    Attributes:
        num_examples: images of each set.
        floor_of: what the floor's other real images are.
        rows: the statistics.
        edges: of the pixel histogram, in stored units.
        separation: of the two-point correlation, in sides.
        real, fake, floor: summaries of the three sets.
        images: some of the real and some of the fake ones, for the eye.
        value_range: of stored pixels.
        judgement: what a classifier says of the fakes; None without one.
    """

    num_examples: int
    floor_of: str
    rows: tuple[Row, ...]
    edges: np.ndarray
    separation: np.ndarray
    real: Summaries
    fake: Summaries
    floor: Summaries
    images: tuple[np.ndarray, np.ndarray] = field(repr=False)
    value_range: tuple[float, float] = (0, 255)
    judgement: Judgement | None = None

    def row(self, name: str) -> Row:
        """Returns the statistic of that name."""
        return next(row for row in self.rows if row.name == name)

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers as plain values; the keys are documented in ``docs/json.md``."""
        return {
            "num_examples": self.num_examples,
            "floor_of": self.floor_of,
            "statistics": [
                {
                    "name": row.name,
                    "generated": _plain(row.generated),
                    "floor": _plain(row.floor),
                    "best": _plain(row.best),
                    "p_value": _plain(row.p_value),
                    "p_floor": _plain(row.p_floor),
                }
                for row in self.rows
            ],
            "classifier": None if self.judgement is None else self.judgement.to_json(),
        }


def evaluate_generator(
    model: keras.Model,
    dataset: Dataset,
    *,
    split: str,
    recipe: GanRecipe,
    batch_size: int,
    progress: Callable[[int], object] | None = None,
    classifier: str | Path | None = None,
    seed: int = 0,
) -> GanEvaluation:
    """Returns the generator's statistics against a split: what `dlsuite.Run.evaluate` gives.

    The floor compares the split with another one, ``validation`` or ``test``, or where there is
    none its two halves. All three sets have the size of the smallest: of a larger split evenly
    spaced images are taken. Channels are averaged for what is measured on fields.

    Args:
        model: latent vectors to images as stored.
        dataset: that the run was trained on.
        split: held-out images.
        recipe: of the run.
        batch_size: images generated at a time.
        progress: called with the number of images generated.
        classifier: a classifier's run or ``.keras`` file; what it says is added.
        seed: of what is generated.

    Raises:
        DlsuiteError: no such split, or no classifier of such images.
    """
    real, other, floor_of = _held_out(dataset, split)
    count = len(real)
    judging = None
    if classifier is not None:
        judging = read_classifier(Path(classifier), tuple(model.output_shape[1:]))
    sampler = Sampler(model, seed=seed, batch_size=batch_size)
    parts = []
    for images in sampler.batches(0, count):
        parts.append(images)
        if progress is not None:
            progress(len(images))
    fake = np.concatenate(parts)
    transform = PixelTransform(recipe.pixels, dataset)
    low, high = _range(real, fake)
    edges = np.linspace(low, high, _HISTOGRAM_BINS + 1)
    fields = [images.mean(axis=-1, dtype=np.float32) for images in (real, fake, other)]
    centre, deviation = float(fields[0].mean()), float(fields[0].std()) or 1.0
    summaries = []
    for images, maps in zip((real, fake, other), fields, strict=True):
        summaries.append(_summaries(images, (maps - centre) / deviation, edges))
    separation = summaries[0][1]
    of_real, of_fake, of_other = (made for made, _ in summaries)
    rows = [
        *_pixel_rows(real, fake, other, of_real, of_fake, of_other, transform.limits),
        *_field_rows(of_real, of_fake, of_other),
        *_set_rows(real, fake, other, dataset.splits.get("train")),
    ]
    judgement = None
    if judging is not None:
        judgement = judge(judging, sampler, real=real, other=other, fake=fake)
        rows += [Row(*row) for row in judgement.rows]
    return GanEvaluation(
        num_examples=count,
        floor_of=floor_of,
        rows=tuple(rows),
        edges=edges,
        separation=separation,
        real=of_real,
        fake=of_fake,
        floor=of_other,
        images=(real[:32], fake[:32]),
        value_range=tuple(dataset.value_range),
        judgement=judgement,
    )


def _plain(value: float | None) -> float | None:
    """A number for JSON; None for what is undefined, such as a correlation of constants."""
    return float(value) if value is not None and np.isfinite(value) else None


def _held_out(dataset: Dataset, name: str) -> tuple[np.ndarray, np.ndarray, str]:
    """The split's images, as many other real ones, and what those are."""
    split = choose_split(dataset, name)
    others = [other for other in ("validation", "test") if other != name]
    second = next((dataset.splits[other] for other in others if other in dataset.splits), None)
    if second is None:
        half = split.num_examples // 2
        _check_count(half, split)
        # classes lie one after the other in many a split; of maps, neighbours share a parent
        every, apart = (2, 1) if dataset.class_names else (1, half)
        halves = [np.arange(start, start + every * half, every) for start in (0, apart)]
        return *(_read(split, half) for half in halves), f"the other half of {name}"
    count = min(split.num_examples, second.num_examples)
    _check_count(count, min(split, second, key=lambda s: s.num_examples))
    return _evenly(split, count), _evenly(second, count), second.name


def _check_count(count: int, smallest: Split) -> None:
    """Checks that there is something to compare.

    Raises:
        DlsuiteError: there isn't.
    """
    if count < 2:
        raise DlsuiteError(
            "Generated images are compared with at least two real ones, and these with two others. "
            f"Received: {counted(smallest.num_examples, 'image')} in the split {smallest.name}. "
            "Evaluate on a larger one with --split or --data."
        )


def _evenly(split: Split, count: int) -> np.ndarray:
    return _read(split, evenly_spaced(split.num_examples, count))


def _read(split: Split, indices: np.ndarray) -> np.ndarray:
    return split.read(indices).astype(np.float32)


def _range(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """Between a thousandth of real pixels at either end, widened by a quarter."""
    low, high = np.percentile(real, [0.1, 99.9])
    if low == high:
        low, high = min(real.min(), fake.min()), max(real.max(), fake.max()) + 1e-6
    margin = 0.25 * (high - low)
    return float(low - margin), float(high + margin)


def _summaries(
    images: np.ndarray, maps: np.ndarray, edges: np.ndarray
) -> tuple[Summaries, np.ndarray]:
    # bins of a pixel at least: narrower ones may hold no pair
    separation, correlation = two_point(maps, num_bins=min(16, maps.shape[1] // 2))
    rings = min(8, maps.shape[1] // 8)
    peaks, minima = extrema(maps, _EXTREMA_EDGES)
    made = Summaries(
        histogram=comparison.pixel_histograms(images, edges),
        spectra=power_spectra(maps),
        functionals=minkowski_functionals(maps, _LEVELS),
        peaks=peaks,
        minima=minima,
        correlation=correlation,
        bispectrum=equilateral_bispectra(maps, num_bins=rings)[1],
    )
    return made, separation


def _tested(name: str, real: np.ndarray, fake: np.ndarray, other: np.ndarray) -> Row:
    """KS tests of a summary in each bin that varies at all, the median over the bins."""
    varies = np.ptp(np.concatenate([real, other]), axis=0) > 0
    generated = comparison.ks_per_bin(real[:, varies], fake[:, varies])
    floor = comparison.ks_per_bin(real[:, varies], other[:, varies])
    return Row(
        name,
        float(np.median(generated.statistic)),
        float(np.median(floor.statistic)),
        0.0,
        float(np.median(generated.p_value)),
        float(np.median(floor.p_value)),
    )


def _pixel_rows(
    real: np.ndarray,
    fake: np.ndarray,
    other: np.ndarray,
    of_real: Summaries,
    of_fake: Summaries,
    of_other: Summaries,
    limits: tuple[float, float],
) -> list[Row]:
    low, high = limits
    return [
        Row("pixel KS D", comparison.pixel_ks(real, fake), comparison.pixel_ks(real, other), 0.0),
        Row("pixel deviation ratio", fake.std() / real.std(), other.std() / real.std(), 1.0),
        Row("pixel mean shift (deviations)", *_shifts(real, fake, other), 0.0),
        _tested("histogram bins, KS D", of_real.histogram, of_fake.histogram, of_other.histogram),
        Row(
            "pixels at the tanh limit",
            comparison.fraction_at_limit(fake, low, high),
            comparison.fraction_at_limit(other, low, high),
            comparison.fraction_at_limit(real, low, high),
        ),
    ]


def _shifts(real: np.ndarray, fake: np.ndarray, other: np.ndarray) -> list[float]:
    return [float((x.mean() - real.mean()) / real.std()) for x in (fake, other)]


def _field_rows(real: Summaries, fake: Summaries, other: Summaries) -> list[Row]:
    def power_ratio(summary: Summaries) -> np.ndarray:
        return summary.spectra.mean / real.spectra.mean

    def worst(summary: Summaries) -> float:
        third = len(real.spectra.wave_number) * 2 // 3  # S/3 cycles a side of S/2
        return float(np.abs(power_ratio(summary)[:third] - 1).max())

    def correlation_gap(summary: Summaries) -> float:
        gap = summary.spectra.correlation - real.spectra.correlation
        return float(np.sqrt(np.mean(gap**2)))

    rows = [
        Row("P(k) ratio, median", *(float(np.median(power_ratio(s))) for s in (fake, other)), 1.0),
        Row("P(k) ratio, worst |1 - r| to S/3", worst(fake), worst(other), 0.0),
        _tested("P(k), KS D", real.spectra.power, fake.spectra.power, other.spectra.power),
        Row("mode correlation, rms gap", correlation_gap(fake), correlation_gap(other), 0.0),
    ]
    for name, key in (("V0", "area"), ("V1", "boundary"), ("V2", "euler")):
        values = [getattr(summary.functionals, key) for summary in (real, fake, other)]
        rows.append(_tested(f"Minkowski {name}, KS D", *values))
    for name, key in (
        ("peaks by height, KS D", "peaks"),
        ("minima by height, KS D", "minima"),
        ("two-point correlation, KS D", "correlation"),
        ("bispectrum, KS D", "bispectrum"),
    ):
        rows.append(_tested(name, *(getattr(summary, key) for summary in (real, fake, other))))
    return rows


def _set_rows(
    real: np.ndarray, fake: np.ndarray, other: np.ndarray, train: Split | None
) -> list[Row]:
    scale = float(real.std()) or 1.0
    rows = [
        Row(
            "sliced Wasserstein distance (deviations)",
            comparison.sliced_wasserstein(real, fake) / scale,
            comparison.sliced_wasserstein(real, other) / scale,
            0.0,
        )
    ]
    if train is not None:
        nearest = [
            float(np.quantile(distances, 0.05)) / scale
            for distances in _nearest([x[:_QUERIES] for x in (fake, other, real)], train)
        ]
        rows.append(Row("nearest training image, 5 % quantile (deviations)", *nearest))
    return rows


def _nearest(sets: Sequence[np.ndarray], train: Split) -> list[np.ndarray]:
    """Each image's distance to the nearest training image, by set."""
    nearest = [np.full(len(images), np.inf) for images in sets]
    count = min(train.num_examples, _NEIGHBOURS)
    among = evenly_spaced(train.num_examples, count)
    for chunk in np.array_split(among, -(-count // _READ)):
        known = _read(train, chunk)
        for images, least in zip(sets, nearest, strict=True):
            np.minimum(least, comparison.nearest_distances(images, known)[1], out=least)
    return nearest
