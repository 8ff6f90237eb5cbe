"""Spectra against waves, white noise and sums written out."""

import itertools

import numpy as np
import pytest

from dlsuite.analysis.spectra import equilateral_bispectra, power_spectra, two_point
from dlsuite.errors import DlsuiteError


def noise(count, height, seed=0):
    return np.random.default_rng(seed).standard_normal((count, height, height))


def test_a_wave_has_its_power_in_one_bin():
    height, side, amplitude = 32, 5.0, 3.0
    x = np.arange(height) / height
    wave = amplitude * np.cos(2 * np.pi * 4 * x)[None, None, :] * np.ones((1, height, 1))
    spectra = power_spectra(wave, side=side)
    np.testing.assert_allclose(spectra.wave_number[3], 4 * 2 * np.pi / side)
    # variance A^2 / 2 = sum over modes P / L^2
    in_bin = spectra.power[0, 3] * spectra.num_modes[3] / side**2
    np.testing.assert_allclose(in_bin, amplitude**2 / 2, rtol=1e-6)  # float32 transform
    assert np.delete(spectra.power[0], 3).max() < 1e-9 * spectra.power[0, 3]


def test_white_noise_is_flat_with_independent_bins():
    maps = 2.0 * noise(400, 32)
    spectra = power_spectra(maps, side=4.0)
    expected = 4.0 * (4.0 / 32) ** 2
    error = expected * np.sqrt(2 / (spectra.num_modes * 400))
    assert (np.abs(spectra.mean - expected) < 4.5 * error).all()
    # a bin of n modes, pairs being one: variance 2 P^2 / n
    variance = 2 * expected**2 / spectra.num_modes
    np.testing.assert_allclose(np.diag(spectra.covariance), variance, rtol=0.4)
    off_diagonal = spectra.correlation - np.eye(16)
    assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(400)


def test_power_against_a_sum_over_modes():
    (image,) = noise(1, 10, seed=3)
    modes = np.abs(np.fft.fft2(image)) ** 2
    rows = np.fft.fftfreq(10) * 10
    ring = np.rint(np.hypot(rows[:, None], rows[None, :]))
    spectra = power_spectra(image[None])
    for k in range(1, 6):
        expected = modes[ring == k].mean() * (2 * np.pi) ** 2 / 10**4
        np.testing.assert_allclose(spectra.power[0, k - 1], expected, rtol=1e-5)  # float32
        assert spectra.num_modes[k - 1] == (ring == k).sum()


def test_two_point_correlation_against_all_pairs():
    height, num_bins = 8, 4
    maps = noise(2, height, seed=1) + 0.5
    separation, correlation = two_point(maps, side=16.0, num_bins=num_bins)
    places = list(itertools.product(range(height), repeat=2))
    for number, image in enumerate(maps):
        products, distances = [[] for _ in range(num_bins)], [[] for _ in range(num_bins)]
        for (i, j), (k, m) in itertools.product(places, repeat=2):
            distance = np.hypot(i - k, j - m) / height
            if (which := int(distance * 2 * num_bins)) < num_bins:
                products[which].append(image[i, j] * image[k, m])
                distances[which].append(distance * 16)
        np.testing.assert_allclose(correlation[number], [np.mean(p) for p in products], rtol=1e-9)
        np.testing.assert_allclose(separation, [np.mean(d) for d in distances], rtol=1e-9)


def test_the_bispectrum_against_a_sum_over_triangles():
    height, side, num_bins = 12, 3.0, 2
    (image,) = noise(1, height, seed=2) ** 2
    modes = np.fft.fft2(image)
    rows = np.fft.fftfreq(height) * height
    radius = np.hypot(rows[:, None], rows[None, :])
    edges = np.linspace(0.5, height / 3, num_bins + 1)
    wave_number, result = equilateral_bispectra(image[None], side=side, num_bins=num_bins)
    for number in range(num_bins):
        inside = np.argwhere((radius >= edges[number]) & (radius < edges[number + 1]))
        chosen = {tuple(index) for index in inside}
        products = []
        for (a, b), (c, d) in itertools.product(chosen, repeat=2):
            third = ((-a - c) % height, (-b - d) % height)
            if third in chosen:
                products.append((modes[a, b] * modes[c, d] * modes[third]).real)
        # the transform in the unit of the side, over the area: m^3 (L/H)^6 / L^2
        expected = np.mean(products) * (side / height) ** 6 / side**2
        np.testing.assert_allclose(result[0, number], expected, rtol=1e-8)
        # of all modes of the ring, those that rfft2 leaves out as well
        mean = np.mean([radius[index] for index in chosen]) * 2 * np.pi / side
        np.testing.assert_allclose(wave_number[number], mean, rtol=1e-12)


def test_a_gaussian_field_has_no_bispectrum_and_a_sign_turns_it():
    maps = noise(300, 24, seed=5)
    skewed = maps**2 - 1
    _, gaussian = equilateral_bispectra(maps, num_bins=3)
    _, positive = equilateral_bispectra(skewed, num_bins=3)
    _, negative = equilateral_bispectra(-skewed, num_bins=3)
    error = gaussian.std(axis=0) / np.sqrt(300)
    assert (np.abs(gaussian.mean(axis=0)) < 4.5 * error).all()
    assert (positive.mean(axis=0) > 4.5 * positive.std(axis=0) / np.sqrt(300)).all()
    np.testing.assert_allclose(negative, -positive, rtol=1e-9)


def test_maps_that_are_not_square_are_refused():
    with pytest.raises(DlsuiteError, match=r"square maps.*\(3, 8, 9\)"):
        power_spectra(np.zeros((3, 8, 9)))
    with pytest.raises(DlsuiteError, match=r"wide enough.*num_bins=8 for maps of 24"):
        equilateral_bispectra(np.zeros((1, 24, 24)))
