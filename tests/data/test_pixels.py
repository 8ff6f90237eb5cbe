"""Pixels as stored and a network's values, both ways."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from dlsuite.data.pixels import PixelTransform
from dlsuite.recipes.gan import Pixels

# (settings, stored values, what the network has)
EXAMPLES = {
    "range": (Pixels(), [-50.0, 0.0, 50.0, 150.0], [-1.0, -0.5, 0.0, 1.0]),
    "scale": (Pixels(transform="scale", scale=4.0), [-0.25, 0.0, 0.1, 0.25], [-1.0, 0.0, 0.4, 1.0]),
    "logarithm": (
        Pixels(transform="logarithm", scale=0.5, shift=0.06),
        [0.06 * (np.exp(-2) - 1), 0.0, 0.06, 0.06 * (np.exp(2) - 1)],
        [-1.0, 0.0, 0.5 * np.log(2), 1.0],
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_transform_and_its_inverse(name):
    settings, stored, expected = EXAMPLES[name]
    transform = PixelTransform(settings, SimpleNamespace(value_range=(-50, 150)))
    # float32, of values near 1
    np.testing.assert_allclose(transform.forward(stored), expected, atol=1e-6)
    size = np.abs(stored).max()
    np.testing.assert_allclose(transform.inverse(np.float32(expected)), stored, atol=1e-6 * size)
    back = transform.inverse(transform.forward(stored))
    np.testing.assert_allclose(back, stored, atol=1e-6 * size)
    np.testing.assert_allclose(transform.limits, (stored[0], stored[-1]), rtol=1e-6)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_saved_generator_returns_stored_values(name, tmp_path):
    settings, stored, network_values = EXAMPLES[name]
    transform = PixelTransform(settings, SimpleNamespace(value_range=(-50, 150)))
    latent = keras.Input((4,))
    image = keras.layers.Reshape((2, 2, 1))(keras.layers.Activation("linear")(latent))
    keras.Model(latent, transform.inverse(image)).save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras")
    made = loaded(np.float32([network_values])).numpy()
    np.testing.assert_allclose(made.ravel(), stored, atol=1e-6 * np.abs(stored).max())
