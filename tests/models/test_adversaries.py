"""What holds for every registered pair of generator and discriminator."""

import numpy as np
import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.models import MODELS
from dlsuite.models.arithmetic import evaluate

PAIRS = [name for name in MODELS if MODELS[name].details.get("task") == "gan"]
SMALL = {"dcgan": (28, 28, 1), "cosmogan": (64, 64, 1)}


@pytest.fixture(scope="module")
def build(keras_ready):
    from dlsuite.models.adversaries import build_adversaries

    return build_adversaries


def counted(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


@pytest.mark.parametrize("name", PAIRS)
def test_full_size_has_the_declared_parameters_and_shapes(build, name):
    details = MODELS[name].details
    networks = build(name, image_shape=details["image_shape"])
    total = counted(networks.generator) + counted(networks.discriminator)
    assert total == evaluate(details["parameters"])
    assert networks.generator.output_shape == (None, *details["image_shape"])
    assert networks.discriminator.input_shape == (None, *details["image_shape"])
    assert networks.discriminator.output_shape == (None, 1)


def test_cosmogan_has_the_papers_parameters(build):
    networks = build("cosmogan", image_shape=(256, 256, 1))
    assert networks.generator.input_shape == (None, 64)
    assert counted(networks.generator) == 12_824_449
    assert counted(networks.discriminator) == 4_436_225


@pytest.mark.parametrize("name", PAIRS)
def test_layers_have_the_papers_constants(build, name):
    import keras

    networks = build(name, image_shape=SMALL[name], options={"width": 4})
    both = [networks.generator, networks.discriminator]
    convolutions = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)
    stages = [len(of_kind(network, convolutions)) for network in both]
    normalized = [of_kind(network, keras.layers.BatchNormalization) for network in both]
    # one behind each layer but the generator's last, the discriminator's first and its logit
    expected = ["project_bn", *(f"stage{stage}_bn" for stage in range(1, stages[0]))]
    assert [layer.name for layer in normalized[0]] == expected
    expected = [f"stage{stage}_bn" for stage in range(2, stages[1] + 1)]
    assert [layer.name for layer in normalized[1]] == expected
    for layer in (*normalized[0], *normalized[1]):
        # the code's 1e-5, up to the least that cuDNN's kernel takes
        assert (layer.momentum, layer.epsilon) == (0.9, 1.001e-5)
        assert layer.center and layer.scale
    leaky = of_kind(networks.discriminator, keras.layers.LeakyReLU)
    assert [layer.negative_slope for layer in leaky] == [0.2] * stages[1]
    assert len(of_kind(networks.generator, keras.layers.ReLU)) == stages[0]
    for network in both:
        for layer in of_kind(network, (*convolutions, keras.layers.Dense)):
            initializer, is_convolution = layer.kernel_initializer, isinstance(layer, convolutions)
            # CosmoGAN's code truncates those of the discriminator's convolutions
            is_truncated = name == "cosmogan" and network is both[1] and is_convolution
            kind = "TruncatedNormal" if is_truncated else "RandomNormal"
            assert type(initializer).__name__ == kind
            assert (initializer.mean, initializer.stddev) == (0, 0.02)
            assert layer.use_bias and not layer.bias.numpy().any()
            if is_convolution:
                assert (layer.kernel_size, layer.strides, layer.padding) == ((5, 5), (2, 2), "same")


def of_kind(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


@pytest.mark.parametrize(("side", "sides"), [(28, [14, 7, 4]), (32, [16, 8, 4])])
def test_small_images_have_three_stages_that_mirror_each_other(build, side, sides):
    """Two alone leave maps of 7x7: the discriminator then judges parts and not the whole."""
    networks = build("dcgan", image_shape=(side, side, 1), options={"width": 4})
    for network, expected in (
        (networks.discriminator, sides),
        (networks.generator, [*sides[-2::-1], side]),
    ):
        stages = [layer for layer in network.layers if layer.name.endswith("_conv")]
        assert [stage.output.shape[1] for stage in stages] == expected


@pytest.mark.parametrize("name", PAIRS)
def test_seeds_decide_the_weights_and_layers_of_one_shape_differ(build, name):
    shape = SMALL[name]
    first, again, other = (build(name, image_shape=shape, seed=seed) for seed in (1, 1, 2))
    for role in ("generator", "discriminator"):
        weights = [getattr(pair, role).get_weights() for pair in (first, again, other)]
        assert all((a == b).all() for a, b in zip(weights[0], weights[1], strict=True))
        assert any((a != b).any() for a, b in zip(weights[0], weights[2], strict=True))
    kernels = [w for w in first.generator.get_weights() if w.ndim == 4]
    assert 0.015 < kernels[0].std() < 0.025  # N(0, 0.02)


def test_without_normalization_kernels_keep_the_signals_scale(build):
    """He's deviation is sqrt(2 / fan in), here of 25 inputs a map."""
    networks = build("dcgan", image_shape=(64, 64, 1), options={"normalization": "none"})
    kernels = [w for w in networks.discriminator.get_weights() if w.ndim == 4]
    for kernel in kernels:
        # 25 times 64 numbers at least: the deviation's own relative error is 1/sqrt(2 n) = 0.018
        assert kernel.std() == pytest.approx(np.sqrt(2 / np.prod(kernel.shape[:3])), rel=0.08)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_images_are_float32_within_tanh_and_logits_float32(build, name, policy):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        networks = build(name, image_shape=SMALL[name], options={"width": 4})
    finally:
        keras.config.set_dtype_policy(before)
    latent = np.random.default_rng(0).standard_normal((3, networks.latent_dim)).astype("float32")
    image = networks.generator(latent)
    logits = networks.discriminator(image)
    assert image.dtype == logits.dtype == "float32"
    assert image.shape == (3, *SMALL[name]) and logits.shape == (3, 1)
    assert np.abs(image).max() <= 1


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("dcgan", (40, 40, 1), r"28x28, 32x32, 64x64 pixels. Received: 40x40. .*image_size=32"),
        ("cosmogan", (64, 32, 1), r"64x64, 128x128, 256x256 pixels. Received: 64x32"),
    ],
)
def test_other_sizes_are_refused(build, name, shape, words):
    with pytest.raises(DlsuiteError, match=words):
        build(name, image_shape=shape)


def test_options_are_checked(build):
    with pytest.raises(DlsuiteError, match=r"model.width is a whole number.*Received: 0"):
        build("dcgan", image_shape=(28, 28, 1), options={"width": 0})
    with pytest.raises(DlsuiteError, match=r"model.normalization.*'layer'.*batch, none"):
        build("dcgan", image_shape=(28, 28, 1), options={"normalization": "layer"})
