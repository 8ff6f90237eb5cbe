"""The race's statistics against arithmetic by hand, brute force and SciPy."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from dlsuite.studies import statistics


def test_the_rank_test_is_scipys_exact_one_where_there_are_no_ties():
    rng = np.random.default_rng(0)
    for sizes in ((3, 3), (4, 6), (7, 5)):
        one, other = (rng.normal(size=size) for size in sizes)
        expected = stats.mannwhitneyu(one, other, method="exact").pvalue
        assert statistics.rank_test(one, other) == pytest.approx(expected, abs=1e-12)


def test_the_rank_test_counts_infinity_as_last_and_ties_as_equal():
    # fully separated samples of 3: 2 of the 20 regroupings are as extreme
    assert statistics.rank_test([1, 2, 3], [math.inf] * 3) == pytest.approx(2 / 20)
    assert statistics.rank_test([math.inf] * 3, [math.inf] * 3) == 1


def test_a_large_sample_is_tested_by_drawing_and_agrees_with_the_normal_law():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=15), rng.normal(loc=0.7, size=15)
    drawn = statistics.rank_test(one, other)
    exact = stats.mannwhitneyu(one, other, method="exact").pvalue
    # 199,999 draws leave a standard error below 0.0012
    assert drawn == pytest.approx(exact, abs=0.005)


def test_holm_by_hand():
    # 4 studies each: a apart from b and c, which interleave
    units = np.array([[1, 2, 3, 4], [11, 13, 15, 17], [12, 14, 16, 18]], float)
    corrected = statistics.pairwise(["a", "b", "c"], units)
    assert corrected["a", "b"] == pytest.approx(3 * 2 / 70)
    assert corrected["a", "c"] == pytest.approx(3 * 2 / 70)  # 2 * 2/70, held up by the first
    assert corrected["b", "c"] == pytest.approx(
        stats.mannwhitneyu(units[1], units[2], method="exact").pvalue
    )


def test_what_a_number_of_studies_can_show():
    assert statistics.smallest_p(3, 2) == pytest.approx(0.1)  # 2 of 20 regroupings
    assert statistics.smallest_p(4, 2) == pytest.approx(2 / 70)
    assert statistics.smallest_p(3, 8) == 1  # 28 pairs
    assert statistics.studies_needed(2) == 4
    assert statistics.studies_needed(8) == 7  # 28 * 2 / 3432 = 0.016; with 6, 28 * 2 / 924


def test_the_expected_best_is_the_mean_over_all_subsets():
    values = [0.3, 0.9, 0.1, 0.5]
    for k, found in enumerate(statistics.expected_best(values), start=1):
        subsets = [max(subset) for subset in itertools.combinations(values, k)]
        assert found == pytest.approx(np.mean(subsets))


def test_the_profile_by_hand():
    steps = np.array([[10, 40, np.inf], [20, 10, np.inf]])
    found = statistics.performance_profile(steps, np.array([1.0, 2.0, 4.0]))
    # of three runs each is fastest in one, and in the third nobody arrives
    expected = [[1 / 3, 1 / 3, 2 / 3], [1 / 3, 2 / 3, 2 / 3]]
    np.testing.assert_allclose(found, expected)


def test_the_test_of_ties_finds_a_constant_order_and_no_order():
    ordered = np.arange(12.0).reshape(4, 3)
    rng = np.random.default_rng(0)
    # the same order in 3 blocks has probability 1/24^2 in Friedman's test
    assert statistics.ties_test(ordered, rng=rng) < 0.005
    shuffled = np.array([[1, 2, 3], [2, 3, 1], [3, 1, 2]], float)
    assert statistics.ties_test(shuffled, rng=rng) == 1


def test_the_bootstrap_resamples_whole_studies():
    # runs of a study are equal: all spread is between the two studies
    steps = np.array([[10.0, 20, 10, 20], [30, 30, 30, 30]])
    medians, ranks = statistics.bootstrap(
        steps, statistics.ranks(steps), np.array([0, 1, 0, 1]), rng=np.random.default_rng(0)
    )
    assert set(medians[:, 0]) == {10, 15, 20}
    assert statistics.interval(medians[:, 1]) == (30, 30)
    assert (ranks == [1, 2]).all()


def test_an_interval_may_end_at_infinity():
    low, high = statistics.interval(np.array([1.0] * 50 + [np.inf] * 50))
    assert (low, high) == (1, np.inf)
