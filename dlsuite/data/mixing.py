"""Random erasing within an image; mixup and cutmix of an image and its partner."""

import numpy as np
import tensorflow as tf
from scipy.special import betaincinv

from dlsuite.data.randomness import ExampleRandom

# Streams of random numbers; see ExampleRandom.bits.
_ERASING, _LAMBDA, _PLACE = range(16, 19)
_TABLE = 4096


def erase(
    images: tf.Tensor,
    random: ExampleRandom,
    *,
    probability: float,
    value_range: tuple[float, float],
) -> tf.Tensor:
    """Returns the images, some with a rectangle set to 0 (to the nearest value in range).

    The rectangle covers 2 % to 33 % of the image with an aspect ratio of 0.3 to 3.3, drawn
    evenly on a logarithmic scale; it is clipped to the image's sides.

    Args:
        images: (B, H, W, C), float32.
        random: draws for the same examples.
        probability: that an image is erased from.
        value_range: smallest and largest value.

    Source:
        Zhong et al. 2017, arXiv:1708.04896, algorithm 1; there the place is redrawn until
        the rectangle fits, and filled with random values or a constant.
    """
    draws = random.uniform(_ERASING, 5)
    area = 0.02 + (1 / 3 - 0.02) * draws[:, 1]
    aspect = (3.3) ** (2 * draws[:, 2] - 1)
    size = tf.minimum(tf.sqrt(tf.stack([area * aspect, area / aspect], axis=1)), 1.0)
    inside = _rectangle(images.shape[1:3], size, start=draws[:, 3:] * (1 - size))
    erased = inside & (draws[:, 0] < probability)[:, None, None]
    blank = float(np.clip(0.0, *value_range))
    return tf.where(erased[..., None], blank, images)


def mixup(
    images: tf.Tensor, labels: tf.Tensor, random: ExampleRandom, *, alpha: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns lambda x_i + (1 - lambda) x_(i+1) for images and labels, B of B + 1.

    Lambda ~ Beta(alpha, alpha) is drawn for each example (the paper draws one a batch).

    Args:
        images: (B + 1, H, W, C), float32; each one's partner follows it.
        labels: (B + 1, K), float32.
        random: draws for the first B examples.
        alpha: of the Beta distribution.

    Source:
        Zhang et al. 2017, arXiv:1710.09412, equation 2.
    """
    weight = beta(random, alpha)
    wide = weight[:, None, None, None]
    mixed = wide * images[:-1] + (1 - wide) * images[1:]
    return mixed, weight[:, None] * labels[:-1] + (1 - weight[:, None]) * labels[1:]


def cutmix(
    images: tf.Tensor, labels: tf.Tensor, random: ExampleRandom, *, alpha: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns images with a rectangle of their partner's, labels mixed by area, B of B + 1.

    Lambda ~ Beta(alpha, alpha) is drawn for each example; the rectangle has the image's
    aspect ratio and the area 1 - lambda, its centre is uniform, and what sticks out is cut
    off. Labels are weighted by the pixels that were in fact replaced.

    Args:
        images: (B + 1, H, W, C), float32; each one's partner follows it.
        labels: (B + 1, K), float32.
        random: draws for the first B examples.
        alpha: of the Beta distribution.

    Source:
        Yun et al. 2019, arXiv:1905.04899, equations 1 and 2.
    """
    size = tf.sqrt(1 - beta(random, alpha))[:, None]
    start = random.uniform(_PLACE, 2) - size / 2
    inside = _rectangle(images.shape[1:3], size, start=start)
    mixed = tf.where(inside[..., None], images[1:], images[:-1])
    kept = 1 - tf.reduce_mean(tf.cast(inside, tf.float32), axis=(1, 2))[:, None]
    return mixed, kept * labels[:-1] + (1 - kept) * labels[1:]


def beta(random: ExampleRandom, alpha: float) -> tf.Tensor:
    """Returns a draw of Beta(alpha, alpha) for each example, shape (B,), float32.

    By the inverse of the distribution function, tabulated at 4,097 places and interpolated
    linearly: one uniform number gives one draw, where rejection would need an unknown number.
    """
    table = betaincinv(alpha, alpha, np.linspace(0, 1, _TABLE + 1)).astype(np.float32)
    place = random.uniform(_LAMBDA, 1)[:, 0] * _TABLE
    below = tf.cast(place, tf.int32)
    share = place - tf.cast(below, tf.float32)
    return tf.gather(table, below) * (1 - share) + tf.gather(table, below + 1) * share


def _rectangle(shape: tuple[int, int], size: tf.Tensor, *, start: tf.Tensor) -> tf.Tensor:
    """Returns which pixels have their centre in a rectangle, (B, H, W), bool.

    Size and start are (height, width) and (top, left) as fractions of the sides.
    """
    centres = [(tf.range(side, dtype=tf.float32) + 0.5) / side for side in shape]
    size = tf.broadcast_to(size, tf.shape(start))
    rows, columns = (
        (centre[None] >= start[:, axis, None]) & (centre[None] < (start + size)[:, axis, None])
        for axis, centre in enumerate(centres)
    )
    return rows[:, :, None] & columns[:, None, :]
