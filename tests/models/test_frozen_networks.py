"""What freezing a network that others made keeps still, and what thaws again."""

import numpy as np
import pytest

HEAD = ["logits/kernel", "logits/bias"]


def noisy():
    """A network with every kind of randomness in training that Keras has for images."""
    import keras

    keras.utils.set_random_seed(9)
    image = keras.Input((8, 8, 3))
    x = keras.layers.RandomRotation(0.5)(keras.layers.RandomFlip()(image))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(x))
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.SpatialDropout2D(0.5)(x)
    x = keras.layers.GaussianNoise(1.0)(keras.layers.GaussianDropout(0.5)(x))
    x = keras.layers.AlphaDropout(0.5)(keras.layers.Dropout(0.5)(x))
    x = keras.layers.Reshape((36, 4))(x)
    x = keras.layers.MultiHeadAttention(2, 2, dropout=0.5)(x, x)
    x = keras.layers.GRU(5, dropout=0.5, recurrent_dropout=0.5)(x)
    return keras.Model(image, keras.layers.Dense(4)(x))


@pytest.fixture(scope="module")
def noise_model(keras_ready):
    return noisy()


def test_a_frozen_network_computes_in_training_what_it_does_after(noise_model, from_file, pixels):
    images = pixels(2, 8, 8, 3)
    network = from_file(noise_model, frozen=True)
    base = network.extract(["base"])
    # asked for in words: Keras's random image layers take training for granted
    still = base(images, training=False)["base"]
    np.testing.assert_array_equal(base(images, training=True)["base"], still)
    thawed = from_file(noise_model).extract(["base"])
    # the thawed network has the same weights
    after = thawed(images, training=False)["base"]
    np.testing.assert_allclose(after, still, rtol=1e-5, atol=1e-6)
    assert np.abs(thawed(images, training=True)["base"] - still).max() > 0.01


@pytest.mark.parametrize("name", ["keras:EfficientNetB0", "keras:ConvNeXtTiny"])
@pytest.mark.slow
def test_stochastic_depth_is_still_too(name, keras_ready, pixels):
    from dlsuite.models.build import build_network

    options = {"weights": "random", "frozen": True}
    network = build_network(name, image_shape=(32, 32, 3), num_classes=4, options=options)
    images = pixels(2, 32, 32, 3)
    np.testing.assert_array_equal(network.model(images, training=True), network.model(images))


def test_the_result_of_frozen_training_thaws_whole(noise_model, from_file):
    frozen = from_file(noise_model, frozen=True)
    assert [variable.path for variable in frozen.model.trainable_variables] == HEAD
    thawed = from_file(frozen.model)
    # the layers' order within attention is Keras's own, and the same
    expected = [variable.shape for variable in from_file(noise_model).model.trainable_variables]
    assert [variable.shape for variable in thawed.model.trainable_variables] == expected
    assert len(expected) > len(HEAD)
    assert all(layer.trainable for layer in thawed.model.layers)
