"""Where a user's network is cut, and what the new head stands on."""

import numpy as np
import pytest

from dlsuite.errors import DlsuiteError

SHAPE = (8, 8, 3)


def on_features(end):
    """A network that ends in what a function makes of twelve features, and those features."""
    import keras

    keras.utils.set_random_seed(6)
    image = keras.Input(SHAPE)
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(12, 3)(image))
    return keras.Model(image, end(features)), keras.Model(image, features)


def softmax_layer(x):
    import keras

    return keras.layers.Softmax()(keras.layers.Dense(5)(x))


def softmax_operation(x):
    import keras

    return keras.ops.softmax(keras.layers.Dense(5)(x))


def softmax_function(x):
    import keras

    return keras.activations.softmax(keras.layers.Dense(5)(x), axis=-1)


def sigmoid_activation(x):
    import keras

    return keras.layers.Activation("sigmoid")(keras.layers.Dense(5)(x))


def nested_head(x):
    import keras

    inside = [keras.layers.Dropout(0.5), keras.layers.Dense(5, activation="softmax")]
    return keras.Sequential(inside)(x)


def nested_head_under_softmax(x):
    import keras

    head = keras.Input((12,))
    return keras.layers.Softmax()(keras.Model(head, keras.layers.Dense(5)(head))(x))


HEADS = (
    softmax_layer,
    softmax_operation,
    softmax_function,
    sigmoid_activation,
    nested_head,
    nested_head_under_softmax,
)


@pytest.mark.parametrize("end", HEADS, ids=lambda end: end.__name__)
def test_the_head_is_found_whatever_its_form(end, from_file, pixels):
    model, features = on_features(end)
    network = from_file(model)
    images = pixels(2, *SHAPE)
    found = network.extract(["base"])(images)["base"]
    # the same convolution in float32, of values up to 255
    np.testing.assert_allclose(found, features(images), rtol=1e-5, atol=1e-3)
    assert from_file(model, classes=5, keep_head=True).model.output_shape == (None, 5)


def test_probabilities_without_a_dense_layer_are_taken_off(from_file, pixels):
    import keras

    model, features = on_features(keras.layers.Softmax())
    network = from_file(model)
    images = pixels(2, *SHAPE)
    found = network.extract(["base"])(images)["base"]
    np.testing.assert_allclose(found, features(images), rtol=1e-5, atol=1e-3)
    with pytest.raises(DlsuiteError, match="with no dense layer at the end"):
        from_file(model, classes=12, keep_head=True)


@pytest.mark.parametrize("shape", [(192,), (16, 12), (4, 4, 12), (2, 2, 4, 12)])
def test_features_are_averaged_over_their_places(shape, from_file, pixels):
    import keras

    keras.utils.set_random_seed(7)
    image = keras.Input(SHAPE)
    x = keras.layers.Conv2D(12, 2, strides=2)(image)
    model = keras.Model(image, keras.layers.Reshape(shape)(x))
    network = from_file(model)
    images = pixels(2, *SHAPE)
    features = np.asarray(model(images))
    places = tuple(range(1, features.ndim - 1))
    name = "pooled" if places else "base"
    found = network.extract([name])(images)[name]
    np.testing.assert_allclose(found, features.mean(places), rtol=1e-5, atol=1e-3)


def test_features_of_more_axes_are_refused(from_file):
    import keras

    image = keras.Input(SHAPE)
    model = keras.Model(image, keras.layers.Reshape((2, 2, 2, 2, 12))(image))
    with pytest.raises(DlsuiteError, match=r"one to three axes .* features are 2x2x2x2x12"):
        from_file(model)


def test_layers_of_models_inside_have_names_of_their_own(from_file, pixels):
    """Two branches and the outside use the same name, and one branch is used twice."""
    import keras

    keras.utils.set_random_seed(8)

    def branch(name):
        inner = keras.Input(SHAPE, name="image")
        return keras.Model(inner, keras.layers.Conv2D(3, 1, name="conv")(inner), name=name)

    image = keras.Input(SHAPE, name="image")
    left, right = branch("left"), branch("right")
    x = keras.layers.Concatenate()([left(left(image)), right(image)])
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, name="conv")(x))
    model = keras.Model(image, keras.layers.Dense(3)(x))
    network = from_file(model, keep_head=True)
    names = [layer.name for layer in network.model.layers]
    assert {"conv", "left_conv", "right_conv"} <= set(names)
    assert len(set(names)) == len(names)
    images = pixels(2, *SHAPE)
    np.testing.assert_allclose(network.model(images), model(images), rtol=1e-4, atol=1e-3)
    trained = sum(np.prod(variable.shape) for variable in network.model.trainable_variables)
    assert trained == model.count_params()


@pytest.mark.parametrize("end", [softmax_layer, nested_head], ids=lambda end: end.__name__)
def test_a_classifier_gives_logits_whatever_its_own_end(end, keras_ready, pixels, tmp_path):
    from dlsuite.models.saved import read_classifier

    model, features = on_features(end)
    model.save(tmp_path / "classifier.keras")
    images = pixels(2, *SHAPE) / 255
    found, logits = read_classifier(tmp_path / "classifier.keras", SHAPE)(images)
    np.testing.assert_allclose(found, features(images), rtol=1e-5, atol=1e-3)
    # known from probabilities but for a constant
    expected = np.log(model(images))
    found, expected = logits[:, :1] - logits, expected[:, :1] - expected
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_dropout_layer_that_is_used_twice_is_left_out_where_it_ends(from_file, pixels):
    import keras

    keras.utils.set_random_seed(7)
    image, drop = keras.Input(SHAPE), keras.layers.Dropout(0.5)
    x = drop(keras.layers.Dense(12)(keras.layers.Flatten()(image)))
    features = keras.layers.Dense(7)(x)
    model = keras.Model(image, keras.layers.Dense(5)(drop(features)))
    network = from_file(model)
    images = pixels(2, *SHAPE)
    found = network.extract(["base"])(images)["base"]
    # two dense layers in float32, of values up to 255
    expected = keras.Model(image, features)(images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)
