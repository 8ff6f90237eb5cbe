"""The race's statistics: exact rank tests between studies, bootstraps, profiles.

The unit of a test is the study. Runs of one study share what its tuning found, so that more of
them tell more about that finding and little about the optimizer.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

LEVEL = 0.05
_RESAMPLES = 2000
_PERMUTATIONS = 9999
# Regroupings of two samples up to this number are all gone through.
_EXACT = 200_000


def ranks(values: np.ndarray) -> np.ndarray:
    """Returns ranks down each column, 1 for the smallest, ties sharing their mean.

    Shapes:
        values: (contenders, runs); infinite ones are last. The result likewise.
    """
    return stats.rankdata(values, axis=0)


def rank_test(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns the two-sided p-value that two samples come from one distribution.

    The Wilcoxon-Mann-Whitney rank sum over all regroupings: exact with ties and infinite values
    too, and free of any assumption on the distribution. Above 200,000 regroupings, 199,999 of
    them drawn with a fixed seed.

    Args:
        one: independent values.
        other: independent values.
    """
    pooled = stats.rankdata(np.concatenate([one, other]))
    size = len(one)
    expected = size * pooled.mean()
    observed = abs(pooled[:size].sum() - expected)
    if math.comb(len(pooled), size) <= _EXACT:
        sums = np.fromiter(
            (sum(group) for group in itertools.combinations(pooled.tolist(), size)), float
        )
        at_least = np.abs(sums - expected) >= observed - 1e-9
        return float(at_least.mean())
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(pooled, (_EXACT - 1, 1)), axis=1)[:, :size].sum(axis=1)
    return float((1 + np.sum(np.abs(drawn - expected) >= observed - 1e-9)) / _EXACT)


def pairwise(labels: Sequence[str], units: np.ndarray) -> dict[tuple[str, str], float]:
    """Returns the p-value of each pair, corrected for all pairs by Holm's step-down method.

    All pairs, not those with the leader alone: which one leads is chosen by the same data.

    Args:
        labels: of the contenders.
        units: one independent value a study, (contenders, studies).

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2):65.
    """
    found = {
        (labels[i], labels[j]): rank_test(units[i], units[j])
        for i, j in itertools.combinations(range(len(labels)), 2)
    }
    corrected, largest = {}, 0.0
    for place, (pair, p) in enumerate(sorted(found.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(found) - place)))
        corrected[pair] = largest
    return corrected


def smallest_p(studies: int, contenders: int) -> float:
    """Returns the smallest corrected p-value that the best of all pairs can have."""
    pairs = max(1, math.comb(contenders, 2))
    return min(1.0, pairs * 2 / math.comb(2 * studies, studies))


def studies_needed(contenders: int) -> int:
    """Returns the fewest studies with which a pair can be told apart at the level."""
    return next(n for n in itertools.count(2) if smallest_p(n, contenders) <= LEVEL)


def ties_test(units: np.ndarray, *, rng: np.random.Generator) -> float:
    """Returns the p-value that all contenders are equal, studies being blocks.

    Friedman's statistic, the spread of the mean ranks, under 9,999 random permutations of the
    contenders within each study.

    Args:
        units: one value a study, (contenders, studies).
        rng: draws the permutations.
    """
    if len(units) < 2:
        return 1.0
    within = ranks(units)
    observed = np.var(within.mean(axis=1))
    drawn = rng.permuted(np.tile(within, (_PERMUTATIONS, 1, 1)), axis=1)
    at_least = drawn.mean(axis=2).var(axis=1) >= observed - 1e-12
    return float((1 + at_least.sum()) / (_PERMUTATIONS + 1))


def bootstrap(
    steps: np.ndarray, ranked: np.ndarray, studies: np.ndarray, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns medians and mean ranks under resampling of the studies and of the runs in them.

    Args:
        steps: (contenders, runs).
        ranked: (contenders, runs).
        studies: which study each run re-runs, (runs,).
        rng: draws the samples.

    Shapes:
        both results: (resamples, contenders).
    """
    members = [np.flatnonzero(studies == study) for study in np.unique(studies)]
    medians, means = [], []
    for _ in range(_RESAMPLES):
        chosen = [members[index] for index in rng.integers(len(members), size=len(members))]
        runs = np.concatenate([rng.choice(own, size=len(own)) for own in chosen])
        medians.append(np.median(steps[:, runs], axis=1))
        means.append(ranked[:, runs].mean(axis=1))
    return np.array(medians), np.array(means)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % percentile interval; its ends may be infinite."""
    ordered = np.sort(resampled)
    low, high = (ordered[round(q * (len(ordered) - 1))] for q in (LEVEL / 2, 1 - LEVEL / 2))
    return float(low), float(high)


def median(values: np.ndarray) -> float:
    """Returns the median of the finite values, NaN where there is none."""
    kept = values[np.isfinite(values)]
    return float(np.median(kept)) if len(kept) else math.nan


def performance_profile(steps: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Returns the share of runs in which each contender is within a ratio of the fastest.

    A run in which nobody reached the target counts for nobody.

    Args:
        steps: to the target, (contenders, runs).
        ratios: from 1 on, (R,).

    Shapes:
        result: (contenders, R).

    Source: Dolan and More 2002, arXiv:cs/0102001, equation 2.1.
    """
    fastest = steps.min(axis=0)
    relative = steps / np.where(np.isfinite(fastest), np.maximum(fastest, 1), 1)
    return (relative[:, :, None] <= ratios).mean(axis=1)


def expected_best(values: Sequence[float]) -> np.ndarray:
    """Returns the expected largest of k values drawn without replacement, k from 1 to all.

    Source: Dodge et al. 2019, arXiv:1909.03004, which draws with replacement; without it the
    estimate has no bias.
    """
    ordered, n = np.sort(np.asarray(values, dtype=float)), len(values)
    weights = np.array(
        [[math.comb(i, k - 1) / math.comb(n, k) for i in range(n)] for k in range(1, n + 1)]
    )
    return weights @ ordered
