"""Keras's RandAugment as a pure function of (seed, epoch, example)."""

from functools import partial

import keras
import tensorflow as tf

from dlsuite.data.randomness import ExampleRandom

# Stream of random numbers; see ExampleRandom.bits.
_SEEDS = 24


class ExampleSeed(keras.random.SeedGenerator):
    """A seed generator without a state: its n-th seed is a hash of (key, n).

    Keras's layers ask their generator for a seed at each draw, always in the same order, so
    counting the draws from the last `reset` on gives each its own.
    """

    def __init__(self):
        # Keras's constructor would make a variable, and a variable is a state that threads
        # share; `isinstance` is all that the layers need of the base class.
        self._key = None
        self._draws = 0

    def reset(self, key: tf.Tensor) -> None:
        """Starts the sequence of one example anew; `key` has shape (2,), uint32."""
        self._key = key
        self._draws = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """Returns the next seed, shape (2,), uint32."""
        self._draws += 1
        return self._key + tf.constant([0, self._draws], tf.uint32)


class RandAugment:
    """Applies `keras.layers.RandAugment` to each image of a batch with its own draws.

    Args:
        operations: number of operations an image.
        magnitude: their strength, 0 to 1.
        value_range: smallest and largest value of the images.

    Source:
        Cubuk et al. 2019, arXiv:1909.13719, with the eleven operations of Keras.
    """

    def __init__(self, *, operations: int, magnitude: float, value_range: tuple[float, float]):
        # Keras's Solarization adds multiples of 255 whatever the range it is told, so images
        # are brought to 0..255 around the layer.
        self._layer = keras.layers.RandAugment(
            value_range=(0, 255), num_ops=operations, factor=magnitude, seed=0
        )
        self._seed = ExampleSeed()
        self._layer.generator = self._seed
        self._low, high = value_range
        self._unit = (high - self._low) / 255

    def __call__(self, images: tf.Tensor, random: ExampleRandom) -> tf.Tensor:
        """Returns the changed images, (B, H, W, C) with C 1 or 3, float32."""
        channels = images.shape[-1]
        scaled = (images - self._low) / self._unit
        # Keras's colour degeneration takes RGB only; equal channels stay equal
        scaled = tf.repeat(scaled, 3, axis=-1) if channels == 1 else scaled
        changed = tf.map_fn(
            self._change_one,
            (scaled, random.bits(_SEEDS, 2)),
            fn_output_signature=tf.TensorSpec(scaled.shape[1:], tf.float32),
        )
        return self._low + tf.clip_by_value(changed[..., :channels], 0, 255) * self._unit

    def _change_one(self, example: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, key = example
        self._seed.reset(key)
        image = image[None]
        drawn = self._layer.get_random_transformation(image, training=True)

        def operation(name: str, image: tf.Tensor) -> tf.Tensor:
            layer = getattr(self._layer, name)
            return layer.transform_images(image, drawn["transforms"][name], training=True)

        # The layer's own transform_images computes all eleven operations and keeps one.
        for choice in tf.unstack(drawn["layer_idxes"]):
            branches = [partial(operation, name, image) for name in drawn["transforms"]]
            image = tf.ensure_shape(tf.switch_case(choice, branches), image.shape)
        return image[0]
