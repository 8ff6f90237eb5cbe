import copy
import json
import pickle
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest

# Both layers add up the same float32 numbers in another order: a few rounding errors of 6e-8,
# more where gradients cancel.
EXACT = {"rtol": 1e-5, "atol": 1e-5}
# The result is rounded to 11 or 8 bits; one unit in the last place may differ.
ROUNDED = {
    "float32": EXACT,
    "mixed_float16": {"rtol": 2e-3, "atol": 2e-3},
    "mixed_bfloat16": {"rtol": 1.6e-2, "atol": 1.6e-2},
    "bfloat16": {"rtol": 3.2e-2, "atol": 3.2e-2},  # statistics and parameters too
}


@pytest.fixture(scope="module")
def layer_classes(keras_ready):
    import keras

    from dlsuite.layers.batch_normalization import BatchNormalization

    return BatchNormalization, keras.layers.BatchNormalization


def _images(shape, seed=0):
    return np.random.default_rng(seed).normal(2.0, 3.0, shape).astype("float32")


def _measured(layer, images, *, steps=2):
    """Training output, gradients, moving statistics and inference output."""
    import tensorflow as tf

    layer.build(images.shape)
    for step in range(steps):
        x = tf.constant(images + step)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
            loss = tf.reduce_mean(tf.cast(outputs, "float32") ** 3)
        gradients = tape.gradient(loss, [x, *[v.value for v in layer.trainable_variables]])
    inference = layer(tf.constant(images), training=False)
    found = [outputs, inference, *gradients, *[v.value for v in layer.non_trainable_variables]]
    return [np.asarray(tf.cast(value, "float32")) for value in found], outputs.dtype


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("shape", [(4, 6, 6, 3), (3, 5, 7, 2), (2, 1, 1, 4), (1, 1, 1, 4)])
def test_outputs_gradients_and_statistics_are_keras_own(layer_classes, policy, shape):
    fused, stock = layer_classes
    images = _images(shape)
    ours, our_dtype = _measured(fused(dtype=policy, momentum=0.9), images)
    theirs, their_dtype = _measured(stock(dtype=policy, momentum=0.9), images)
    assert our_dtype == their_dtype
    for one, other in zip(ours, theirs, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, **ROUNDED[policy])


@pytest.mark.parametrize("scale, center", [(False, True), (True, False), (False, False)])
def test_scale_and_centre_may_be_left_out(layer_classes, scale, center):
    fused, stock = layer_classes
    images = _images((5, 4, 4, 3))
    ours, _ = _measured(fused(scale=scale, center=center), images)
    theirs, _ = _measured(stock(scale=scale, center=center), images)
    assert len(ours) == 5 + scale + center
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, **EXACT)


def test_moving_variance_has_no_bessel_correction(layer_classes):
    images = np.array([1.0, 3.0, 5.0, 7.0], "float32").reshape(2, 2, 1, 1)
    layer = layer_classes[0](momentum=0.5)
    layer(images, training=True)
    # mean 4 and variance (9 + 1 + 1 + 9) / 4 = 5, halfway from 0 and 1
    np.testing.assert_allclose(layer.moving_mean.numpy(), [2.0], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), [3.0], rtol=1e-6)


def test_training_output_is_standardised_by_hand(layer_classes):
    images = _images((4, 5, 5, 3), seed=1)
    outputs = np.asarray(layer_classes[0](epsilon=1e-3)(images, training=True))
    mean, variance = images.mean((0, 1, 2)), images.var((0, 1, 2))
    np.testing.assert_allclose(outputs, (images - mean) / np.sqrt(variance + 1e-3), **EXACT)


def test_a_frozen_layer_is_in_inference_and_keeps_its_statistics(layer_classes):
    layer = layer_classes[0](trainable=False)
    images = _images((4, 5, 5, 3))
    outputs = np.asarray(layer(images, training=True))
    # moving mean 0 and variance 1 from the start, epsilon 1e-3
    np.testing.assert_allclose(outputs, images / np.sqrt(1.001), **EXACT)
    assert not layer.moving_mean.numpy().any()


