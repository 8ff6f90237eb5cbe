"""The deep convolutional GAN."""

from collections.abc import Sequence

import keras

from dlsuite.models.adversaries import (
    check_sides,
    convolutional_discriminator,
    deconvolutional_generator,
)
from dlsuite.models.checks import check_count

ENTRIES = [
    {
        "name": "dcgan",
        "task": "gan",
        "description": "generator and discriminator of strided convolutions, 28, 32 or 64 px",
        "source": "Radford et al. 2015, arXiv:1511.06434, section 3",
        "image_shape": (64, 64, 3),
        "smallest_image": 28,
        # generator: dense, transposed convolutions, batch normalization; then the discriminator
        "parameters": (
            "(100*4*4*512 + 4*4*512) + (5*5*512*256 + 256) + (5*5*256*128 + 128)"
            " + (5*5*128*64 + 64) + (5*5*64*3 + 3) + 2*(512 + 256 + 128 + 64)"
            " + (5*5*3*64 + 64) + (5*5*64*128 + 128) + (5*5*128*256 + 256)"
            " + (5*5*256*512 + 512) + 2*(128 + 256 + 512) + (4*4*512 + 1)"
        ),
    },
]
# transposed convolutions, by the image's side
_STAGES = {28: 3, 32: 3, 64: 4}


def dcgan(
    image_shape: Sequence[int],
    *,
    latent_dim: int = 100,
    width: int = 64,
    normalization: str = "batch",
) -> dict[str, keras.Model]:
    """Returns generator and discriminator for images of 28, 32 or 64 px.

    The paper's networks have 5x5 kernels, twice the maps at 64 px, no biases beside batch
    normalization and uniform latents; these have biases and normal latents, as the code that
    CosmoGAN is built on.

    Args:
        image_shape: (H, W, C).
        latent_dim: length of a latent vector.
        width: maps next to the image; each stage away from it has twice as many.
        normalization: of the discriminator, ``batch`` or ``none``, which gradient penalties need.

    Raises:
        DlsuiteError: another size, or an option outside its range.

    Source: Radford et al. 2015, arXiv:1511.06434, section 3.
    """
    stages = _STAGES[check_sides("dcgan", image_shape, tuple(_STAGES))]
    shared = {
        "width": check_count("width", width),
        "stages": stages,
    }
    return {
        "generator": deconvolutional_generator(image_shape, latent_dim=latent_dim, **shared),
        "discriminator": convolutional_discriminator(
            image_shape, normalization=normalization, is_truncated=False, **shared
        ),
    }
