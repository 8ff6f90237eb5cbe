"""A curve of low loss between two networks: mode connectivity.

Source: Garipov et al. 2018, arXiv:1802.10026, equations 1 and 8: a quadratic Bezier curve with the
two networks as ends, whose control point is trained on the expected loss along it.
"""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from dlsuite.analysis.landscape import Samples, Weights, floating_variables

_RATE = 1e-3


def bezier(places: np.ndarray) -> np.ndarray:
    """Returns the coefficients of (first, control, second) along the curve, (places, 3)."""
    t = np.asarray(places)
    return np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=-1)


class Curve:
    """The curve between two networks of one shape.

    The control point begins half-way and is trained by Adam on batches of the samples, at places
    drawn uniformly. Moving statistics of normalization follow the same curve and are not trained,
    so that networks with batch normalization look worse between the ends than they would with
    their statistics measured anew.

    Args:
        model: the networks' shape.
        first: weights at place 0.
        second: weights at place 1.
        samples: of training.
        seed: of places and batches.
    """

    def __init__(
        self, model: keras.Model, first: Weights, second: Weights, samples: Samples, *, seed: int
    ):
        self._model = model
        self._samples = samples
        self._ends = [tf.constant(np.stack(pair)) for pair in zip(first, second, strict=True)]
        trained = {id(variable) for variable in model.trainable_variables}
        self._control = [
            tf.Variable((a + b) / 2, trainable=id(variable) in trained)
            for a, b, variable in zip(first, second, floating_variables(model), strict=True)
        ]
        self._free = [control for control in self._control if control.trainable]
        self._optimizer = keras.optimizers.Adam(_RATE)
        self._optimizer.build(self._free)
        self._rng = np.random.default_rng(seed)
        self._update = tf.function(
            self._step, input_signature=[tf.TensorSpec((3,)), tf.TensorSpec((), tf.int32)]
        )

    def train(self, steps: int) -> Iterator[float]:
        """Trains the control point and yields the loss at each step's place."""
        batches = self._samples.images.shape[0]
        for _ in range(steps):
            place = bezier(np.array(self._rng.uniform()))
            batch = self._rng.integers(batches)
            yield float(self._update(tf.constant(place, tf.float32), tf.constant(batch, tf.int32)))

    @property
    def control(self) -> Weights:
        """The control point's weights as they stand."""
        return [control.numpy() for control in self._control]

    def _step(self, place: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        images = tf.cast(self._samples.images[batch], tf.float32)
        labels = self._samples.labels[batch]
        with tf.GradientTape() as tape:
            values = {
                id(variable): place[0] * ends[0] + place[1] * control + place[2] * ends[1]
                for variable, ends, control in zip(
                    floating_variables(self._model), self._ends, self._control, strict=True
                )
            }
            trainable, rest = (
                [values.get(id(variable), variable.value) for variable in variables]
                for variables in (
                    self._model.trainable_variables,
                    self._model.non_trainable_variables,
                )
            )
            logits, _ = self._model.stateless_call(trainable, rest, images, training=False)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, tf.cast(logits, tf.float32)
            )
            loss = tf.reduce_mean(losses)
        self._optimizer.apply(tape.gradient(loss, self._free), self._free)
        return loss
