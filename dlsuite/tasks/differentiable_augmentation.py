"""Random changes of all that a discriminator sees, through which gradients reach the generator."""

import tensorflow as tf

# Numbers drawn an image: two of its translation, two of its cutout.
NUMBERS = 4


def augmented(
    images: tf.Tensor, uniform: tf.Tensor, *, translation: float, cutout: float
) -> tf.Tensor:
    """Returns images moved and with a square blotted out, both with 0.

    Real and generated images are changed alike, so that a discriminator can't learn few real
    images by heart, and the generator doesn't learn to make changed ones.

    Args:
        images: (B, H, W, C), in -1 to 1.
        uniform: numbers in 0 to 1, (B, 4), from which the changes follow.
        translation: largest shift, as a share of the side; whole pixels.
        cutout: side of the square, as a share of the image's; its centre may lie anywhere.

    Source: Zhao et al. 2020, arXiv:2006.10738, section 3.2, without the changes of colour.
    """
    height, width = images.shape[1:3]
    if translation:
        images = _moved(images, 1, _whole(uniform[:, 0], round(translation * height)))
        images = _moved(images, 2, _whole(uniform[:, 1], round(translation * width)))
    if cutout:
        rows = _hit(uniform[:, 2], height, round(cutout * height))
        columns = _hit(uniform[:, 3], width, round(cutout * width))
        images *= 1.0 - (rows[:, :, None] * columns[:, None, :])[..., None]
    return images


def _whole(uniform: tf.Tensor, most: int) -> tf.Tensor:
    """Whole numbers from -most to most, all equally likely."""
    return tf.cast(tf.floor(uniform * (2 * most + 1)), tf.int32) - most


def _moved(images: tf.Tensor, axis: int, shift: tf.Tensor) -> tf.Tensor:
    side = images.shape[axis]
    source = tf.range(side) - shift[:, None]
    inside = tf.cast((source >= 0) & (source < side), images.dtype)
    found = tf.gather(images, tf.clip_by_value(source, 0, side - 1), axis=axis, batch_dims=1)
    return found * (inside[:, :, None, None] if axis == 1 else inside[:, None, :, None])


def _hit(uniform: tf.Tensor, side: int, size: int) -> tf.Tensor:
    """1 for the places within an interval of that size around a random place, (B, side)."""
    start = tf.cast(tf.floor(uniform * side), tf.int32)[:, None] - size // 2
    place = tf.range(side)
    return tf.cast((place >= start) & (place < start + size), tf.float32)
