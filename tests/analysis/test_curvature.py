"""Curvature against the exact Hessian of a small network, by finite differences of NumPy's own."""

import keras
import numpy as np
import pytest

from dlsuite.analysis.curvature import Curvature, LossAt, lanczos, measure_curvature
from dlsuite.analysis.landscape import draw_samples
from tests.analysis.test_landscape import dataset


@pytest.fixture(scope="module")
def loss():
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 1))
    x = keras.layers.AveragePooling2D(3)(image)
    x = keras.layers.Dense(4, activation="tanh")(keras.layers.Flatten()(x))
    model = keras.Model(image, keras.layers.Dense(3)(x))
    return LossAt(model, draw_samples(dataset(), 256)["train"])


@pytest.fixture(scope="module")
def hessian(loss):
    """Column by column: central differences of the gradient."""
    step = 1e-2
    columns = [
        (loss.gradient(step * unit)[1] - loss.gradient(-step * unit)[1]) / (2 * step)
        for unit in np.eye(loss.size)
    ]
    return np.array(columns)


def test_products_are_those_of_the_exact_hessian(loss, hessian):
    assert loss.size == (4 * 4 + 4) + (4 * 3 + 3)
    products = np.array([loss.product(unit) for unit in np.eye(loss.size)])
    # differences over 0.01 of a float32 gradient: 1e-7 / 1e-2, and the third derivative's 1e-4
    np.testing.assert_allclose(products, hessian, atol=3e-4)
    np.testing.assert_allclose(products, products.T, atol=1e-6)


def test_eigenvalues_trace_and_density_are_those_of_the_exact_hessian(loss):
    exact = np.array([loss.product(unit) for unit in np.eye(loss.size)])
    values = np.linalg.eigvalsh((exact + exact.T) / 2)[::-1]
    *counts, found = measure_curvature(loss, top=5, steps=loss.size, probes=30, seed=0)
    # the softmax doesn't see a shift of all logits: null directions end the process early
    assert 30 * 6 < counts[-1] <= 30 * (1 + loss.size)
    assert isinstance(found, Curvature)
    np.testing.assert_allclose(found.eigenvalues, values[:5], rtol=1e-4)
    assert found.smallest == pytest.approx(values[-1], abs=1e-5)
    assert abs(found.trace - np.trace(exact)) < 4 * found.trace_error
    assert np.trapezoid(found.density, found.places) == pytest.approx(1, abs=1e-3)
    mean = np.trapezoid(found.density * found.places, found.places)
    # the density's mean is the trace over the size; random first vectors scatter around it
    assert mean == pytest.approx(np.trace(exact) / loss.size, rel=0.25)


def test_sharpness_is_the_rise_along_the_gradient(loss):
    *_, found = measure_curvature(loss, steps=5, probes=2)
    start, gradient = loss.gradient(np.zeros(loss.size))
    shifted, _ = loss.gradient(0.05 * gradient / np.linalg.norm(gradient))
    assert found.sharpness == pytest.approx(shifted - start)
    # to second order: the slope times the distance, and half the curvature along it
    direction = gradient / np.linalg.norm(gradient)
    expected = 0.05 * found.gradient_norm + 0.05**2 / 2 * direction @ loss.product(direction)
    assert found.sharpness == pytest.approx(expected, rel=0.02)


def test_lanczos_finds_separate_and_repeated_eigenvalues_of_a_matrix():
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    values = np.array([9.0, 9.0, 4.0, *np.zeros(25), -1.0, -2.0])
    matrix = rotation * values @ rotation.T
    found, weights = lanczos(lambda v: matrix @ v, 30, steps=30, rng=rng)
    # a Lanczos process sees each distinct eigenvalue once, and then its space is complete
    np.testing.assert_allclose(found, [-2, -1, 0, 4, 9], atol=1e-6)
    assert weights.sum() == pytest.approx(1)
