import pytest

# Multiply-adds of the papers or, where they give none, of torchvision's documentation [1e9].
PUBLISHED_MACS = {
    "alexnet": 0.714,
    "vgg16": 15.47,
    "resnet18": 1.814,
    "resnet50": 4.089,
    "resnet152": 11.514,
}


@pytest.fixture(scope="module")
def summary(keras_ready):
    from dlsuite.models import summary

    return summary


def _flops_of(summary, layer, shape):
    import keras

    image = keras.Input(shape)
    rows = summary.layer_table(keras.Model(image, layer(image)))
    return rows[-1].flops


def test_flops_of_each_layer_by_hand(summary):
    from keras import layers

    from dlsuite.layers.maxout import Maxout

    shape = (8, 6, 4)
    assert _flops_of(summary, layers.Conv2D(5, 3), shape) == 2 * (3 * 3 * 4) * 5 * (6 * 4)
    assert _flops_of(summary, layers.Conv2D(6, (1, 3), groups=2, padding="same"), shape) == (
        2 * (1 * 3 * 2) * 6 * (8 * 6)
    )
    assert _flops_of(summary, layers.DepthwiseConv2D(3, depth_multiplier=2), shape) == (
        2 * (3 * 3) * 8 * (6 * 4)
    )
    assert _flops_of(summary, layers.SeparableConv2D(7, 3), shape) == (
        2 * (3 * 3 * 4 + 4 * 7) * (6 * 4)
    )
    # each of the 48 input pixels meets the whole kernel once
    assert _flops_of(summary, layers.Conv2DTranspose(5, 2, strides=2), shape) == (
        2 * (2 * 2 * 4) * 5 * (8 * 6)
    )
    assert _flops_of(summary, layers.Dense(9), (7,)) == 2 * 7 * 9
    assert _flops_of(summary, layers.Dense(9), shape) == 2 * 4 * 9 * (8 * 6)
    assert _flops_of(summary, Maxout(9, 3), (7,)) == 2 * 7 * 27
    for free in (layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(2)):
        assert _flops_of(summary, free, shape) == 0


def test_a_shared_layer_has_one_row_with_all_its_operations(summary):
    import keras

    one, two = keras.Input((3,)), keras.Input((3,))
    shared = keras.layers.Dense(4, name="shared")
    outputs = keras.layers.Add()([shared(one), shared(two)])
    rows = {row.name: row for row in summary.layer_table(keras.Model([one, two], outputs))}
    assert (rows["shared"].parameters, rows["shared"].flops) == (16, 2 * 2 * 12)


def test_layers_of_another_graph_are_not_counted(summary):
    import keras

    image = keras.Input((3,))
    dense = keras.layers.Dense(4)
    model = keras.Model(image, dense(image))
    dense(keras.Input((3,)))
    assert summary.flops(model) == 24


def test_models_inside_a_model_are_opened(summary):
    import keras

    inner_image = keras.Input((3,))
    inner = keras.Model(inner_image, keras.layers.Dense(4, name="dense")(inner_image), name="inner")
    image = keras.Input((3,))
    model = keras.Model(image, keras.layers.Dense(2, trainable=False)(inner(image)))
    rows = summary.layer_table(model)
    assert "inner/dense" in [row.name for row in rows]
    assert summary.flops(model) == 2 * (12 + 8)
    assert summary.parameters(model) == 16
    assert rows[-1].parameters == 10 and rows[-1].trainable == 0


@pytest.mark.parametrize("name", PUBLISHED_MACS)
def test_flops_are_twice_the_published_multiply_adds(summary, name):
    from dlsuite.models.build import outline_network

    model = outline_network(name, image_shape=(224, 224, 3), num_classes=1000).model
    # published to three or four digits
    assert summary.flops(model) / 2e9 == pytest.approx(PUBLISHED_MACS[name], rel=1e-3)
