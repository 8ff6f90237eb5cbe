"""A metric of generated beside real images, from sums over both sets."""

from collections.abc import Mapping

import keras
import tensorflow as tf


class SetSums(keras.metrics.Metric):
    """Adds up numbers of real and of generated images, batch by batch.

    What follows from sums over examples is the same on any number of replicas.

    Args:
        name: of the metric.
        shapes: of the sums, by name; those of a set are ``count``, the number of its images, and
            these.
    """

    def __init__(self, name: str, shapes: Mapping[str, tuple[int, ...]]):
        super().__init__(name=name, dtype="float32")
        self._sums = {
            which: {
                key: self.add_variable(shape, initializer="zeros", name=f"{which}_{key}")
                for key, shape in {"count": (), **shapes}.items()
            }
            for which in ("real", "fake")
        }

    def sums(self, images: tf.Tensor, counted: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a batch's part of each sum but the count.

        Args:
            images: (B, H, W, C), float32, in the network's range.
            counted: (B,), 1 for what counts and 0 for the rest.
        """
        raise NotImplementedError

    def update_state(self, real: tf.Tensor, fake: tf.Tensor, weight: tf.Tensor) -> None:
        """Adds images to the sums.

        Args:
            real: (B, H, W, C), in the network's range.
            fake: likewise.
            weight: (B,), 0 for what does not count.
        """
        counted = tf.cast(weight > 0, tf.float32)
        for which, images in (("real", real), ("fake", fake)):
            self._sums[which]["count"].assign_add(tf.reduce_sum(counted))
            for key, part in self.sums(tf.cast(images, tf.float32), counted).items():
                self._sums[which][key].assign_add(part)

    def totals(self, which: str) -> dict[str, tf.Tensor]:
        """Returns the sums of the ``real`` or of the ``fake`` images."""
        return {name: tf.convert_to_tensor(value) for name, value in self._sums[which].items()}
