"""Whether the dataset's normalisation goes before a user's network, and that the user hears it."""

import numpy as np
import pytest

from dlsuite.errors import DlsuiteError

SHAPE = (8, 8, 3)
# far from 0 and 1, so that normalising twice, or not at all, shows
MEAN, STD = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]


def classifier(first):
    """A network of three classes behind what a function makes of the image."""
    import keras

    keras.utils.set_random_seed(5)
    image = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, activation="relu")(first(image))
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


def rescaling(x):
    import keras

    return keras.layers.Rescaling(1 / 255)(x)


def nested_rescaling(x):
    import keras

    return keras.Sequential([keras.layers.Rescaling(1 / 127.5, offset=-1.0)])(x)


def nested_twice(x):
    import keras

    inner, middle = keras.Input((10, 10, 3)), keras.Input(SHAPE)
    rescaled = keras.Model(inner, keras.layers.Rescaling(1 / 255)(inner))
    return keras.Model(middle, rescaled(keras.layers.ZeroPadding2D(1)(middle)))(x)


def scalar_arithmetic(x):
    return x / 127.5 - 1


def arithmetic_a_channel(x):
    return (x - np.array(MEAN, "float32")) * np.array([0.02, 0.02, 0.01], "float32")


def constant_normalization(x):
    import keras

    return keras.layers.Normalization(mean=MEAN, variance=np.square(STD))(x)


def adapted_normalization(x):
    import keras

    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(2).normal(MEAN, STD, (64, *SHAPE)))
    return layer(x)


def nested_adapted_normalization(x):
    import keras

    inner = keras.Input(SHAPE)
    return keras.Model(inner, adapted_normalization(inner))(x)


NORMALIZING = (
    rescaling,
    nested_rescaling,
    nested_twice,
    scalar_arithmetic,
    arithmetic_a_channel,
    constant_normalization,
    adapted_normalization,
    nested_adapted_normalization,
)


@pytest.mark.parametrize("first", NORMALIZING, ids=lambda first: first.__name__)
def test_a_network_that_normalises_gets_images_as_stored(first, from_file, pixels, tmp_path):
    import keras

    model = classifier(first)
    network = from_file(model, mean=MEAN, std=STD, keep_head=True)
    (said,) = network.notes
    assert "normalises images by itself, and data.normalize is not applied" in said
    assert "model.normalizes=false" in said
    network.model.save(tmp_path / "again.keras")
    images = pixels(2, *SHAPE)
    for found in (network.model(images), keras.saving.load_model(tmp_path / "again.keras")(images)):
        # a convolution and 144 products of values up to 5 in float32
        np.testing.assert_allclose(found, model(images), rtol=1e-5, atol=1e-4)


def test_a_network_that_does_not_gets_the_datasets_normalisation(from_file, pixels):
    import keras

    def arithmetic_of_two_tensors(x):
        return keras.layers.Add()([x, x * x])

    images = pixels(2, *SHAPE)
    for first in (lambda x: x, arithmetic_of_two_tensors):
        model = classifier(first)
        network = from_file(model, mean=MEAN, std=STD, keep_head=True)
        expected = model((images - np.array(MEAN)) / np.array(STD))
        np.testing.assert_allclose(network.model(images), expected, rtol=1e-5, atol=1e-4)
        assert "No normalisation was found" in network.notes[0]
        assert "model.normalizes=true" in network.notes[0]
        assert not from_file(model).notes  # there is none to apply


def test_what_the_user_says_wins(from_file, pixels):
    images = pixels(2, *SHAPE)
    by_hand = (images - np.array(MEAN)) / np.array(STD)
    for first in (rescaling, lambda x: x):
        model = classifier(first)
        for normalizes, expected in ((True, model(images)), (False, model(by_hand))):
            network = from_file(model, mean=MEAN, std=STD, keep_head=True, normalizes=normalizes)
            # as above, with images up to 255 where nothing normalises
            np.testing.assert_allclose(network.model(images), expected, rtol=1e-5, atol=1e-3)
            assert not network.notes
    with pytest.raises(DlsuiteError, match=r"model.normalizes is true, false or 'auto'.*'yes'"):
        from_file(model, normalizes="yes")
