"""Brightness, contrast, saturation and hue of a batch of images, each by its own factor."""

import tensorflow as tf

from dlsuite.data.randomness import ExampleRandom
from dlsuite.recipes.schema import Augment

# Streams of random numbers; see ExampleRandom.bits.
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(8, 12)
# ITU-R BT.601, as Pillow and TensorFlow turn RGB to grey
_LUMA = (0.299, 0.587, 0.114)


def adjust_contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns mean + factor (image - mean), with each image's mean a channel.

    Shapes:
        images: (B, H, W, C), float32. factor: (B,).
    """
    mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return mean + (images - mean) * factor[:, None, None, None]


def adjust_saturation(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns grey + factor (image - grey), grey being the pixel's luma.

    Shapes:
        images: (B, H, W, 3), float32. factor: (B,); 0 is grey, 1 the image itself.
    """
    grey = tf.reduce_sum(images * tf.constant(_LUMA), axis=-1, keepdims=True)
    return grey + (images - grey) * factor[:, None, None, None]


def adjust_hue(images: tf.Tensor, turn: tf.Tensor, value_range: tuple[float, float]) -> tf.Tensor:
    """Returns the images with their hue turned, saturation and value (HSV) as they were.

    Args:
        images: (B, H, W, 3), float32, within `value_range`.
        turn: (B,), as a fraction of the circle; 1/3 takes red to green.
        value_range: of the images.
    """
    low, high = value_range
    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv((images - low) / (high - low)), axis=-1)
    hue = tf.math.floormod(hue + turn[:, None, None], 1.0)
    turned = tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], axis=-1))
    return low + turned * (high - low)


def augment_colour(
    images: tf.Tensor,
    random: ExampleRandom,
    augment: Augment,
    value_range: tuple[float, float],
) -> tf.Tensor:
    """Returns the images with brightness, contrast, saturation and hue changed in this order.

    Values are clipped to the range after each change, so that the next finds them inside.

    Args:
        images: (B, H, W, C), float32.
        random: draws for the same examples.
        augment: how much.
        value_range: smallest and largest value.
    """
    low, high = value_range

    def drawn(stream: int, largest: float) -> tf.Tensor:
        return random.signed(stream, 1)[:, 0] * largest

    if augment.brightness:
        shift = drawn(_BRIGHTNESS, augment.brightness) * (high - low)
        images = tf.clip_by_value(images + shift[:, None, None, None], low, high)
    if augment.contrast:
        images = adjust_contrast(images, 1 + drawn(_CONTRAST, augment.contrast))
        images = tf.clip_by_value(images, low, high)
    if augment.saturation:
        images = adjust_saturation(images, 1 + drawn(_SATURATION, augment.saturation))
        images = tf.clip_by_value(images, low, high)
    if augment.hue:
        images = adjust_hue(images, drawn(_HUE, augment.hue), value_range)
        images = tf.clip_by_value(images, low, high)
    return images
