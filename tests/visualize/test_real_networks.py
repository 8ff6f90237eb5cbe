"""Networks that people have: each is looked into by several methods and left as it was."""

from pathlib import Path

import numpy as np
import pytest

from dlsuite.visualize import METHODS
from dlsuite.visualize.opening import open_study
from dlsuite.visualize.study import Options

SHARED = Path(__file__).parents[3] / "shared" / "data"
MOBILENET = SHARED / "mobilenet_v2_imagenet.keras"
needs_mobilenet = pytest.mark.skipif(
    not MOBILENET.exists(), reason="needs the measuring data outside the repository"
)


def opened(model, tmp_path, images, labels, **options):
    """A study of a model on an archive of images."""
    archive = tmp_path / "images.npz"
    np.savez(archive, x_test=images, y_test=labels)
    return open_study(
        model,
        options=Options(steps=2, units="0,1", limit=8, **options),
        data=f"npz:{archive}",
        output=tmp_path / "out",
    )


def noise(count, side, channels):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def look(study, *methods):
    before = [weight.numpy().copy() for weight in study.subject.model.weights]
    for method in methods:
        made = METHODS.load(method)(study)
        assert all(file.stat().st_size for file in made.files)
    for weight, value in zip(study.subject.model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


@pytest.mark.slow
def test_a_residual_network(tmp_path, keras_ready):
    from dlsuite.models.build import build_network

    network = build_network(
        "resnet20", image_shape=(32, 32, 3), num_classes=10, mean=[120] * 3, std=[60] * 3
    )
    study = opened(network.model, tmp_path, noise(12, 32, 3), np.arange(12) % 10)
    assert len(study.anatomy.neuron_layers) == 20
    look(study, "page", "kernels", "grad-cam", "guided-backprop", "equivariance")


@pytest.mark.slow
def test_vgg16_with_random_weights(tmp_path, keras_ready):
    import keras

    model = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=10)
    study = opened(model, tmp_path, noise(12, 32, 3), np.arange(12) % 10)
    assert len(study.anatomy.neuron_layers) == 16
    look(study, "page", "kernels", "activations", "grad-cam", "integrated-gradients")


@pytest.mark.slow
@pytest.mark.data
@needs_mobilenet
def test_mobilenet_v2_with_relu6_and_depthwise_layers(tmp_path, keras_ready):
    study = opened(str(MOBILENET), tmp_path, noise(12, 224, 3), np.arange(12) % 10)
    assert len(study.anatomy.neuron_layers) == 53
    look(study, "page", "kernels", "guided-backprop", "layer-cam")


def test_a_model_of_several_outputs_is_looked_into(tmp_path, keras_ready):
    import keras

    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="shared")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(
        image,
        {
            "label": keras.layers.Dense(3, name="label")(pooled),
            "mask": keras.layers.Conv2D(2, 1, name="mask")(x),
        },
    )
    study = opened(model, tmp_path, noise(12, 16, 3), np.arange(12) % 3)
    look(study, "page", "maximisation")


@pytest.mark.slow
def test_transformers_tokens_are_units_too(tmp_path, keras_ready):
    import keras

    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 4, strides=4, name="patches")(image)
    x = keras.layers.Reshape((16, 8))(x)
    x = keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = keras.layers.Dense(12, activation="gelu", name="mlp")(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(image, keras.layers.Dense(3, name="head")(x))
    study = opened(model, tmp_path, noise(12, 16, 3), np.arange(12) % 3)
    look(study, "page", "maximisation", "smoothgrad")
