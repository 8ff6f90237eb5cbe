"""Exemplars, receptive fields and effects against answers computed another way."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlsuite.analysis.neurons.activations import activations
from dlsuite.analysis.neurons.anatomy import Anatomy
from dlsuite.analysis.neurons.effects import Ablation, class_effects, inputs
from dlsuite.analysis.neurons.equivariance import connections
from dlsuite.analysis.neurons.kernels import coherence, kernels
from dlsuite.analysis.neurons.receptive_field import receptive_fields
from dlsuite.analysis.neurons.subject import from_model
from dlsuite.analysis.neurons.survey import crops, survey
from dlsuite.data.source import in_memory
from dlsuite.errors import DlsuiteError


def split_of(images, labels=None):
    labels = np.arange(len(images)) % 3 if labels is None else labels
    return in_memory("test", images, labels, [str(n) for n in range(len(images))])


@pytest.fixture(scope="module")
def network(keras_ready):
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [
            keras.Input((10, 10, 1)),
            keras.layers.Conv2D(5, 3, activation="relu", name="conv"),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="second"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax", name="head"),
        ]
    )
    weights, bias = model.get_layer("conv").get_weights()
    weights[..., 3] = 0  # a dead filter
    weights[..., 4] = 2 * weights[..., 1]  # the same as another, louder
    model.get_layer("conv").set_weights([weights, bias])
    return from_model(model)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (70, 10, 10, 1), dtype=np.uint8)


def test_exemplars_are_the_largest_of_all_images(network, images):
    anatomy = Anatomy(network)
    layer = anatomy.find("second")
    found = survey(network, [layer], split_of(images), batch_size=32)["second"]
    second = keras.Sequential(network.model.layers[:2])(images.astype(np.float32)).numpy()
    peak = second.max(axis=(1, 2))  # (70, 4)
    order = np.argsort(-peak, axis=0, kind="stable")[:64].T
    np.testing.assert_array_equal(found.indices, order)
    # float32 sums of 9 * 5 products of numbers up to 255, in another order
    np.testing.assert_allclose(found.values, np.take_along_axis(peak.T, order, 1), rtol=1e-5)
    best = second[order[2, 0], :, :, 2]
    place = np.unravel_index(best.argmax(), best.shape)
    assert (found.rows[2, 0], found.columns[2, 0]) == place
    np.testing.assert_allclose(found.mean, second.mean(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(found.active, (second > 0).mean(axis=(0, 1, 2)), atol=1e-6)
    counts = found.class_counts(np.arange(70) % 3, 3)
    np.testing.assert_array_equal(counts[0], np.bincount(order[0] % 3, minlength=3))


def test_a_crop_is_what_the_unit_saw(network, images):
    anatomy = Anatomy(network)
    layer = anatomy.find("second")
    split = split_of(images)
    found = survey(network, [layer], split)["second"]
    field = receptive_fields(anatomy)["second"]
    assert field.size == (5, 5)
    (crop,) = crops(found, split, 1, count=1, field=field)
    row, column = 2 * found.rows[1, 0], 2 * found.columns[1, 0]  # stride 2, no padding
    np.testing.assert_array_equal(
        crop, images[found.indices[1, 0], row : row + 5, column : column + 5]
    )


def test_dead_and_duplicate_units_are_found(network, images):
    layer = Anatomy(network).find("conv")
    found = kernels(layer)
    assert found.is_dead.tolist() == [False, False, False, True, False]
    assert found.duplicate_of.tolist() == [-1, -1, -1, -1, 1]
    assert found.order[-1] == 3
    dead = survey(network, [layer], split_of(images))["conv"].is_dead
    assert dead[3] and not dead[:3].any()


def test_the_change_since_the_beginning(network):
    layer = Anatomy(network).find("conv")
    now = network.model.get_layer("conv").get_weights()[0]
    found = kernels(layer, initial=now / 1.5)
    np.testing.assert_allclose(found.change[:3], 0.5, rtol=1e-5)  # |w - w/1.5| / |w/1.5|


def test_coherence_of_edges_and_spots():
    y, x = np.mgrid[:7, :7] - 3.0
    edge, spot = np.tanh(4 * (x + y)), np.exp(-(x**2 + y**2) / 2)
    grating = np.sin(2 * np.pi * x / 3.5)
    found = coherence(np.stack([edge, spot, grating, np.ones((7, 7))])[..., None])
    assert found[1] < 1e-9  # as round as a square lets it be
    assert found[2] == pytest.approx(1) and found[0] > 0.9  # one-sided differences at the border
    assert np.isnan(found[3])


@pytest.mark.parametrize("size", [29, 32])
def test_receptive_fields_are_the_pixels_that_have_a_gradient(keras_ready, size):
    image = keras.Input((size, size, 1))
    x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)))(image)
    x = keras.layers.Conv2D(2, 3, strides=2, name="a")(x)
    left = keras.layers.Conv2D(2, 3, padding="same", dilation_rate=2, name="b")(x)
    right = keras.layers.DepthwiseConv2D(3, padding="same", name="c")(x)
    x = keras.layers.Add(name="sum")([left, right])
    x = keras.layers.AveragePooling2D(2, padding="same", name="d")(x)
    x = keras.layers.Conv2DTranspose(2, 4, strides=2, padding="same", name="e")(x)
    x = keras.layers.UpSampling2D(2, name="f")(x)
    x = keras.layers.Cropping2D(1, name="g")(x)
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="h")(x))
    for weight in model.trainable_variables:
        weight.assign(np.ones(weight.shape))  # nothing cancels
    subject = from_model(model)
    anatomy = Anatomy(subject)
    fields = receptive_fields(anatomy)
    assert fields["h"] is None
    for name in "abcdefg":
        place = anatomy.places[name]
        part = keras.Model(image, model.get_layer(name).output)
        for row in {0, place.shape[0] // 2, place.shape[0] - 1}:
            x = tf.constant(np.random.default_rng(0).random((1, size, size, 1)), tf.float32)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = part(x)[0, row, place.shape[1] // 2, 0]
            seen = np.flatnonzero(np.abs(tape.gradient(y, x)[0, :, :, 0]).sum(axis=1))
            first, last = fields[name].vertical.window(row, size)
            # strided transposed convolutions leave out taps: the window may be a little wider
            slack = 0 if name in "abcd" else 4
            assert first <= seen.min() <= first + slack, (name, row)
            assert last - 1 - slack <= seen.max() <= last - 1, (name, row)


def test_activations_of_all_layers_in_one_pass(network, images):
    anatomy = Anatomy(network)
    found = activations(network, anatomy.neuron_layers, images[:4])
    conv = keras.Sequential(network.model.layers[:1])(images[:4].astype(np.float32)).numpy()
    np.testing.assert_allclose(found["conv"].maps, conv, rtol=1e-5)
    assert found["conv"].sparsity == pytest.approx((conv == 0).mean())
    assert 3 in found["conv"].silent
    with pytest.raises(DlsuiteError, match=r"shape \(10, 10, 1\). Received: \(10, 10, 3\)"):
        activations(network, anatomy.neuron_layers, np.zeros((1, 10, 10, 3)))


def test_silencing_a_unit_takes_its_part_from_the_logits(network, images):
    anatomy = Anatomy(network)
    layers = anatomy.neuron_layers
    second = anatomy.find("second")
    split = split_of(images)
    exemplars = np.array([[3, 5], [7, 11]])
    effects = class_effects(Ablation(network, layers, 4), second, [0, 2], exemplars, split)
    # the head is linear in the maps: a unit's part is its maps times its weights
    maps = keras.Sequential(network.model.layers[:2])(images.astype(np.float32)).numpy()
    weights = network.model.get_layer("head").kernel.numpy().reshape(3, 3, 4, 3)
    for number, unit in enumerate([0, 2]):
        part = np.einsum("nhw,hwk->nk", maps[exemplars[number], :, :, unit], weights[:, :, unit])
        np.testing.assert_allclose(effects[number], part.mean(axis=0), rtol=1e-3, atol=1e-2)


def test_the_drive_is_the_mean_input_times_the_weights(network):
    anatomy = Anatomy(network)
    mean = np.array([1.0, 2.0, 3.0, 4.0])
    found = inputs(anatomy, anatomy.find("head"), mean)
    weights = network.model.get_layer("head").kernel.numpy().reshape(9, 4, 3)
    assert found.layer == "second"
    np.testing.assert_allclose(found.drive, (weights.sum(axis=0) * mean[:, None]).T, rtol=1e-5)


def test_an_empty_split_and_other_images_are_refused(network):
    layers = Anatomy(network).neuron_layers
    with pytest.raises(DlsuiteError, match=r"at least one image. Received: an empty split"):
        survey(network, layers, split_of(np.zeros((0, 10, 10, 1), np.uint8)))
    with pytest.raises(DlsuiteError, match=r"\(10, 10, 1\).*Received: \(9, 9, 1\)"):
        survey(network, layers, split_of(np.zeros((2, 9, 9, 1), np.uint8)))


def test_layers_of_mixed_precision_are_linked(keras_ready):
    image = keras.Input((16, 16, 1))
    x = keras.layers.Rescaling(1 / 255, dtype="float32")(image)
    x = keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16", name="conv")(x)
    x = keras.layers.ReLU(dtype="mixed_bfloat16", name="relu")(x)
    x = keras.layers.Conv2D(4, 3, strides=2, dtype="mixed_bfloat16", name="second")(x)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    model = keras.Model(image, keras.layers.Dense(2, dtype="float32", name="head")(x))
    anatomy = Anatomy(from_model(model))
    fields = receptive_fields(anatomy)
    assert anatomy.find("conv").place.name == "relu"
    assert fields["relu"].size == (3, 3) and fields["second"].size == (5, 5)
    found = activations(anatomy.subject, anatomy.neuron_layers, np.ones((1, 16, 16, 1)))
    assert all(one.maps.dtype == np.float32 for one in found.values())


def test_a_model_inside_sees_what_its_last_layer_sees(keras_ready):
    inner = keras.Sequential(
        [keras.Input((16, 16, 1)), keras.layers.Conv2D(2, 3), keras.layers.Conv2D(2, 5, name="b")],
        name="inner",
    )
    image = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(1, 1, name="after")(inner(image))
    fields = receptive_fields(Anatomy(from_model(keras.Model(image, x))))
    assert fields["inner"].size == fields["inner/b"].size == fields["after"].size == (7, 7)


def test_layers_over_the_channels_alone_leave_the_receptive_field(keras_ready):
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.Dense(5, name="mixed")(keras.layers.LayerNormalization(name="normed")(x))
    x = keras.layers.LayerNormalization(axis=[1, 2, 3], name="whole")(x)
    fields = receptive_fields(Anatomy(from_model(keras.Model(image, x))))
    assert [fields[name].size for name in ("conv", "normed", "mixed")] == [(3, 3)] * 3
    assert fields["whole"] is None


def test_a_separable_convolutions_drive_and_parameters_hold_both_kernels(keras_ready):
    image = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(3, 1, name="before")(image)
    separable = keras.layers.SeparableConv2D(4, 3, name="separable")
    anatomy = Anatomy(from_model(keras.Model(image, separable(x))))
    layer = anatomy.find("separable")
    drive = inputs(anatomy, layer).drive
    depthwise = separable.depthwise_kernel.numpy().sum(axis=(0, 1))[:, 0]  # of 3 channels
    expected = separable.pointwise_kernel.numpy()[0, 0].T * depthwise
    np.testing.assert_allclose(drive, expected, rtol=1e-5)
    (found,) = connections([layer])
    assert found.parameters == 3 * 3 * 3 + 3 * 4
