"""Maximised pictures are the planted ones, whatever else is computed beside them."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from dlsuite.analysis.neurons.anatomy import Anatomy
from dlsuite.analysis.neurons.colour import image_statistics, spectrum_slope, usual_statistics
from dlsuite.analysis.neurons.maximisation import maximise
from dlsuite.analysis.neurons.subject import from_model
from dlsuite.data.source import in_memory
from dlsuite.errors import DlsuiteError


def gabors(count, side):
    """Oriented waves under a Gaussian, mean 0, shape (count, side, side, 1)."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    found = []
    for angle in np.pi * np.arange(count) / count:
        wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / side * 1.5)
        found.append(wave * np.exp(-(x**2 + y**2) / (side / 3) ** 2))
    found = np.array(found)[..., None]
    return (found - found.mean(axis=(1, 2, 3), keepdims=True)).astype(np.float32)


def cosine(picture, filters):
    centred = picture - picture.mean()
    return np.sum(centred * filters) / np.linalg.norm(centred) / np.linalg.norm(filters)


@pytest.fixture(scope="module")
def planted(keras_ready):
    """A network whose unit u gives the cosine of the picture, its middle grey 0, to filter u."""
    filters = gabors(6, 15)
    image = keras.Input((15, 15, 1))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = keras.layers.UnitNormalization()(keras.layers.Flatten()(x))
    model = keras.Model(image, keras.layers.Dense(6, use_bias=False, name="planted")(x))
    model.get_layer("planted").set_weights([filters.reshape(6, -1).T])
    subject = from_model(model)
    return subject, Anatomy(subject).find("planted"), filters


@pytest.mark.parametrize("parametrised", ["fourier", "pixel"])
def test_planted_filters_are_recovered(planted, parametrised):
    subject, layer, filters = planted
    made = maximise(
        subject, layer, range(6), parametrised=parametrised, steps=128, moves=None, batch_size=4
    )
    for picture, own in zip(made.inputs, filters, strict=True):
        assert cosine(picture, own) > 0.9
    assert (made.inputs > 0).all() and (made.inputs < 255).all()
    # each is the best of all filters for its own unit
    table = [[cosine(picture, other) for other in filters] for picture in made.inputs]
    assert np.argmax(table, axis=1).tolist() == list(range(6))


def test_planted_filters_are_recovered_from_phases_alone(planted):
    subject, layer, filters = planted
    channel = np.abs(np.fft.rfft2(filters[..., 0])).mean(axis=0)[None]
    magnitude = (channel / channel.mean()).astype(np.float32)
    statistics = replace(usual_statistics(1), magnitude=magnitude)
    made = maximise(
        subject,
        layer,
        range(6),
        parametrised="maco",
        steps=128,
        moves=None,
        statistics=statistics,
    )
    # phases alone can't make the magnitudes of one filter out of the mean of six
    table = [[cosine(picture, other) for other in filters] for picture in made.inputs]
    assert np.argmax(table, axis=1).tolist() == list(range(6))


def test_planted_convolutions_are_recovered_in_the_middle_of_their_map(keras_ready):
    # bars of black and white: what the brightest and darkest pixels of a range can make exactly
    bars = np.sign(gabors(4, 9) + 1e-9)
    model = keras.Sequential(
        [
            keras.Input((9, 9, 1)),
            keras.layers.Conv2D(4, 9, padding="same", activation="relu", name="conv"),
        ]
    )
    model.get_layer("conv").set_weights([np.moveaxis(bars, 0, -1), np.full(4, -1e4)])
    subject = from_model(model)
    # the bias silences every unit on any picture to begin with: the gradient comes from before
    # the activation function
    made = maximise(
        subject,
        Anatomy(subject).find("conv"),
        range(4),
        objective="neuron",
        parametrised="pixel",
        steps=128,
        moves=None,
    )
    for picture, own in zip(made.inputs, bars, strict=True):
        assert cosine(picture, own) > 0.9


def test_robust_pictures_recover_the_filters_too(planted):
    subject, layer, filters = planted
    made = maximise(subject, layer, [2], steps=128)
    assert cosine(made.inputs[0], filters[2]) > 0.7  # moves of 8 degrees and 6 % blur it
    assert made.history.shape == (128, 1)
    assert made.history[-16:].mean() > made.history[:16].mean()


