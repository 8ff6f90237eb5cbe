"""Inversion, embedding and equivariance against what is known of simple networks."""

import keras
import numpy as np
import pytest

from dlsuite.analysis.neurons.activations import activations
from dlsuite.analysis.neurons.anatomy import Anatomy
from dlsuite.analysis.neurons.embedding import embed
from dlsuite.analysis.neurons.equivariance import connections, equivariance
from dlsuite.analysis.neurons.inversion import invert
from dlsuite.analysis.neurons.subject import from_model
from dlsuite.data.source import in_memory
from dlsuite.errors import DlsuiteError


@pytest.fixture(scope="module")
def network(keras_ready):
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((40, 40, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="stride1"),
            keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stride2"),
            keras.layers.MaxPooling2D(2, name="pool"),
            keras.layers.Conv2D(6, 3, padding="same", name="behind"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, name="head"),
        ]
    )
    return Anatomy(from_model(model))


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (4, 40, 40, 1), dtype=np.uint8)


def test_convolutions_of_stride_one_commute_with_shifts_away_from_borders(network, images):
    found = {one.layer: one for one in equivariance(network, network.neuron_layers, images)}
    assert list(found) == ["stride1", "stride2", "behind"]
    # the same sums over the same numbers: rounding at most
    assert np.nanmax(found["stride1"].inside) < 1e-6
    assert found["stride1"].everywhere.max() > 1e-3  # the border has other neighbours
    stride2 = found["stride2"]
    assert (stride2.jump, stride2.shifts.tolist()) == (2, [1, 2, 4])
    assert stride2.inside[0] > 0.1  # half a place
    assert stride2.inside[1] < 1e-6 and stride2.inside[2] < 1e-6
    behind = found["behind"]
    assert behind.jump == 4
    assert behind.inside[0] > 0.05 and behind.inside[1] > 0.05 and behind.inside[2] < 1e-6


def test_a_linear_ramp_is_interpolated_without_error(keras_ready):
    """A strided identity on a ramp: half a place further is the mean of two places."""
    model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(1, 1, strides=2)])
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    ramp = np.broadcast_to(np.arange(16.0)[None, None, :, None], (1, 16, 16, 1))
    anatomy = Anatomy(from_model(model))
    (found,) = equivariance(anatomy, anatomy.neuron_layers, ramp, shifts=(1, 3))
    np.testing.assert_allclose(found.inside, 0, atol=1e-6)


def test_parameters_and_connections_by_arithmetic(network):
    found = {one.layer: one for one in connections(network.neuron_layers)}
    first = found["stride1"]
    assert first.parameters == 3 * 3 * 1 * 4
    assert first.connections == 40 * 40 * 3 * 3 * 1 * 4
    assert first.dense == (40 * 40 * 1) * (40 * 40 * 4)
    assert found["stride2"].connections == 20 * 20 * 3 * 3 * 4 * 4
    assert "head" not in found


def test_equivariance_needs_maps(network, images):
    with pytest.raises(DlsuiteError, match=r"height and width. Received: none such"):
        equivariance(network, [network.find("head")], images)


def test_an_image_comes_back_from_an_invertible_layer(keras_ready):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(64, kernel_initializer="orthogonal", name="turned"),
        ]
    )
    subject = from_model(model)
    layer = Anatomy(subject).find("turned")
    y, x = np.mgrid[:8, :8]
    image = (127 + 90 * np.sin(x / 2) * np.cos(y / 3))[None, ..., None].astype(np.float32)
    code = activations(subject, [layer], image)
    found = invert(subject, layer, code["turned"].maps, parametrised="pixel", steps=256)
    # an orthogonal map keeps distances: the code's error is the picture's
    assert found.errors[0] < 0.05
    assert np.linalg.norm(found.inputs - image) / np.linalg.norm(image) < 0.05


def test_codes_of_another_shape_are_refused(network):
    with pytest.raises(DlsuiteError, match=r"has the shape \(3,\). Received: \(4,\)"):
        invert(network.subject, network.find("head"), np.zeros((1, 4)))


def test_an_embedding_keeps_what_lies_together(keras_ready):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(8, 3, name="conv")])
    subject = from_model(model)
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 255, (3, 6, 6, 1))
    labels = np.arange(45) % 3
    images = (centres[labels] + rng.normal(0, 2, (45, 6, 6, 1))).astype(np.float32)
    split = in_memory("test", images, labels, [""] * 45)
    layer = Anatomy(subject).find("conv")
    found = embed(subject, layer, split, num_neighbours=3, batch_size=20)
    averaged = model(images).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(found.features, averaged, rtol=1e-4, atol=1e-3)
    assert found.agreement(labels) == 1.0
    # nearest neighbours and principal components by NumPy
    gaps = np.linalg.norm(averaged[:, None] - averaged[None], axis=-1)
    np.fill_diagonal(gaps, np.inf)
    np.testing.assert_array_equal(found.neighbours[:, 0], gaps.argmin(axis=1))
    centred = averaged - averaged.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    np.testing.assert_allclose(found.explained, values[:2] / values.sum(), rtol=1e-3)
    # in both planes the nearest point is of the same class
    for plane in (found.pca, found.tsne):
        gaps = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
        np.fill_diagonal(gaps, np.inf)
        assert (labels[gaps.argmin(axis=1)] == labels).all()
    again = embed(subject, layer, split, num_neighbours=3, batch_size=20)
    np.testing.assert_array_equal(found.tsne, again.tsne)


def test_an_embedding_of_too_few_images_is_refused(network, images):
    split = in_memory("test", images, np.zeros(4), [""] * 4)
    with pytest.raises(DlsuiteError, match=r"at least 10 images. Received: 4"):
        embed(network.subject, network.find("head"), split)
    split = in_memory("test", np.repeat(images, 4, axis=0), np.zeros(16), [""] * 16)
    with pytest.raises(DlsuiteError, match=r"Received: 1\. .* raise --limit"):
        embed(network.subject, network.find("head"), split, limit=1)
