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
    name: str, real: tf.Tensor, fake: tf.Tensor, flip: tf.Tensor, *, smoothing: float = 0.0
) -> tf.Tensor:
    """Returns the discriminator's loss, real and fake part summed, scalar.

    Args:
        name: one of the table above.
        real: logits of real images, (B, 1).
        fake: logits of fake ones, (B, 1).
        flip: 1 where real and fake exchange their labels, else 0, (B,).
        smoothing: of the real label.
    """
    flip = flip[:, None]
    straight = _DISCRIMINATOR[name](real, fake, smoothing)
    exchanged = _DISCRIMINATOR[name](fake, real, smoothing)
    return tf.reduce_mean((1.0 - flip) * straight + flip * exchanged)


def generator_loss(name: str, fake: tf.Tensor) -> tf.Tensor:
    """Returns the generator's loss, scalar, from the logits (B, 1) of its images."""
    if name == "non_saturating":
        return tf.reduce_mean(tf.nn.softplus(-fake))
    if name == "least_squares":
        return tf.reduce_mean(tf.square(fake - 1.0)) / 2.0
    return -tf.reduce_mean(fake)


_DISCRIMINATOR: dict[str, Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]] = {
    "non_saturating": lambda r, f, e: (
        (1.0 - e) * tf.nn.softplus(-r) + e * tf.nn.softplus(r) + tf.nn.softplus(f)
    ),
    "least_squares": lambda r, f, e: (tf.square(r - 1.0 + e) + tf.square(f)) / 2.0,
    "hinge": lambda r, f, e: tf.nn.relu(1.0 - r) + tf.nn.relu(1.0 + f),
    "wasserstein": lambda r, f, e: f - r,
}


def squared_gradient(
    discriminator: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tf.Tensor:
    """Returns |dD/dx|^2 of each image, (B,): what R1 and gradient penalties are made of.

    Args:
        discriminator: images to logits.
        images: (B, H, W, C), float32.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = tf.reduce_sum(discriminator(images))
    gradient = tf.cast(tape.gradient(logits, images), tf.float32)
    return tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3])


def gradient_penalty(squared: tf.Tensor) -> tf.Tensor:
    """Returns the mean of (|dD/dx| - 1)^2, scalar.

    Args:
        squared: |dD/dx|^2 between real and fake images, (B,).

    Source: Gulrajani et al. 2017, arXiv:1704.00028, equation 3.
    """
    # the root's slope is infinite at 0
    return tf.reduce_mean(tf.square(tf.sqrt(squared + 1e-12) - 1.0))
