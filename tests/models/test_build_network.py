import itertools
import random

import numpy as np
import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.models import FORMS, MODELS


@pytest.fixture(scope="module")
def build(keras_ready):
    from dlsuite.models.build import build_network

    def made(name="mlp", shape=(8, 8, 1), classes=3, **arguments):
        return build_network(name, image_shape=shape, num_classes=classes, **arguments)

    return made


# Counts that the papers or torchvision give.
PUBLISHED = {
    "lenet5": 61_706,
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
    "plain20": 269_722,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_declared_parameters_are_the_published_ones(name):
    from dlsuite.models.arithmetic import evaluate

    assert evaluate(MODELS[name].details["parameters"]) == PUBLISHED[name]


def test_arithmetic_is_evaluated_and_nothing_else():
    from dlsuite.models.arithmetic import evaluate

    assert evaluate("(3*3*2*4 + 4) + 2*(5 - 1)") == 84
    for text in ("__import__('os')", "2**9", "1.5*2", "x + 1", "True + 1"):
        with pytest.raises(ValueError, match="whole numbers"):
            evaluate(text)


def test_normalisation_is_the_first_layer(build, pixels):
    images = pixels(5, 8, 8, 2)
    plain = build(shape=(8, 8, 2))
    normalised = build(shape=(8, 8, 2), mean=[100.0, 50.0], std=[20.0, 5.0])
    by_hand = (images - np.array([100.0, 50.0])) / np.array([20.0, 5.0])
    # inputs up to 30 deviations, summed in float32
    np.testing.assert_allclose(normalised.model(images), plain.model(by_hand), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("std", [1e-12, 1e-5, 1e15, 1e25])
def test_normalisation_holds_for_units_of_any_size(build, pixels, std, tmp_path):
    """Masses in kg or luminosities in W: the network sees the same standardised values."""
    import keras

    standardised = pixels(4, 8, 8, 2) / 100 - 1
    images = ((standardised + 3) * std).astype("float32")
    plain = build(shape=(8, 8, 2))
    model = build(shape=(8, 8, 2), mean=[3 * std, 3 * std], std=[std, std]).model
    assert model.layers[1].name == "normalization"
    model.save(tmp_path / "units.keras")
    for found in (model(images), keras.saving.load_model(tmp_path / "units.keras")(images)):
        # values up to 4.5 deviations, summed in float32
        np.testing.assert_allclose(found, plain.model(standardised), rtol=1e-4, atol=1e-4)


def test_building_leaves_the_random_generators_as_they_were(build):
    random.seed(7)
    np.random.seed(7)
    expected = random.random(), np.random.rand()
    random.seed(7)
    np.random.seed(7)
    build()
    assert (random.random(), np.random.rand()) == expected


def test_unknown_names_and_options_are_named(build):
    with pytest.raises(DlsuiteError, match=r"Unknown model. Received: 'resnt20'.*'resnet20'"):
        build("resnt20", shape=(32, 32, 3))
    with pytest.raises(DlsuiteError, match=r"Received: 'hiden'. Did you mean 'hidden'"):
        build(options={"hiden": [3]})


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_options_of_a_form_are_those_of_its_builder(keras_ready, form):
    import importlib
    import inspect

    signature = inspect.signature(importlib.import_module(form.module).build)
    keywords = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "num_classes"
    }
    assert dict(form.options) == keywords


def test_an_outline_has_the_layers_but_leaves_no_weights_to_make(build):
    import keras
    from keras.src.backend.common import global_state

    from dlsuite.models.build import outline_network

    outline = outline_network("mnist_cnn", image_shape=(28, 28, 1), num_classes=10)
    built = build("mnist_cnn", shape=(28, 28, 1), classes=10)
    assert outline.features == built.features
    assert [v.path for v in outline.model.weights] == [v.path for v in built.model.weights]
    assert not global_state.get_global_attribute("uninitialized_variables")
    with keras.StatelessScope():
        pass
    assert outline.model.weights[0]._value is None


@pytest.mark.parametrize(
    "activation, function",
    [
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("tanh", np.tanh),
        ("relu", lambda x: np.maximum(0, x)),
        ("leaky_relu", lambda x: np.maximum(0.1 * x, x)),
        ("elu", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    ],
)
def test_mlp_activations_are_the_textbook_ones(build, pixels, activation, function):
    images = pixels(6, 8, 8, 1) / 50 - 2.5
    network = build(options={"hidden": [5], "activation": activation})
    kernel, bias, *_ = network.model.get_weights()
    hidden = np.asarray(network.extract(["hidden1"])(images)["hidden1"])
    # 64 products in float32
    expected = function(images.reshape(6, -1) @ kernel + bias)
    np.testing.assert_allclose(hidden, expected, rtol=1e-4, atol=1e-5)


def test_mlp_has_any_depth(build):
    import keras

    network = build(options={"hidden": [7, 6, 5], "activation": "maxout", "dropout": 0.2})
    assert list(network.features) == ["flat", "hidden1", "hidden2", "hidden3", "logits"]
    # two pieces a unit
    expected = (64 * 14 + 14) + (7 * 12 + 12) + (6 * 10 + 10) + (5 * 3 + 3)
    assert network.model.count_params() == expected
    kinds = [type(layer) for layer in network.model.layers]
    assert sum(issubclass(kind, keras.layers.Dropout) for kind in kinds) == 3
    assert build(options={"hidden": []}).model.count_params() == 64 * 3 + 3


@pytest.mark.parametrize(
    "options, message",
    [
        ({"hidden": [5, 0]}, r"model.hidden is a list of whole numbers.*\[5, 0\]"),
        ({"hidden": 5}, r"model.hidden is a list of whole numbers of at least 1. Received: 5"),
        ({"hidden": "256"}, "model.hidden is a list .* Received: '256'"),
        ({"activation": "rulu"}, "model.activation. Received: 'rulu'. Did you mean 'relu'"),
        ({"dropout": 1.0}, "model.dropout is a number from 0 to below 1. Received: 1.0"),
        ({"dropout": -0.1}, "from 0 to below 1. Received: -0.1"),
        ({"maxout_pieces": 0}, "model.maxout_pieces is a whole number of at least 1. Received: 0"),
    ],
)
def test_mlp_options_outside_their_range_are_refused(build, options, message):
    with pytest.raises(DlsuiteError, match=message):
        build(options=options)


def test_an_option_that_is_a_switch_takes_only_true_or_false(build):
    with pytest.raises(DlsuiteError, match=r"zero_init_residual is true or false. Received: 1"):
        build("resnet18", shape=(32, 32, 3), options={"zero_init_residual": 1})


def test_vgg_with_normalisation_and_a_small_head(keras_ready):
    from dlsuite.models.build import outline_network
    from dlsuite.models.summary import parameters

    options = {"head": "small", "batch_normalization": True}
    network = outline_network("vgg11", image_shape=(32, 32, 3), num_classes=10, options=options)
    widths = (3, 64, 128, 256, 256, 512, 512, 512, 512)
    convolutions = sum(
        9 * before * after + 2 * after for before, after in itertools.pairwise(widths)
    )
    assert parameters(network.model) == convolutions + 512 * 10 + 10


def test_residual_blocks_can_start_as_the_identity(build, pixels):
    network = build("resnet18", shape=(32, 32, 3), options={"zero_init_residual": True})
    model = network.model
    assert not model.get_layer("stage1_block2_conv2_bn").gamma.numpy().any()
    assert model.get_layer("stage1_block2_conv1_bn").gamma.numpy().all()


def test_cifar_shortcuts_take_every_second_pixel_and_add_no_parameters(build, pixels):
    import keras

    model = build("resnet8", shape=(9, 8, 3)).model
    shortcut = keras.Model(
        model.get_layer("stage1_block1_relu2").output,
        model.get_layer("stage2_block1_shortcut_pad").output,
    )
    x = pixels(2, 9, 8, 16)
    found = np.asarray(shortcut(x))
    assert found.shape == (2, 5, 4, 32)
    np.testing.assert_array_equal(found[..., 8:24], x[:, ::2, ::2])
    assert not found[..., :8].any() and not found[..., 24:].any()
    assert not any(layer.name.endswith("_add") for layer in build("plain8", (8, 8, 3)).model.layers)


def test_strided_convolutions_are_centred_on_the_pixels_the_shortcut_keeps(build):
    import keras

    model = build("resnet8", shape=(8, 8, 3)).model
    convolution = keras.Model(
        model.get_layer("stage1_block1_relu2").output,
        model.get_layer("stage2_block1_conv1").output,
    )
    kernel = np.zeros((3, 3, 16, 32), "float32")
    kernel[1, 1, 0, 0] = 1  # the centre alone
    model.get_layer("stage2_block1_conv1").set_weights([kernel])
    x = np.arange(8 * 8 * 16, dtype="float32").reshape(1, 8, 8, 16)
    np.testing.assert_array_equal(convolution(x)[..., 0], x[:, ::2, ::2, 0])


def test_lenet_frames_small_images_with_zeros(build):
    model = build("lenet5", shape=(28, 27, 1)).model
    assert model.get_layer("pad").output.shape == (None, 32, 32, 1)
    assert build("lenet5", shape=(40, 32, 3)).model.get_layer("pad").output.shape[1:3] == (40, 32)
