"""Functionals against Gaussian fields' closed forms and plain geometry."""

import numpy as np
import pytest

from dlsuite.analysis.minkowski import extrema, gaussian_functionals, minkowski_functionals
from dlsuite.errors import DlsuiteError


def smooth_gaussian(count, height, *, width, seed=0):
    """Gaussian fields of variance 1 with P(k) ~ exp(-(k width)^2), and their <|grad|^2> by hand.

    <|grad u|^2> is the spectrum's mean of k^2, here with k in radians a side.
    """
    rows = np.fft.fftfreq(height) * height * 2 * np.pi
    square = rows[:, None] ** 2 + rows[None, :] ** 2
    power = np.exp(-square * width**2)
    power[0, 0] = 0
    random = np.random.default_rng(seed)
    white = np.fft.fft2(random.standard_normal((count, height, height)))
    fields = np.fft.ifft2(white * np.sqrt(power / power.sum()) * height).real
    return fields, float((power * square).sum() / power.sum())


def test_gaussian_fields_have_the_closed_forms():
    maps, gradient_variance = smooth_gaussian(64, 256, width=0.02)
    levels = np.linspace(-3, 3, 25)
    found = minkowski_functionals(maps, levels)
    expected = gaussian_functionals(levels, gradient_variance=gradient_variance)
    # 64 maps of about 150 patches each, and differences over pixels: percent of the peak, as
    # an independent NumPy check found with as many maps
    for measured, form, tolerance in zip(
        (found.area, found.boundary, found.euler), expected, (0.01, 0.03, 0.06), strict=True
    ):
        error = np.abs(measured.mean(axis=0) - form).max() / np.abs(form).max()
        assert error < tolerance


def test_units_follow_the_side():
    maps, _ = smooth_gaussian(2, 64, width=0.03)
    levels = np.linspace(-2, 2, 9)
    one, ten = (minkowski_functionals(maps, levels, side=side) for side in (1.0, 10.0))
    np.testing.assert_allclose(ten.area, one.area)
    np.testing.assert_allclose(ten.boundary, one.boundary / 10)
    np.testing.assert_allclose(ten.euler, one.euler / 100)


def test_a_disc_has_its_area_its_circumference_and_one_component():
    """A cone above a threshold is a disc: area pi r^2, boundary 2 pi r, Euler number 1."""
    height, radius = 401, 0.3
    x = (np.arange(height) - height // 2) / height
    cone = -np.hypot(x[:, None], x[None, :])[None]
    levels = -np.linspace(0.4, 0.2, 11)
    found = minkowski_functionals(cone, levels)
    middle = 5
    np.testing.assert_allclose(levels[middle], -radius)
    np.testing.assert_allclose(found.area[0, middle], np.pi * radius**2, rtol=5e-3)
    np.testing.assert_allclose(found.boundary[0, middle], 2 * np.pi * radius / 4, rtol=1e-2)
    np.testing.assert_allclose(found.euler[0, middle], 1, rtol=2e-2)


def test_uneven_thresholds_agree_with_even_ones():
    maps, _ = smooth_gaussian(3, 64, width=0.03)
    even = np.linspace(-1, 1, 5)
    # the same bins but for the outermost
    uneven = np.concatenate([even, [2.0]])
    a, b = (minkowski_functionals(maps, levels) for levels in (even, uneven))
    np.testing.assert_allclose(a.boundary[:, :4], b.boundary[:, :4], rtol=1e-5)
    np.testing.assert_allclose(a.area, b.area[:, :5])


def test_extrema_by_hand():
    image = np.zeros((5, 6))
    image[1, 1], image[3, 4], image[2, 3], image[0, 5] = 2.0, 1.0, -3.0, 9.0
    edges = np.array([-4.0, 0.5, 1.5, 2.5])
    peaks, minima = extrema(image[None], edges)
    # the 9 lies on the edge; (3, 4) has (2, 3) for a neighbour and stays a peak
    assert peaks.tolist() == [[0, 1, 1]]
    assert minima.tolist() == [[1, 0, 0]]


def test_white_noise_has_a_ninth_of_its_pixels_as_peaks():
    maps = np.random.default_rng(1).standard_normal((20, 130, 130))
    peaks, minima = extrema(maps, np.array([-9.0, 9.0]))
    inner = 20 * 128**2
    # of nine equal pixels each is the highest as often; neighbouring peaks exclude each other
    for found in (peaks, minima):
        np.testing.assert_allclose(found.sum() / inner, 1 / 9, rtol=0.01)


def test_bad_thresholds_and_maps_are_refused():
    with pytest.raises(DlsuiteError, match=r"ascending numbers.*\[1.0, 0.0\]"):
        minkowski_functionals(np.zeros((1, 8, 8)), [1.0, 0.0])
    with pytest.raises(DlsuiteError, match=r"at least 3 x 3.*\(1, 2, 8\)"):
        minkowski_functionals(np.zeros((1, 2, 8)), [0.0, 1.0])
