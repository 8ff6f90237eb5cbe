"""Comparisons of sets against closed forms and other implementations."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ks_2samp, norm

from dlsuite.analysis import comparison
from dlsuite.errors import DlsuiteError

RANDOM = np.random.default_rng(0)


def test_ks_of_pixels_is_scipys_up_to_its_bins():
    a, b = RANDOM.standard_normal((30, 8, 8)), 0.3 + RANDOM.standard_normal((40, 8, 8))
    exact = ks_2samp(a.ravel(), b.ravel()).statistic
    found = comparison.pixel_ks(a, b)
    fullest = max(np.histogram(x, 4096, (min(a.min(), b.min()), max(a.max(), b.max())))[0].max()
                  / x.size for x in (a, b))  # fmt: skip
    assert exact - fullest <= found <= exact
    # two Gaussians half a shift apart: 2 Phi(shift / 2) - 1
    assert abs(found - (2 * norm.cdf(0.15) - 1)) < 0.04
    assert comparison.pixel_ks(np.ones((2, 2)), np.ones((3, 2))) == 0


def test_ks_a_bin():
    a, b = RANDOM.standard_normal((50, 3)), RANDOM.standard_normal((60, 3)) + np.array([0, 0, 5])
    agreement = comparison.ks_per_bin(a, b)
    assert agreement.statistic[2] > 0.95 and agreement.p_value[2] < 1e-10
    single = ks_2samp(a[:, 1], b[:, 1], method="asymp")
    assert agreement.statistic[1] == single.statistic and agreement.p_value[1] == single.pvalue


def test_histograms_are_numpys_a_map():
    maps = RANDOM.standard_normal((4, 9, 9))
    edges = np.linspace(-2, 2, 8)
    expected = [np.histogram(m, edges)[0] for m in maps]
    np.testing.assert_array_equal(comparison.pixel_histograms(maps, edges), expected)


def test_the_fraction_at_the_limit():
    values = np.array([-1.0, -0.999, 0.0, 0.5, 0.9985, 1.0])
    assert comparison.fraction_at_limit(values, -1, 1) == 4 / 6


def test_nearest_neighbours():
    references = RANDOM.standard_normal((300, 5, 5))
    index, distance = comparison.nearest_distances(references[::-1] + 0.01, references)
    np.testing.assert_array_equal(index, np.arange(300)[::-1])
    np.testing.assert_allclose(distance, 0.01, rtol=1e-9)
    index, distance = comparison.nearest_distances(references, references, is_same=True)
    assert (index != np.arange(300)).all() and (distance > 0.1).all()


def test_frechet_distance_of_gaussians():
    # of the sample moments themselves, by SciPy's root of the product
    a = RANDOM.standard_normal((500, 6)) @ RANDOM.standard_normal((6, 6))
    b = RANDOM.standard_normal((400, 6)) + 1
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = a.mean(axis=0) - b.mean(axis=0)
    expected = shift @ shift + np.trace(first + second - 2 * sqrtm(first @ second).real)
    np.testing.assert_allclose(comparison.frechet_distance(a, b), expected, rtol=1e-8)
    assert comparison.frechet_distance(a, a) < 1e-9
    # one dimension: (m1 - m2)^2 + (s1 - s2)^2
    one, two = a[:, :1], 3 * a[:, :1] + 2
    by_hand = (two.mean() - one.mean()) ** 2 + (2 * one.std(ddof=1)) ** 2
    np.testing.assert_allclose(comparison.frechet_distance(one, two), by_hand, rtol=1e-9)
    with pytest.raises(DlsuiteError, match=r"two examples or more.*1 and 500"):
        comparison.frechet_distance(a[:1], a)


def test_features_without_spread_have_a_finite_frechet_distance():
    constant = np.ones((10, 3))
    assert comparison.frechet_distance(constant, constant + 2) == pytest.approx(12)


def test_precision_and_recall():
    real = RANDOM.standard_normal((300, 2))
    half = real[real[:, 0] > 0]
    precision, recall = comparison.precision_recall(real, half)
    assert precision == 1.0
    assert 0.45 < recall < 0.75  # what lies left of the line is not covered, but for its edge
    assert comparison.precision_recall(real, real + 100) == (0.0, 0.0)
    assert comparison.precision_recall(real, real) == (1.0, 1.0)


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_precision_and_recall_are_those_of_a_loop_over_points(neighbours):
    random = np.random.default_rng(4)
    real, fake = random.standard_normal((60, 4)), 0.7 + 0.8 * random.standard_normal((50, 4))

    def share_inside(points, references):
        inside = 0
        for point in points:
            for number, reference in enumerate(references):
                others = np.delete(references, number, axis=0)
                radius = sorted(np.linalg.norm(others - reference, axis=1))[neighbours - 1]
                if np.linalg.norm(point - reference) <= radius:
                    inside += 1
                    break
        return inside / len(points)

    expected = share_inside(fake, real), share_inside(real, fake)
    assert 0.1 < min(expected) < max(expected) < 1
    found = comparison.precision_recall(real, fake, neighbours=neighbours)
    # whole numbers of points, over their number
    assert found == pytest.approx(expected, abs=1e-12)


def test_sliced_wasserstein_of_a_shift():
    """A shift by d moves every projection by d cos; in F dimensions E|cos| of a unit vector."""
    points = RANDOM.standard_normal((500, 3))
    found = comparison.sliced_wasserstein(points, points + np.array([2.0, 0, 0]), directions=4000)
    # in three dimensions |cos| is uniform on 0 to 1: mean 1/2, deviation sqrt(1/12)
    assert abs(found - 1.0) < 4 * 2 * np.sqrt(1 / 12 / 4000)
    assert comparison.sliced_wasserstein(points, points) == 0
    other = comparison.sliced_wasserstein(points, points[:250])
    assert 0 < other < 0.2