@pytest.mark.parametrize(
    "arguments, shape",
    [
        ({}, (8, 3)),
        ({}, (4, 6, 3)),
        ({"axis": 1}, (4, 3, 5, 5)),
        ({"renorm": True}, (4, 5, 5, 3)),
        ({"epsilon": 1e-6}, (4, 5, 5, 3)),
    ],
    ids=["vectors", "sequences", "channels first", "renorm", "small epsilon"],
)
def test_cases_the_kernel_lacks_are_computed_by_keras(layer_classes, arguments, shape):
    fused, stock = layer_classes
    ours, _ = _measured(fused(**arguments), _images(shape))
    theirs, _ = _measured(stock(**arguments), _images(shape))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_device_has_nothing_to_synchronize(layer_classes):
    images = _images((4, 5, 5, 3))
    ours, _ = _measured(layer_classes[0](synchronized=True), images)
    theirs, _ = _measured(layer_classes[1](synchronized=True), images)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, **EXACT)


def test_a_mask_is_respected(layer_classes):
    images = _images((2, 3, 4, 1))
    mask = np.zeros((2, 3, 4), bool)
    mask[0, 0] = True
    layer = layer_classes[0](momentum=0.0)
    layer(images, training=True, mask=mask)
    expected = images[0, 0].mean()
    np.testing.assert_allclose(layer.moving_mean.numpy(), [expected], rtol=1e-5)


def test_the_fused_kernel_is_used_in_a_graph_whose_batch_size_is_open(layer_classes):
    import tensorflow as tf

    layer = layer_classes[0]()
    layer.build((None, 6, 6, 3))
    traced = tf.function(lambda x: layer(x, training=True))
    concrete = traced.get_concrete_function(tf.TensorSpec((None, 6, 6, 3)))
    assert "FusedBatchNormV3" in [operation.type for operation in concrete.graph.get_operations()]


@pytest.fixture(scope="module")
def saved(layer_classes, tmp_path_factory):
    """A model with the fused layer, its file, images, and its outputs for them."""
    import keras

    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3)(inputs)
    x = layer_classes[0](name="bn", momentum=0.5)(x)
    model = keras.Model(inputs, keras.layers.Flatten()(x))
    images = _images((3, 6, 6, 2))
    model(images, training=True)
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return model, path, images, np.asarray(model(images))


def test_the_file_names_keras_own_class(saved):
    _, path, *_ = saved
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    (layer,) = [row for row in config["config"]["layers"] if row["name"] == "bn"]
    assert (layer["module"], layer["class_name"]) == ("keras.layers", "BatchNormalization")
    assert "dlsuite" not in json.dumps(config)


def test_the_file_opens_where_dlsuite_cannot_be_imported(saved, tmp_path):
    _, path, images, outputs = saved
    np.savez(tmp_path / "arrays.npz", images=images, outputs=outputs)
    script = textwrap.dedent("""
        import sys
        sys.modules["dlsuite"] = None
        import keras, numpy as np
        model = keras.saving.load_model(sys.argv[1])
        arrays = np.load(sys.argv[2])
        assert type(model.get_layer("bn")) is keras.layers.BatchNormalization
        print(np.abs(np.asarray(model(arrays["images"])) - arrays["outputs"]).max())
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(tmp_path / "arrays.npz")],
        capture_output=True,
        text=True,
        env={"PATH": "", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
    )
    assert done.returncode == 0, done.stderr
    # outputs of order 1, computed in another order of operations
    assert float(done.stdout) < 1e-5


def test_loading_with_the_class_brings_the_fused_layer_back(saved, layer_classes):
    import keras

    _, path, images, outputs = saved
    custom = {"BatchNormalization": layer_classes[0]}
    model = keras.saving.load_model(path, custom_objects=custom)
    assert type(model.get_layer("bn")) is layer_classes[0]
    np.testing.assert_array_equal(np.asarray(model(images)), outputs)


def test_a_clone_keeps_the_class(saved, layer_classes):
    import keras

    model, _, images, outputs = saved
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert type(clone.get_layer("bn")) is layer_classes[0]
    np.testing.assert_array_equal(np.asarray(clone(images)), outputs)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_computes_the_same(saved, duplicate):
    model, _, images, outputs = saved
    np.testing.assert_allclose(np.asarray(duplicate(model)(images)), outputs, **EXACT)
    layer = model.get_layer("bn")
    x = _images((2, 4, 4, 4))
    np.testing.assert_allclose(np.asarray(duplicate(layer)(x)), np.asarray(layer(x)), **EXACT)
