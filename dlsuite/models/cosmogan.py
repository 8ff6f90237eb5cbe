"""CosmoGAN: convergence maps of weak gravitational lensing."""

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
        "name": "cosmogan",
        "task": "gan",
        "description": "generator and discriminator of lensing maps, 64, 128 or 256 px",
        "source": "Mustafa et al. 2017, arXiv:1706.02390; layers as in the authors' code",
        "image_shape": (256, 256, 1),
        "smallest_image": 64,
        # generator: 12,824,449; discriminator: 4,436,225
        "parameters": (
            "(64*16*16*512 + 16*16*512) + (5*5*512*256 + 256) + (5*5*256*128 + 128)"
            " + (5*5*128*64 + 64) + (5*5*64*1 + 1) + 2*(512 + 256 + 128 + 64)"
            " + (5*5*1*64 + 64) + (5*5*64*128 + 128) + (5*5*128*256 + 256)"
            " + (5*5*256*512 + 512) + 2*(128 + 256 + 512) + (16*16*512 + 1)"
        ),
    },
]
_STAGES = 4


def cosmogan(
    image_shape: Sequence[int],
    *,
    latent_dim: int = 64,
    width: int = 64,
    normalization: str = "batch",
) -> dict[str, keras.Model]:
    """Returns generator and discriminator of convergence maps.

    Four stages whatever the size, so that at 64 px the generator begins with 4x4 maps and at
    256 px with 16x16. With the defaults the trainable parameters at 256 px are 12,824,449 and
    4,436,225. The authors' epsilon of batch normalization is 1e-5, here 1.001e-5, the smallest
    that the fused kernel takes.

    Args:
        image_shape: (H, W, C).
        latent_dim: length of a latent vector.
        width: maps next to the image; each stage away from it has twice as many.
        normalization: of the discriminator, ``batch`` or ``none``, which gradient penalties need.

    Raises:
        DlsuiteError: another size, or an option outside its range.

    Source: Mustafa et al. 2017, arXiv:1706.02390; github.com/MustafaMustafa/cosmoGAN.
    """
    check_sides("cosmogan", image_shape, (64, 128, 256))
    shared = {
        "width": check_count("width", width),
        "stages": _STAGES,
    }
    return {
        "generator": deconvolutional_generator(image_shape, latent_dim=latent_dim, **shared),
        "discriminator": convolutional_discriminator(
            image_shape, normalization=normalization, is_truncated=True, **shared
        ),
    }
