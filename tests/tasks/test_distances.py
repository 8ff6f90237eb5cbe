"""What chooses a GAN's epoch, against SciPy, NumPy and the spectra of the evaluation."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import ks_2samp, wasserstein_distance

from dlsuite.analysis.spectra import power_spectra
from dlsuite.tasks.distances import Distances
from dlsuite.tasks.spectra import PowerSpectrum, spectral_loss

BIN = 2 / 512
SHAPE = (12, 12, 2)


def images(count, *, seed, mean=0.0, deviation=0.4, shape=SHAPE):
    """Noise on a pattern; some of the pixels lie beyond -1 and 1."""
    random = np.random.default_rng(seed)
    pattern = np.random.default_rng(99).normal(0, 0.2, shape)
    return (pattern + random.normal(mean, deviation, (count, *shape))).astype(np.float32)


def measured(distances, real, fake, *, size=9):
    """In batches, the last filled up with images that do not count."""
    for start in range(0, len(real), size):
        parts = [x[start : start + size] for x in (real, fake)]
        missing = size - len(parts[0])
        filled = [
            np.concatenate([part, np.full((missing, *part.shape[1:]), value, np.float32)])
            for part, value in zip(parts, (0.9, -0.9), strict=True)
        ]
        weight = np.repeat([1.0, 0.0], [size - missing, missing])
        distances.update_state(*filled, tf.constant(weight, tf.float32))
    return {name: float(value) for name, value in distances.result().items()}


def log_power(maps):
    """(N, S/2), of the channels' mean power; with such a side P(k) is |FFT|^2 / S^2."""
    channels = [power_spectra(maps[..., c], side=maps.shape[1]).power for c in range(maps.shape[3])]
    return np.log(np.mean(channels, axis=0))


def test_distances_are_those_of_the_whole_sets():
    real, fake = images(40, seed=0), images(40, seed=1, mean=0.15, deviation=0.3)
    found = measured(Distances(SHAPE), real, fake)
    # what lies beyond -1 and 1 is in the outermost bins
    pixels = [np.clip(x, -1, 1).ravel() for x in (real, fake)]
    deviation = float(real.std())
    pixel_distance = wasserstein_distance(*pixels) / deviation
    assert found["pixel_distance"] == pytest.approx(pixel_distance, abs=BIN / deviation)
    # the two distributions' steps within a bin are not seen
    fullest = max(np.histogram(x, 512, (-1, 1))[0].max() / x.size for x in pixels)
    exact = ks_2samp(*pixels).statistic
    assert exact - fullest <= found["pixel_ks"] <= exact + 1e-6
    # sums in float32
    assert found["std_ratio"] == pytest.approx(fake.std() / real.std(), rel=1e-4)
    spread = [x.std(axis=0).mean() for x in (real, fake)]
    assert found["diversity"] == pytest.approx(spread[1] / spread[0], rel=1e-4)
    (m, s), (m2, s2) = ((x.mean(axis=0), x.std(axis=0)) for x in map(log_power, (real, fake)))
    spectrum = np.sqrt(np.mean((m - m2) ** 2 + (s - s2) ** 2))
    assert found["spectrum_distance"] == pytest.approx(spectrum, rel=1e-3)
    distance = np.hypot(found["pixel_distance"], found["spectrum_distance"])
    assert found["distance"] == pytest.approx(distance, rel=1e-5)


def test_an_epoch_knows_nothing_of_the_one_before():
    distances, real = Distances(SHAPE), images(20, seed=0)
    first = measured(distances, real, images(20, seed=1, mean=0.3))
    distances.reset_state()
    equal = measured(distances, real, real[::-1])
    assert first["distance"] > 0.3
    # the same sums in another order
    ones = {"std_ratio", "diversity"}
    assert equal == pytest.approx({name: float(name in ones) for name in equal}, abs=1e-4)


def test_one_image_again_and_again_has_no_diversity():
    real = images(30, seed=0)
    found = measured(Distances(SHAPE), real, np.repeat(real[:1], 30, axis=0))
    # the root of float32's rounding of a difference of squares below 1
    assert found["diversity"] == pytest.approx(0, abs=2e-3)
    assert found["std_ratio"] == pytest.approx(real[0].std() / real.std(), rel=1e-4)


@pytest.mark.parametrize("shape", [(12, 12, 1), (12, 12, 3), (9, 9, 1), (9, 9, 2)])
def test_the_spectrum_is_that_of_the_evaluation(shape):
    maps = images(5, seed=2, shape=shape)
    spectrum = PowerSpectrum(shape)
    found = spectrum(tf.constant(maps)).numpy()
    assert spectrum.num_modes == shape[0] // 2 and found.shape == (5, shape[0] // 2)
    # float32 transforms, of power near 0.1
    np.testing.assert_allclose(found, log_power(maps), atol=1e-5)


def test_the_spectral_loss_is_of_the_batches_mean_and_deviation():
    real, fake = np.random.default_rng(3).normal(-2, 0.5, (2, 8, 6)).astype(np.float32)
    fake = 2 * fake
    gaps = [(moment(real, axis=0) - moment(fake, axis=0)) ** 2 for moment in (np.mean, np.std)]
    # 1e-6 below the root keeps its slope finite
    assert float(spectral_loss(real, fake)) == pytest.approx(np.mean(np.sum(gaps, 0)), rel=1e-4)
    assert float(spectral_loss(real, real[::-1])) == pytest.approx(0, abs=1e-10)
