"""Two networks that are trained against each other: a generator and a discriminator.

A builder of such a pair is a function with the name users type. It takes the shape of the images
and returns both networks by name, functional models::

    def my_gan(image_shape, *, latent_dim=64, width=64) -> dict[str, keras.Model]

The generator takes ``latent`` (B, latent_dim) and returns images in -1 to 1 by tanh, the
discriminator takes such images and returns one logit, both float32 whatever the precision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import KerasTensor, initializers, layers

from dlsuite.errors import DlsuiteError
from dlsuite.layers.batch_normalization import BatchNormalization
from dlsuite.layers.leaky_relu import LeakyReLU
from dlsuite.models import MODELS
from dlsuite.models.build import Network, seeded
from dlsuite.models.checks import check_choice, check_count

# Both papers' code has 1e-5; cuDNN's fused kernel takes nothing smaller than this.
_EPSILON = 1.001e-5
_DEVIATION = 0.02


@dataclass(frozen=True)
class Adversaries:
    """A generator and the discriminator that it is trained against.

    Attributes:
        generator: latent (B, latent_dim), standard normal, to images (B, H, W, C) in -1 to 1.
        discriminator: such images to logits (B, 1), positive for what it takes for real.
    """

    generator: keras.Model
    discriminator: keras.Model

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector."""
        return self.generator.input_shape[-1]


def build_adversaries(
    name: str,
    *,
    image_shape: tuple[int, int, int],
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Adversaries:
    """Returns the pair of networks of that name.

    Args:
        name: a registered model of the task ``gan``.
        image_shape: (H, W, C).
        seed: of the initial weights.
        options: the builder's keyword arguments.

    Raises:
        DlsuiteError: unknown name or option, or an image the networks can't make.
    """
    options = dict(options or {})
    MODELS.check_options(name, options, "model")
    with seeded(seed):
        return Adversaries(**MODELS.load(name)(image_shape, **options))


def joined(
    name: str, *, image_shape: tuple[int, int, int], options: Mapping[str, Any] | None = None
) -> Network:
    """Returns both networks as one, the discriminator on the generator's images: to be shown."""
    networks = build_adversaries(name, image_shape=image_shape, options=options)
    latent = keras.Input((networks.latent_dim,), name="latent")
    logit = networks.discriminator(networks.generator(latent))
    layers_of = {"image": "generator", "logit": "discriminator"}
    return Network(keras.Model(latent, logit, name=name), layers_of)


def check_sides(name: str, image_shape: Sequence[int], sides: Sequence[int]) -> int:
    """Returns the side of the square image if it is one of the sizes that the networks know.

    Raises:
        DlsuiteError: it isn't.
    """
    height, width, _ = image_shape
    if height != width or height not in sides:
        listed = ", ".join(f"{side}x{side}" for side in sides)
        raise DlsuiteError(
            f"{name} makes images of {listed} pixels. Received: {height}x{width}. "
            f"Set data.image_size={min(sides, key=lambda side: abs(side - height))}."
        )
    return height


def deconvolutional_generator(
    image_shape: Sequence[int],
    *,
    latent_dim: int,
    width: int,
    stages: int,
) -> keras.Model:
    """Returns a generator of strided transposed convolutions.

    A dense layer makes width * 2^(stages - 1) maps of 1/2^stages of the image's side, rounded
    up; each 5x5 transposed convolution doubles the side (of 28 pixels: 4, 7, 14, 28) and halves
    the maps, the last makes the image. Batch normalization and ReLU after all but the last, tanh
    after that. Biases everywhere.

    Args:
        image_shape: (H, H, C).
        latent_dim: length of a latent vector.
        width: maps before the last convolution.
        stages: number of transposed convolutions.

    Source: Radford et al. 2015, arXiv:1511.06434, section 3.
    """
    side, _, channels = image_shape
    # of the maps, the image's first: halved and rounded up, as strided convolutions do it
    sides = [-(-side >> stage) for stage in range(stages + 1)]
    shape = (sides[-1], sides[-1], width << (stages - 1))
    latent = keras.Input((check_count("latent_dim", latent_dim),), name="latent", dtype="float32")
    units = shape[0] * shape[1] * shape[2]
    x = layers.Dense(units, kernel_initializer=_normal(), name="project")(latent)
    x = layers.Reshape(shape, name="project_maps")(x)
    for stage in range(1, stages + 1):
        before = "project" if stage == 1 else f"stage{stage - 1}"
        x = _batch_normalization(f"{before}_bn")(x)
        x = layers.ReLU(name=f"{before}_relu")(x)
        x = layers.Conv2DTranspose(
            channels if stage == stages else width << (stages - 1 - stage),
            5,
            strides=2,
            padding="same",
            # doubled, or one less for an odd side
            output_padding=0 if sides[stages - stage] % 2 else None,
            kernel_initializer=_normal(),
            # the image itself is float32, as losses and statistics are
            dtype="float32" if stage == stages else None,
            name=f"stage{stage}_conv",
        )(x)
    image = layers.Activation("tanh", dtype="float32", name="image")(x)
    return keras.Model(latent, image, name="generator")


def convolutional_discriminator(
    image_shape: Sequence[int],
    *,
    width: int,
    stages: int,
    normalization: str,
    is_truncated: bool,
) -> keras.Model:
    """Returns a discriminator of strided convolutions: the generator's mirror.

    5x5 convolutions of stride 2 with width, 2 width, ... maps, batch normalization after all
    but the first, leaky ReLU of slope 0.2, and a dense layer to one logit. Biases everywhere.
    Without batch normalization kernels are drawn as He et al. 2015 (arXiv:1502.01852) have it:
    the papers' deviation of 0.02 leaves the signal to be scaled by the normalization, and alone
    would shrink it tenfold in the first stage.

    Args:
        image_shape: (H, W, C).
        width: maps of the first convolution.
        stages: number of convolutions.
        normalization: ``batch``, or ``none``, which gradient penalties need.
        is_truncated: draw the convolutions' kernels from a normal truncated at 2 deviations.
    """
    check_choice("normalization", normalization, ("batch", "none"))
    is_normalized = normalization == "batch"
    of_convolution, of_dense = initializers.HeNormal, initializers.HeNormal
    if is_normalized:
        of_convolution, of_dense = (_truncated_normal if is_truncated else _normal), _normal
    image = keras.Input(tuple(image_shape), name="image", dtype="float32")
    x: KerasTensor = image
    for stage in range(1, stages + 1):
        x = layers.Conv2D(
            width << (stage - 1),
            5,
            strides=2,
            padding="same",
            kernel_initializer=of_convolution(),
            name=f"stage{stage}_conv",
        )(x)
        if stage > 1 and is_normalized:
            x = _batch_normalization(f"stage{stage}_bn")(x)
        x = LeakyReLU(0.2, name=f"stage{stage}_relu")(x)
    x = layers.Flatten(name="flat")(x)
    logit = layers.Dense(1, kernel_initializer=of_dense(), dtype="float32", name="logit")(x)
    return keras.Model(image, logit, name="discriminator")


def _normal() -> initializers.Initializer:
    """One a layer: a shared instance gives layers of one shape the same kernel."""
    return initializers.RandomNormal(stddev=_DEVIATION)


def _truncated_normal() -> initializers.Initializer:
    return initializers.TruncatedNormal(stddev=_DEVIATION)


def _batch_normalization(name: str) -> keras.Layer:
    return BatchNormalization(momentum=0.9, epsilon=_EPSILON, name=name)
