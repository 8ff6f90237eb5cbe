"""Random changes of training images: drawn per example, applied to the batch."""

import functools
from collections.abc import Callable

import tensorflow as tf

from dlsuite.data.colour import augment_colour
from dlsuite.data.geometry import augment_geometry
from dlsuite.data.mixing import cutmix, erase, mixup
from dlsuite.data.rand_augment import RandAugment
from dlsuite.data.randomness import ExampleRandom
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Augment

# Takes images, labels and draws, returns images and labels.
Augmenter = Callable[[tf.Tensor, tf.Tensor, ExampleRandom], tuple[tf.Tensor, tf.Tensor]]


def mixes(augment: Augment) -> bool:
    """Whether an example needs a partner."""
    return bool(augment.mixup or augment.cutmix)


# Compiling takes half a second, and what is compiled is never freed: all seeds share it.
@functools.lru_cache(maxsize=16)
def augmenter(
    augment: Augment,
    *,
    image_shape: tuple[int, int, int],
    value_range: tuple[float, float],
) -> Augmenter:
    """Returns the function that changes a batch as `augment` says.

    Order: geometry, RandAugment, colour, random erasing, mixup or cutmix. What is off adds
    no operation, so that images pass bit for bit. Each example's changes depend on the seed,
    the epoch and the example alone.

    The function takes images (B, H, W, C), uint8 or float32, labels (B, K), float32, and draws
    for the same examples; it returns float32 images within `value_range`. With mixup or cutmix
    it takes B + 1 examples, each followed by its partner, and returns B.

    Args:
        augment: what to do.
        image_shape: (H, W, C).
        value_range: smallest and largest value of the images.

    Raises:
        DlsuiteError: an augmentation that images of this shape don't have.
    """
    check_augment(augment, image_shape)

    def change_places(
        images: tf.Tensor, labels: tf.Tensor, random: ExampleRandom
    ) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.cast(augment_geometry(images, random, augment), tf.float32)
        # What lies outside the image is 0, which data of another range doesn't have.
        if not value_range[0] <= 0 <= value_range[1]:
            images = tf.clip_by_value(images, *value_range)
        return images, labels

    def change_values(
        images: tf.Tensor, labels: tf.Tensor, random: ExampleRandom
    ) -> tuple[tf.Tensor, tf.Tensor]:
        images = augment_colour(images, random, augment, value_range)
        if augment.random_erasing:
            images = erase(
                images, random, probability=augment.random_erasing, value_range=value_range
            )
        if mixes(augment):
            ahead = ExampleRandom(random.seed, random.epoch, random.index[:-1])
            if augment.mixup:
                return mixup(images, labels, ahead, alpha=augment.mixup)
            return cutmix(images, labels, ahead, alpha=augment.cutmix)
        return images, labels

    if augment == Augment():
        return lambda images, labels, random: (tf.cast(images, tf.float32), labels)
    if not augment.rand_augment:
        return _compiled(
            lambda images, labels, random: change_values(
                *change_places(images, labels, random), random
            )
        )
    places, values = _compiled(change_places), _compiled(change_values)
    rand_augment = RandAugment(
        operations=augment.rand_augment,
        magnitude=augment.rand_augment_magnitude,
        value_range=value_range,
    )

    def apply(
        images: tf.Tensor, labels: tf.Tensor, random: ExampleRandom
    ) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = places(images, labels, random)
        return values(rand_augment(images, random), labels, random)

    return apply


def _compiled(change: Augmenter) -> Augmenter:
    """Returns the same by XLA, which makes one or two passes over the images of many: two to six
    times as fast on a CPU."""

    @tf.function(jit_compile=True, autograph=False)
    def compiled(images, labels, seed, epoch, index):
        return change(images, labels, ExampleRandom(seed, epoch, index))

    return lambda images, labels, random: compiled(
        images, labels, tf.convert_to_tensor(random.seed, tf.uint32), random.epoch, random.index
    )


def check_augment(augment: Augment, image_shape: tuple[int, int, int]) -> None:
    """Checks that images of a shape (H, W, C) can be changed as `augment` says.

    Raises:
        DlsuiteError: they can't.
    """
    height, width, channels = image_shape
    if augment.crop_padding >= min(height, width):
        raise DlsuiteError(
            "Padding must be smaller than the image, or crops could miss it. Received: "
            f"data.augment.crop_padding={augment.crop_padding} for images of {width}x{height}. "
            f"Set it to at most {min(height, width) - 1}; 4 is usual for 32x32."
        )
    for field in ("saturation", "hue"):
        if getattr(augment, field) and channels != 3:
            raise DlsuiteError(
                f"{field.capitalize()} is a property of RGB images. Received: "
                f"data.augment.{field}={getattr(augment, field)} for images of {channels} "
                f"{'channel' if channels == 1 else 'channels'}. Set it to 0."
            )
    if augment.rand_augment and channels not in (1, 3):
        raise DlsuiteError(
            "RandAugment takes grey or RGB images. Received: "
            f"data.augment.rand_augment={augment.rand_augment} for images of {channels} channels. "
            "Set it to 0."
        )
