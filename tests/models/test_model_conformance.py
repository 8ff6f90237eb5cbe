"""What holds for every registered classifier; a new one needs no new test."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.models import MODELS
from dlsuite.models.arithmetic import evaluate

CLASSES = 3
CLASSIFIERS = [name for name in MODELS if "task" not in MODELS[name].details]


def _size(name):
    return evaluate(MODELS[name].details["parameters"])


# The checks that need weights run on each family's smallest member and smallest image.
FAMILIES = {}
for registered in CLASSIFIERS:
    FAMILIES.setdefault(MODELS[registered].module, []).append(registered)
SMALLEST = [min(names, key=_size) for names in FAMILIES.values()]
# Where the defaults are too heavy for every run of the tests.
LIGHT_OPTIONS = {"vgg11": {"head": "small"}}


def _small_shape(name):
    details = MODELS[name].details
    return (details["smallest_image"],) * 2 + (details["image_shape"][-1],)


@pytest.fixture(scope="module")
def build(keras_ready):
    from dlsuite.models.build import build_network

    def small(name, seed=0):
        shape = _small_shape(name)
        options = LIGHT_OPTIONS.get(name)
        return build_network(
            name, image_shape=shape, num_classes=CLASSES, seed=seed, options=options
        )

    return small


@pytest.fixture(scope="module")
def networks(build):
    return {name: build(name) for name in SMALLEST}


@pytest.fixture(scope="module")
def images(pixels):
    # deviation near 1, as after normalisation
    return {name: pixels(4, *_small_shape(name)) / 75 - 1.7 for name in SMALLEST}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_full_size_has_the_declared_parameters_and_shapes(keras_ready, name):
    from dlsuite.models.build import outline_network
    from dlsuite.models.summary import parameters

    details = MODELS[name].details
    shape, classes = details["image_shape"], details["num_classes"]
    network = outline_network(name, image_shape=shape, num_classes=classes)
    assert parameters(network.model) == evaluate(details["parameters"])
    assert network.model.input_shape == (None, *shape)
    assert network.model.output_shape == (None, classes)
    assert network.model.output.dtype == "float32"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_layers_are_named_uniquely_and_features_end_in_logits(keras_ready, name):
    from dlsuite.models.build import outline_network

    details = MODELS[name].details
    network = outline_network(name, image_shape=details["image_shape"], num_classes=CLASSES)
    names = [layer.name for layer in network.model.layers]
    assert len(set(names)) == len(names)
    assert list(network.features)[-1] == names[-1] == "logits"
    assert set(network.features.values()) <= set(names)
    # Keras's own numbering would differ between the first and the second network of a process
    again = outline_network(name, image_shape=details["image_shape"], num_classes=CLASSES)
    assert [layer.name for layer in again.model.layers] == names


@pytest.mark.parametrize("name", list(MODELS))
def test_entries_say_what_and_where_from(name):
    entry = MODELS[name]
    assert entry.description and entry.source
    assert len(entry.description) < 80


@pytest.mark.parametrize(
    "name", [n for n in CLASSIFIERS if MODELS[n].details["smallest_image"] > 1]
)
def test_a_smaller_image_is_refused(keras_ready, name):
    from dlsuite.models.build import outline_network

    smallest = MODELS[name].details["smallest_image"]
    for height, width in ((smallest - 1, smallest), (smallest, smallest - 1), (1, 1)):
        expected = rf"{name} needs images of at least {smallest}x{smallest} .*{height}x{width}"
        with pytest.raises(DlsuiteError, match=expected):
            outline_network(name, image_shape=(height, width, 3), num_classes=CLASSES)
    outline_network(name, image_shape=(smallest, smallest, 3), num_classes=CLASSES)


@pytest.mark.parametrize("name", SMALLEST)
def test_a_gradient_reaches_every_trainable_variable(networks, images, name):
    import keras
    import tensorflow as tf

    model = networks[name].model
    labels = np.arange(4) % CLASSES
    before = model.get_weights()
    with tf.GradientTape() as tape:
        logits = model(images[name], training=True)
        losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        loss = tf.reduce_mean(losses)
    model.set_weights(before)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.any(gradient), variable.path


@pytest.mark.parametrize("name", SMALLEST)
def test_the_seed_alone_decides_the_weights(networks, build, name):
    weights = networks[name].model.get_weights()
    again, other = build(name).model.get_weights(), build(name, seed=1).model.get_weights()
    for one, two in zip(weights, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(np.any(one != two) for one, two in zip(weights, other, strict=True))


@pytest.mark.parametrize("name", SMALLEST)
def test_every_feature_can_be_extracted(networks, images, name):
    network = networks[name]
    found = network.extract(list(network.features))(images[name])
    assert list(found) == list(network.features)
    np.testing.assert_array_equal(found["logits"], network.model(images[name]))


def test_saved_networks_open_in_a_new_process_with_the_same_outputs(networks, images, tmp_path):
    arrays = {}
    for name, network in networks.items():
        network.model.save(tmp_path / f"{name}.keras")
        arrays[f"{name}_in"] = images[name]
        arrays[f"{name}_out"] = np.asarray(network.model(images[name]))
    np.savez(tmp_path / "arrays.npz", **arrays)
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        sys.modules["dlsuite"] = None  # plain Keras must do
        import keras, numpy as np
        folder = Path(sys.argv[1])
        arrays = np.load(folder / "arrays.npz")
        for name in sys.argv[2:]:
            model = keras.saving.load_model(folder / f"{name}.keras")
            found, expected = model(arrays[f"{name}_in"]), arrays[f"{name}_out"]
            # batch norm is computed in another order: a few float32 roundings a layer
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4, err_msg=name)
            print(name)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), *networks],
        capture_output=True,
        text=True,
        env={"PATH": "", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(networks)