def test_the_same_seed_gives_the_same_picture_in_any_company(planted):
    subject, layer, _ = planted
    alone = maximise(subject, layer, [3], steps=24, seed=5)
    among = maximise(subject, layer, [0, 1, 2, 3, 4], steps=24, seed=5, batch_size=2)
    # another batch size may round differently; 24 steps of it stay far below one grey level
    np.testing.assert_allclose(among.inputs[3], alone.inputs[0], atol=0.05)
    again = maximise(subject, layer, [3], steps=24, seed=5)
    np.testing.assert_array_equal(again.inputs, alone.inputs)
    other = maximise(subject, layer, [3], steps=24, seed=6)
    assert np.abs(other.inputs - alone.inputs).max() > 1


def test_a_direction_is_between_its_units(planted):
    subject, layer, filters = planted
    direction = np.zeros((1, 6), np.float32)
    direction[0, [0, 1]] = 1
    made = maximise(subject, layer, [], directions=direction, steps=128, moves=None)
    assert cosine(made.inputs[0], filters[0] + filters[1]) > 0.9
    assert made.units.tolist() == [-1]


def test_diverse_copies_differ_more(keras_ready):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Conv2D(8, 3, activation="relu", name="second"),
        ]
    )
    subject = from_model(model)
    layer = Anatomy(subject).find("second")

    def spread(diversity):
        made = maximise(
            subject, layer, [1], copies=3, diversity=diversity, steps=64, moves=None, seed=2
        )
        assert made.units.tolist() == [1, 1, 1]
        maps = model(made.inputs).numpy().reshape(3, -1, 8)
        gram = np.einsum("npc,npd->ncd", maps, maps).reshape(3, -1)
        gram /= np.linalg.norm(gram, axis=1, keepdims=True)
        return (np.sum(gram @ gram.T) - 3) / 6  # mean cosine of two different ones

    assert spread(4.0) < spread(0.0)


def test_a_generators_latent_vector_keeps_its_length(keras_ready):
    model = keras.Sequential(
        [keras.Input((9,)), keras.layers.Dense(4, name="first"), keras.layers.Dense(3, name="out")]
    )
    subject = from_model(model)
    layer = Anatomy(subject).find("out")
    made = maximise(subject, layer, [0, 2], steps=64)
    np.testing.assert_allclose(np.linalg.norm(made.inputs, axis=1), 3.0, rtol=1e-5)
    # the best vector of a linear map is its row
    row = (model.layers[0].kernel.numpy() @ model.layers[1].kernel.numpy())[:, 2]
    assert made.inputs[1] @ row / np.linalg.norm(row) / 3 > 0.99


def test_wrong_sizes_objectives_and_parametrisations_are_refused(planted):
    subject, layer, _ = planted
    with pytest.raises(DlsuiteError, match=r"Received: 24 pixels. .* own 15x15"):
        maximise(subject, layer, [0], size=24)
    with pytest.raises(DlsuiteError, match=r"Unknown objective. Received: 'chanel'. Did you mean"):
        maximise(subject, layer, [0], objective="chanel")
    with pytest.raises(DlsuiteError, match=r"Unknown parametrisation. Received: 'pixels'"):
        maximise(subject, layer, [0], parametrised="pixels")


def test_colours_and_spectrum_are_measured_from_the_data():
    rng = np.random.default_rng(0)
    mixing = np.array([[0.3, 0.0, 0.0], [0.2, 0.1, 0.0], [0.1, 0.1, 0.2]])
    frequency = np.maximum(np.hypot(*np.meshgrid(*[np.fft.fftfreq(32)] * 2)), 1 / 32)
    noise = rng.normal(size=(200, 32, 32, 3))
    shaped = np.fft.ifft2(np.fft.fft2(noise, axes=(1, 2)) / frequency[..., None], axes=(1, 2)).real
    images = (0.5 + shaped / shaped.std() @ mixing.T).astype(np.float32)
    split = in_memory("test", images, np.zeros(200), [""] * 200)
    found = image_statistics(split, (0.0, 1.0))
    covariance = found.colour @ found.colour.T
    expected = mixing @ mixing.T
    # 200 images of 1/f noise have few independent large-scale patterns: 10 %
    np.testing.assert_allclose(
        covariance / np.trace(covariance), expected / np.trace(expected), atol=0.1 * 0.5
    )
    np.testing.assert_allclose(found.mean, images.mean(axis=(0, 1, 2)), rtol=1e-4)
    assert found.slope == pytest.approx(-2.0, abs=0.15)  # amplitude 1/f is power 1/f^2
    assert spectrum_slope(rng.normal(size=(50, 32, 32, 1))) == pytest.approx(0.0, abs=0.1)


def test_images_too_small_for_a_slope_have_none():
    images = np.random.default_rng(0).random((8, 4, 4, 1)).astype(np.float32)
    split = in_memory("test", images, np.zeros(8), [""] * 8)
    assert image_statistics(split, (0.0, 1.0)).slope is None
