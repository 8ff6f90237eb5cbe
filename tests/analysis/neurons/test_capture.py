"""Looking into models of every kind, and leaving them as they were."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import Anatomy, choose_units, operations
from dlsuite.analysis.neurons.capture import capture
from dlsuite.analysis.neurons.maximisation import maximise
from dlsuite.analysis.neurons.subject import from_model
from dlsuite.errors import DlsuiteError


def state(model):
    """What a user could notice: weights, the layers' own attributes, and the output's config."""
    layers = operations(model)
    return (
        [weight.numpy().copy() for weight in model.weights],
        {name: (id(layer), sorted(vars(layer))) for name, layer in layers.items()},
        {name: vars(layer).get("activation") for name, layer in layers.items()},
        {name: "call" in vars(layer) for name, layer in layers.items()},
    )


def assert_same(before, after):
    for old, new in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(old, new)
    assert before[1:] == after[1:]


def test_every_layer_with_weights_is_found_in_order(subject):
    names = [layer.name.rsplit("/", 1)[-1] for layer in Anatomy(subject).neuron_layers]
    weighted = [
        name.rsplit("/", 1)[-1]
        for name, layer in operations(subject.model).items()
        if isinstance(
            layer,
            keras.layers.Conv2D
            | keras.layers.DepthwiseConv2D
            | keras.layers.Conv2DTranspose
            | keras.layers.Dense,
        )
    ]
    assert len(names) >= 2
    assert sorted(names) == sorted(weighted)
    assert names[-1] in ("head", "image")


def test_captured_activations_are_those_of_the_layers_called_one_by_one(keras_ready):
    keras.utils.set_random_seed(3)
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(3, 3, name="conv"),
            keras.layers.ReLU(name="relu"),
        ],
        name="inner",
    )
    image = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(inner(image))
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax", name="head")(flat))
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32))
    anatomy = Anatomy(from_model(model))
    conv, head = (anatomy.find(name) for name in ("inner/conv", "head"))
    assert conv.place.name == "inner/relu"  # a unit is seen behind its activation
    found = capture(anatomy.subject, x, [conv.place, head.place])
    mapped = inner.get_layer("conv")(x)
    logits = tf.reshape(tf.nn.relu(mapped), (2, -1)) @ model.get_layer("head").kernel
    # the same operations in eager mode and in the model's call: float32 rounding at most
    for value, expected in (
        (found["inner/relu"].before, mapped),
        (found["inner/relu"].after, tf.nn.relu(mapped)),
        (found["head"].before, logits),
        (found["head"].after, tf.nn.softmax(logits)),
    ):
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_a_layer_used_twice_is_two_places(keras_ready):
    shared = keras.layers.Dense(4, name="shared")
    image = keras.Input((4,))
    model = keras.Model(image, shared(keras.layers.ReLU(name="relu")(shared(image))))
    subject = from_model(model)
    anatomy = Anatomy(subject)
    assert list(anatomy.places) == ["shared", "relu", "shared@2"]
    x = tf.constant([[1.0, 2.0, 3.0, 4.0]])
    found = capture(subject, x, [anatomy.places["shared"], anatomy.places["shared@2"]])
    np.testing.assert_allclose(found["shared"].after, shared(x), rtol=1e-6)
    np.testing.assert_allclose(found["shared@2"].after, model(x), rtol=1e-6)


def test_what_lies_behind_the_last_place_is_not_computed(keras_ready):
    class Loud(keras.layers.Layer):
        calls = 0

        def call(self, x):
            Loud.calls += 1
            return x * 1.0

    model = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 1, name="conv"), Loud()]
    )
    subject = from_model(model)
    anatomy = Anatomy(subject)
    before = Loud.calls
    capture(subject, tf.constant(subject.blank()), [anatomy.find("conv").place])
    assert Loud.calls == before


def test_the_model_is_unchanged(subject, batch):
    expected = subject.forward(batch).numpy()
    before = state(subject.model)
    anatomy = Anatomy(subject)
    capture(subject, tf.constant(batch), list(anatomy.places.values()), whole=True)
    for layer in anatomy.neuron_layers:
        maximise(subject, layer, [0], steps=2)
    assert_same(before, state(subject.model))
    np.testing.assert_array_equal(subject.forward(batch).numpy(), expected)


def test_a_failing_forward_pass_leaves_the_model_unchanged(subject):
    anatomy = Anatomy(subject)
    before = state(subject.model)

    def fail(x):
        raise RuntimeError("in the middle")

    place = anatomy.neuron_layers[0].place
    with pytest.raises(RuntimeError, match="in the middle"):
        capture(
            subject, tf.constant(subject.blank()), [place], whole=True, edits={place.name: fail}
        )
    assert_same(before, state(subject.model))


def test_the_layer_whose_units_are_the_input_is_followed_through_pooling_and_flatten(keras_ready):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(3, 3, activation="relu", name="first"),
            keras.layers.MaxPooling2D(name="pool"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, name="head"),
        ]
    )
    anatomy = Anatomy(from_model(model))
    head = anatomy.find("head")
    assert anatomy.input_layer(head).name == "first"
    assert head.flattened == (3, 3, 3)
    assert anatomy.input_layer(anatomy.find("first")) is None


def test_a_wrong_layer_gives_the_nearest_names(keras_ready):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3, name="stage1_conv")]
    )
    anatomy = Anatomy(from_model(model))
    with pytest.raises(DlsuiteError, match=r"Received: 'stage_conv'. Did you mean 'stage1_conv'"):
        anatomy.find("stage_conv")


@pytest.mark.parametrize("text", ["3", "0-3", "1,x", "", "2-", "-1"])
def test_wrong_units_give_the_legal_range(text, keras_ready):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3, name="conv")])
    layer = Anatomy(from_model(model)).find("conv")
    with pytest.raises(DlsuiteError, match="conv has the units 0 to 2"):
        choose_units(text, layer)


def test_units_are_numbers_and_ranges(keras_ready):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(20, 3, name="conv")])
    layer = Anatomy(from_model(model)).find("conv")
    assert choose_units("0-2,7, 1", layer) == [0, 1, 2, 7]
    assert choose_units("all", layer) == list(range(20))
    assert choose_units("18-40", layer, among_layers=True) == [18, 19]


def test_a_model_of_two_inputs_is_refused(keras_ready):
    one, two = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([one, two], one + two, name="pair")
    with pytest.raises(DlsuiteError, match=r"has one input. Received: pair with 2"):
        from_model(model)


def test_a_model_of_unknown_input_says_what_is_missing(keras_ready):
    model = keras.Sequential([keras.layers.Dense(2)], name="unbuilt")
    with pytest.raises(DlsuiteError, match=r"Received: unbuilt.*pass input_shape=\(H, W, C\)"):
        from_model(model)


def test_preprocessing_of_colours_needs_three_channels(keras_ready):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3)])
    with pytest.raises(DlsuiteError, match=r"3 channels. Received: a model that takes 1"):
        from_model(model, preprocessing="torch")


def test_there_is_a_name_for_each_output(keras_ready):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="three")
    with pytest.raises(DlsuiteError, match=r"Received: 2 names for three with 3 outputs"):
        from_model(model, class_names=["a", "b"])
