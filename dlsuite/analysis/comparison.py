"""Two sets of maps or images compared: per-map summaries, and distances of whole sets."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import ks_2samp

from dlsuite.errors import DlsuiteError


@dataclass(frozen=True)
class Agreement:
    """Two-sample Kolmogorov-Smirnov tests of a summary's values, one value a map and bin.

    A p-value near 1 says that the test saw no difference, not that there is none: it falls with
    the number of maps for any true difference, and for maps that are correlated within a set, as
    those of one parent are, without one. The statistic tends to a limit with the number of maps N;
    of two equal populations it is near 0.87 sqrt(2 / N), so that it belongs beside its floor.

    Attributes:
        statistic: largest difference of the cumulative distributions, 0 to 1, (B,).
        p_value: (B,).
    """

    statistic: np.ndarray
    p_value: np.ndarray


def ks_per_bin(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Returns a KS test for each bin of a summary.

    Pixels of a map are correlated, and a test on pixels would take them for so many
    observations; the value of a bin in each map is one observation a map.

    Args:
        first: (N, B), such as the power of N maps in B bins.
        second: (M, B).
    """
    tests = [ks_2samp(a, b, method="asymp") for a, b in zip(first.T, second.T, strict=True)]
    return Agreement(
        np.array([test.statistic for test in tests]), np.array([test.pvalue for test in tests])
    )


def pixel_histograms(maps: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns the number of pixels in each bin of each map, (N, B); what lies beyond is left out.

    Args:
        maps: (N, ...), in the unit of the edges.
        edges: evenly spaced, (B + 1,).
    """
    bins, count = len(edges) - 1, len(maps)
    step = (edges[-1] - edges[0]) / bins
    result = np.empty((count, bins), np.int64)
    for number, pixels in enumerate(maps):
        place = np.floor((pixels.ravel() - edges[0]) / step).astype(np.int64)
        place = place[(place >= 0) & (place < bins)]
        result[number] = np.bincount(place, minlength=bins)
    return result


def pixel_ks(first: np.ndarray, second: np.ndarray, *, num_bins: int = 4096) -> float:
    """Returns the largest difference of two pixel distributions, all maps together, 0 to 1.

    On bins between the two sets' smallest and largest value: never more than the exact KS
    statistic, and less by at most the share of the fullest bin.
    """
    low = min(float(first.min()), float(second.min()))
    high = max(float(first.max()), float(second.max()))
    if low == high:
        return 0.0
    cumulative = [
        np.cumsum(np.histogram(maps, num_bins, (low, high))[0]) / maps.size
        for maps in (first, second)
    ]
    return float(np.abs(cumulative[0] - cumulative[1]).max())


def fraction_at_limit(maps: np.ndarray, low: float, high: float) -> float:
    """Returns the share of pixels that a tanh could not have made, or only just.

    Args:
        maps: any shape.
        low: the stored value of the network's -1.
        high: that of 1. Within a thousandth of the range of either counts as at the limit.
    """
    margin = 1e-3 * (high - low)
    return float(np.mean((maps <= low + margin) | (maps >= high - margin)))


def nearest_distances(
    queries: np.ndarray, references: np.ndarray, *, is_same: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each query's nearest reference and its distance, root mean square a pixel.

    Args:
        queries: (N, ...).
        references: (M, ...).
        is_same: the queries are the references; each one's own self is left out.

    Shapes:
        index: (N,), into the references; distance: (N,), in the pixels' unit.
    """
    a = queries.reshape(len(queries), -1).astype(np.float64)
    b = references.reshape(len(references), -1).astype(np.float64)
    squares = (b**2).sum(axis=1)
    index, distance = np.empty(len(a), np.int64), np.empty(len(a))
    for start in range(0, len(a), 256):
        chunk = a[start : start + 256]
        gaps = squares[None, :] - 2 * chunk @ b.T
        if is_same:
            gaps[np.arange(len(chunk)), start + np.arange(len(chunk))] = np.inf
        nearest = gaps.argmin(axis=1)
        index[start : start + 256] = nearest
        # from the difference itself: the squares above lose digits to each other
        distance[start : start + 256] = np.sqrt(((chunk - b[nearest]) ** 2).mean(axis=1))
    return index, distance


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Returns |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2) of two sets of features.

    The squared 2-Wasserstein distance of the Gaussians with the sets' means and covariances.
    It falls with the number of examples, so that only equal numbers compare.

    Args:
        first: (N, F).
        second: (M, F).

    Raises:
        DlsuiteError: fewer than two examples.

    Source: Heusel et al. 2017, arXiv:1706.08500, equation 6.
    """
    if min(len(first), len(second)) < 2:
        raise DlsuiteError(
            "A Frechet distance needs two examples or more of each set. Received: "
            f"{len(first)} and {len(second)}. Generate more."
        )
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    shift = first.mean(axis=0) - second.mean(axis=0)
    root, other = _root(np.cov(first, rowvar=False)), np.cov(second, rowvar=False)
    # of the same trace as the root of S1 S2, and symmetric
    eigenvalues = np.linalg.eigvalsh(root @ np.atleast_2d(other) @ root)
    cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    return float(shift @ shift + np.trace(root @ root) + np.trace(np.atleast_2d(other)) - 2 * cross)


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.atleast_2d(covariance))
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def precision_recall(
    real: np.ndarray, fake: np.ndarray, *, neighbours: int = 3
) -> tuple[float, float]:
    """Returns the share of fakes among the real ones' neighbourhoods, and the reverse.

    A point lies in a set's neighbourhood if it is no further from one of the set's points than
    that point's k-th nearest neighbour within the set.

    Args:
        real: features, (N, F).
        fake: features, (M, F).
        neighbours: k.

    Source: Kynkaanniemi et al. 2019, arXiv:1904.06991, equations 1 and 2.
    """
    return _covered(fake, real, neighbours), _covered(real, fake, neighbours)


def _covered(points: np.ndarray, references: np.ndarray, neighbours: int) -> float:
    from scipy.spatial.distance import cdist

    among = np.sort(cdist(references, references), axis=1)
    # column 0 is each reference's distance to itself
    radius = among[:, min(neighbours, len(references) - 1)]
    return float((cdist(points, references) <= radius[None, :]).any(axis=1).mean())


def sliced_wasserstein(
    first: np.ndarray, second: np.ndarray, *, directions: int = 256, seed: int = 0
) -> float:
    """Returns the mean 1-Wasserstein distance of two sets along random directions.

    Args:
        first: (N, F); images are flattened.
        second: (M, F); of N and M the larger set is read at the smaller one's quantiles.
        directions: unit vectors, drawn with the seed.
        seed: of the directions.

    Source: Rabin et al. 2011, SSVM, 435; Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3.
    """
    first, second = (x.reshape(len(x), -1).astype(np.float64) for x in (first, second))
    random = np.random.RandomState(seed)
    unit = random.standard_normal((first.shape[1], directions))
    unit /= np.linalg.norm(unit, axis=0)
    along = [np.sort(x @ unit, axis=0) for x in (first, second)]
    if len(first) != len(second):
        count = min(len(first), len(second))
        share = (np.arange(count) + 0.5) / count
        along = [np.quantile(x, share, axis=0) for x in along]
    return float(np.abs(along[0] - along[1]).mean())
