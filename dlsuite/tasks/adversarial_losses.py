"""What a generator and a discriminator minimise, from the discriminator's logits in float32.

r are the logits of real images, f those of fake ones. Every loss is a mean over the batch.

====================  ==============================================  ==================
name                  discriminator                                   generator
====================  ==============================================  ==================
``non_saturating``    (1-e) softplus(-r) + e softplus(r) + softplus(f)  softplus(-f)
``least_squares``     (r - 1 + e)^2 / 2 + f^2 / 2                     (f - 1)^2 / 2
``hinge``             max(0, 1 - r) + max(0, 1 + f)                   -f
``wasserstein``       f - r                                           -f
====================  ==============================================  ==================

with e the smoothing of the real label. Sources: arXiv:1406.2661 section 3, arXiv:1611.04076
equation 9, arXiv:1705.02894 section 3.2, arXiv:1701.07875 equation 2.
"""

from collections.abc import Callable

import tensorflow as tf


def discriminator_loss(
    name: str, logits: tf.Tensor, *, is_real: bool, flip: tf.Tensor, smoothing: float = 0.0
) -> tf.Tensor:
    """Returns the real or the fake part of the discriminator's loss, scalar.

    Args:
        name: one of the table above.
        logits: of images of one kind, (B, 1).
        is_real: which kind.
        flip: 1 where real and fake exchange their labels, else 0, (B,).
        smoothing: of the real label.
    """
    as_real, as_fake = (part(logits, smoothing) for part in _DISCRIMINATOR[name])
    right, wrong = (as_real, as_fake) if is_real else (as_fake, as_real)
    flip = flip[:, None]
    return tf.reduce_mean((1.0 - flip) * right + flip * wrong)


def generator_loss(name: str, fake: tf.Tensor) -> tf.Tensor:
    """Returns the generator's loss, scalar, from the logits (B, 1) of its images."""
    if name == "non_saturating":
        return tf.reduce_mean(tf.nn.softplus(-fake))
    if name == "least_squares":
        return tf.reduce_mean(tf.square(fake - 1.0)) / 2.0
    return -tf.reduce_mean(fake)


# Losses without a label that could be smoothed.
UNLABELLED = ("hinge", "wasserstein")
# Between the logits of what is taken for real and for generated; a critic's have no such place.
BOUNDARY = {"non_saturating": 0.0, "least_squares": 0.5, "hinge": 0.0}

_Part = Callable[[tf.Tensor, float], tf.Tensor]
# of images that are called real, and of those called fake
_DISCRIMINATOR: dict[str, tuple[_Part, _Part]] = {
    "non_saturating": (
        lambda r, e: (1.0 - e) * tf.nn.softplus(-r) + e * tf.nn.softplus(r),
        lambda f, e: tf.nn.softplus(f),
    ),
    "least_squares": (
        lambda r, e: tf.square(r - 1.0 + e) / 2.0,
        lambda f, e: tf.square(f) / 2.0,
    ),
    "hinge": (lambda r, e: tf.nn.relu(1.0 - r), lambda f, e: tf.nn.relu(1.0 + f)),
    "wasserstein": (lambda r, e: -r, lambda f, e: f),
}


def squared_gradient(
    discriminator: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns logits D(x), (B, 1), and |dD/dx|^2 of each image, (B,): R1's and penalties' matter.

    Args:
        discriminator: images to logits.
        images: (B, H, W, C), float32.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = discriminator(images)
        total = tf.reduce_sum(logits)
    gradient = tf.cast(tape.gradient(total, images), tf.float32)
    return logits, tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3])


def gradient_penalty(squared: tf.Tensor) -> tf.Tensor:
    """Returns the mean of (|dD/dx| - 1)^2, scalar.

    Args:
        squared: |dD/dx|^2 between real and fake images, (B,).

    Source: Gulrajani et al. 2017, arXiv:1704.00028, equation 3.
    """
    # the root's slope is infinite at 0
    return tf.reduce_mean(tf.square(tf.sqrt(squared + 1e-12) - 1.0))
