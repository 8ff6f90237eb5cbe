"""Batch normalization on TensorFlow's fused operation, saved as Keras's own layer."""

import keras
import tensorflow as tf

from dlsuite.layers.stand_in import StandIn

# cuDNN rejects a smaller epsilon (CUDNN_BN_MIN_EPSILON, with TensorFlow's margin)
_SMALLEST_EPSILON = 1.001e-5


class BatchNormalization(StandIn, keras.layers.BatchNormalization):
    """Returns gamma (x - mean) / sqrt(variance + epsilon) + beta, a channel; drop-in for Keras's.

    Keras 3 computes the moments and the normalisation as separate operations; this layer hands
    images (rank 4, channels last) to one fused kernel for the forward and one for the backward
    pass. Weights, configuration, training and inference behaviour are those of
    `keras.layers.BatchNormalization`, and every case that the kernel does not cover (another
    rank or axis, a mask, renorm, float64, epsilon below cuDNN's smallest) is computed by that
    class.

    With ``synchronized``, several replicas normalise by the moments of the whole batch, at the
    price of one sum over the replicas forward and one backward (Keras takes three each way).

    A model is saved with Keras's own class in this one's place (`StandIn`). Loading it with
    ``custom_objects={"BatchNormalization": BatchNormalization}`` brings the fused layer back.

    Shapes:
        inputs: (B, H, W, C), float16, bfloat16 or float32; outputs likewise. Statistics and
        parameters are float32 in every case.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1.
    """

    def call(self, inputs, training=None, mask=None):
        is_training = bool(training) and self.trainable
        if is_training and self._is_shared(inputs) and mask is None:
            return self._normalize_over_replicas(inputs)
        if mask is not None or not self._is_fusable(inputs):
            return super().call(inputs, training=training, mask=mask)
        channels = (inputs.shape[-1],)
        gamma = self.gamma if self.scale else tf.ones(channels)
        beta = self.beta if self.center else tf.zeros(channels)
        moving_mean = keras.ops.cast(self.moving_mean, "float32")
        moving_variance = keras.ops.cast(self.moving_variance, "float32")
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=keras.ops.cast(gamma, "float32"),
            offset=keras.ops.cast(beta, "float32"),
            mean=tf.zeros((0,)) if is_training else moving_mean,
            variance=tf.zeros((0,)) if is_training else moving_variance,
            epsilon=self.epsilon,
            is_training=is_training,
        )
        if is_training:
            self._follow(mean, _biased(variance, inputs))
        return keras.ops.cast(outputs, self.compute_dtype)

    def _normalize_over_replicas(self, inputs):
        """Normalises by the moments over all replicas' inputs."""
        inputs = keras.ops.cast(inputs, "float32")
        about = keras.ops.cast(self.moving_mean, "float32")
        # one step that overflowed must not spoil all that follow
        about = tf.where(tf.math.is_finite(about), about, 0.0)
        mean, variance = _moments_over_replicas(inputs, self.axis, about)
        self._follow(mean, variance)
        outputs = keras.ops.batch_normalization(
            inputs,
            mean,
            variance,
            axis=self.axis,
            offset=keras.ops.cast(self.beta, "float32") if self.center else None,
            scale=keras.ops.cast(self.gamma, "float32") if self.scale else None,
            epsilon=self.epsilon,
        )
        return keras.ops.cast(outputs, self.compute_dtype)

    def _follow(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Moves the moving statistics towards those of a batch."""
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            before = keras.ops.cast(moving, "float32")
            moving.assign(before * self.momentum + value * (1.0 - self.momentum))

    def _is_fusable(self, inputs) -> bool:
        return (
            len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and inputs.shape[-1] is not None
            and keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16", "float32")
            and not self.renorm
            and self.epsilon >= _SMALLEST_EPSILON
        )

    def _is_shared(self, inputs) -> bool:
        """Whether the moments are to be those over several replicas."""
        return (
            self.synchronized
            and not self.renorm
            and keras.backend.standardize_dtype(inputs.dtype) != "float64"
            and tf.distribute.get_strategy().num_replicas_in_sync > 1
            and not tf.distribute.in_cross_replica_context()
        )


def _biased(variance: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """Undoes the factor N / (N - 1), N = B H W, that the kernel gives its variance."""
    shape = tf.shape(inputs)
    count = tf.cast(shape[0] * shape[1] * shape[2], "float32")
    # For N = 1 a kernel may return 0 times infinity; the variance of one value is 0.
    return tf.math.multiply_no_nan(variance, (count - 1.0) / count)


def _moments_over_replicas(
    inputs: tf.Tensor, axis: int, about: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of a channel over all replicas' inputs, (C,) each.

    From the sums of the deviations from `about`, a value a channel that all replicas share, and
    of their squares: near the mean, little cancels, and as much as in Keras's own sums while
    `about` has not reached it. All travel in one sum, and so do their gradients: TensorFlow matches
    the replicas' sums by the order in which each replica makes them, which is that of the layers
    forward and of the gradient's tape backward.
    """
    rank = len(inputs.shape)
    axes = [number for number in range(rank) if number != axis % rank]
    along = [-1 if number == axis % rank else 1 for number in range(rank)]
    deviations = inputs - tf.reshape(about, along)
    total = tf.reduce_sum(deviations, axes)
    count = tf.cast(tf.size(inputs) // tf.size(total), "float32")
    parts = [total, tf.reduce_sum(tf.square(deviations), axes), count[None]]
    context = tf.distribute.get_replica_context()
    whole = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.concat(parts, axis=0))
    total, squares, count = tf.split(whole, [about.shape[0], about.shape[0], 1])
    mean = total / count
    # rounding must not make it negative
    return about + mean, tf.maximum(squares / count - tf.square(mean), 0.0)
