"""Models of every kind that can be looked into."""

import numpy as np
import pytest


def functional():
    import keras

    image = keras.Input((12, 12, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.ReLU(max_value=6.0, name="relu6")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(image, keras.layers.Dense(5, activation="softmax", name="head")(x))


def nested():
    import keras

    inner = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.Conv2D(6, 3, activation="relu", name="conv2"),
        ],
        name="inner",
    )
    image = keras.Input((12, 12, 3))
    x = keras.layers.Flatten()(inner(image) * 0.5)
    return keras.Model(image, keras.layers.Dense(5, name="head")(x))


def sequential_without_input():
    import keras

    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(5, name="head"),
        ]
    )


def subclassed():
    import keras

    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, name="conv")
            self.relu = keras.layers.ReLU(name="relu")
            self.rest = [
                keras.layers.Conv2D(4, 1, name="again"),
                keras.layers.Dense(5, name="head"),
            ]

        def call(self, x, training=False):
            x = self.relu(self.conv(x))
            x = self.relu(self.rest[0](x))  # one layer, used twice
            return self.rest[1](keras.ops.mean(x, axis=(1, 2)))

    return Mine()


def generator():
    import keras

    return keras.Sequential(
        [
            keras.Input((7,)),
            keras.layers.Dense(4 * 4 * 8, activation="relu", name="project"),
            keras.layers.Reshape((4, 4, 8)),
            keras.layers.Conv2DTranspose(4, 4, strides=2, padding="same", name="up"),
            keras.layers.LeakyReLU(name="leaky"),
            keras.layers.Conv2DTranspose(
                3, 4, strides=2, padding="same", activation="tanh", name="image"
            ),
        ]
    )


KINDS = {
    "functional": functional,
    "nested": nested,
    "sequential_without_input": sequential_without_input,
    "subclassed": subclassed,
    "generator": generator,
}


@pytest.fixture(params=KINDS)
def subject(request, keras_ready):
    """Each kind of model, with weights of a seed, as a subject."""
    import keras

    from dlsuite.analysis.neurons.subject import from_model

    keras.utils.set_random_seed(1)
    model = KINDS[request.param]()
    shape = (7,) if request.param == "generator" else (12, 12, 3)
    model(np.zeros((1, *shape), np.float32))  # builds what has no Input
    return from_model(model, input_shape=shape)


@pytest.fixture
def batch(subject):
    """Three random inputs of the subject."""
    rng = np.random.default_rng(2)
    scale = 255 if subject.takes_images else 1
    return (scale * rng.random((3, *subject.input_shape))).astype(np.float32)
