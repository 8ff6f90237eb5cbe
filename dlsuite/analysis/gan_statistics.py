"""The statistics by which generated images are compared with real ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlsuite.analysis import comparison
from dlsuite.analysis.minkowski import Functionals, extrema, minkowski_functionals
from dlsuite.analysis.spectra import (
    Spectra,
    equilateral_bispectra,
    power_spectra,
    two_point,
)
from dlsuite.data.dataset import Split, evenly_spaced

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
        tests: of each bin, generated and floor, NaN where no set varies.
    """

    name: str
    generated: float
    floor: float
    best: float
    p_value: float | None = None
    p_floor: float | None = None
    tests: tuple[comparison.Agreement, comparison.Agreement] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers as plain values."""
        said = {
            key: _plain(getattr(self, key))
            for key in ("generated", "floor", "best", "p_value", "p_floor")
        }
        bins = None
        if self.tests is not None:
            bins = {
                f"{which}_{key}": [_plain(value) for value in getattr(test, field)]
                for which, test in zip(("generated", "floor"), self.tests, strict=True)
                for key, field in (("d", "statistic"), ("p", "p_value"))
            }
        return {"name": self.name, **said, "bins": bins}


@dataclass(frozen=True, eq=False)
class Axes:
    """What the bins of the summaries stand for.

    Attributes:
        edges: of the pixel histogram, in stored units, (B + 1,).
        separation: of the two-point correlation, in sides, (R,).
        triangles: wave numbers of the bispectrum, in cycles a side, (K,).
        heights: edges of peaks and minima, in deviations of the real pixels, (H + 1,).
    """

    edges: np.ndarray
    separation: np.ndarray
    triangles: np.ndarray
    heights: np.ndarray


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


def summarise(
    real: np.ndarray, fake: np.ndarray, other: np.ndarray
) -> tuple[Axes, tuple[Summaries, Summaries, Summaries]]:
    """Returns what is measured of each set of images, (N, H, H, C), and the axes of it.

    Channels are averaged for what is measured on fields. These are standardised by mean and
    deviation of the real ones.
    """
    edges = np.linspace(*_range(real, fake), _HISTOGRAM_BINS + 1)
    fields = [images.mean(axis=-1, dtype=np.float32) for images in (real, fake, other)]
    centre, deviation = float(fields[0].mean()), float(fields[0].std()) or 1.0
    made = []
    for images, maps in zip((real, fake, other), fields, strict=True):
        summaries, separation, triangles = _summaries(images, (maps - centre) / deviation, edges)
        made.append(summaries)
    return Axes(edges, separation, triangles, _EXTREMA_EDGES), tuple(made)


def compare(
    images: Sequence[np.ndarray],
    summaries: Sequence[Summaries],
    *,
    limits: tuple[float, float],
    train: Split | None,
) -> list[Row]:
    """Returns the statistics.

    Args:
        images: real, generated and other real ones.
        summaries: of each.
        limits: the smallest and the largest pixel that can be generated.
        train: what the generator was trained on, where it is there.
    """
    return [
        *_pixel_rows(*images, *summaries, limits),
        *_field_rows(*summaries),
        *_set_rows(*images, train),
    ]


def read_pixels(split: Split, indices: np.ndarray) -> np.ndarray:
    """Returns images of a split, float32."""
    return split.read(indices).astype(np.float32)


def _plain(value: float | None) -> float | None:
    """A number for JSON; None for what is undefined, such as a correlation of constants."""
    return float(value) if value is not None and np.isfinite(value) else None


def _range(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """Between a thousandth of real pixels at either end, widened by a quarter."""
    low, high = np.percentile(real, [0.1, 99.9])
    if low == high:
        low, high = min(real.min(), fake.min()), max(real.max(), fake.max()) + 1e-6
    margin = 0.25 * (high - low)
    return float(low - margin), float(high + margin)


def _summaries(
    images: np.ndarray, maps: np.ndarray, edges: np.ndarray
) -> tuple[Summaries, np.ndarray, np.ndarray]:
    """What is measured, and the axes that depend on the size: separations and wave numbers."""
    # bins of a pixel at least: narrower ones may hold no pair
    separation, correlation = two_point(maps, num_bins=min(16, maps.shape[1] // 2))
    rings = min(8, maps.shape[1] // 8)
    triangles, bispectrum = equilateral_bispectra(maps, num_bins=rings)
    peaks, minima = extrema(maps, _EXTREMA_EDGES)
    made = Summaries(
        histogram=comparison.pixel_histograms(images, edges),
        spectra=power_spectra(maps),
        functionals=minkowski_functionals(maps, _LEVELS),
        peaks=peaks,
        minima=minima,
        correlation=correlation,
        bispectrum=bispectrum,
    )
    return made, separation, triangles


def _tested(name: str, real: np.ndarray, fake: np.ndarray, other: np.ndarray) -> Row:
    """KS tests of a summary in each bin that varies in any set, the median over the bins."""
    varies = np.ptp(np.concatenate([real, fake, other]), axis=0) > 0
    # the floor's median is over the real images' bins, whatever is generated
    is_real = np.ptp(np.concatenate([real, other]), axis=0) > 0
    tests = []
    for values in (fake, other):
        found = comparison.ks_per_bin(real[:, varies], values[:, varies])
        statistic, p_value = np.full((2, len(varies)), np.nan)
        statistic[varies], p_value[varies] = found.statistic, found.p_value
        tests.append(comparison.Agreement(statistic, p_value))
    generated, floor = tests
    return Row(
        name,
        float(np.nanmedian(generated.statistic)),
        float(np.median(floor.statistic[is_real])),
        0.0,
        float(np.nanmedian(generated.p_value)),
        float(np.median(floor.p_value[is_real])),
        tests=(generated, floor),
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
        known = read_pixels(train, chunk)
        for images, least in zip(sets, nearest, strict=True):
            np.minimum(least, comparison.nearest_distances(images, known)[1], out=least)
    return nearest
