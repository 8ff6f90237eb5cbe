"""Batch normalization on TensorFlow's fused operation, saved as Keras's own layer."""

import keras
import tensorflow as tf

# cuDNN rejects a smaller epsilon (CUDNN_BN_MIN_EPSILON, with TensorFlow's margin)
_SMALLEST_EPSILON = 1.001e-5


class BatchNormalization(keras.layers.BatchNormalization):
    """Returns gamma (x - mean) / sqrt(variance + epsilon) + beta, a channel; drop-in for Keras's.

    Keras 3 computes the moments and the normalisation as separate operations; this layer hands
    images (rank 4, channels last) to one fused kernel for the forward and one for the backward
    pass. Weights, configuration, training and inference behaviour are those of
    `keras.layers.BatchNormalization`, and every case that the kernel does not cover (another
    rank or axis, a mask, synchronized, renorm, float64, epsilon below cuDNN's smallest) is
    computed by that class.

    A model is saved with Keras's own class in this one's place, so that the file opens where
    dlsuite is not installed. Loading it with
    ``custom_objects={"BatchNormalization": BatchNormalization}`` brings the fused layer back;
    pickling and `copy.deepcopy` give Keras's own, as a file does.

    Shapes:
        inputs: (B, H, W, C), float16, bfloat16 or float32; outputs likewise. Statistics and
        parameters are float32 in every case.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1.
    """

    # What Keras writes into a saved file. It resolves "keras.*" through its public names.
    __module__ = "keras.layers"

    def call(self, inputs, training=None, mask=None):
        if mask is not None or not self._is_fusable(inputs):
            return super().call(inputs, training=training, mask=mask)
        channels = (inputs.shape[-1],)
        gamma = self.gamma if self.scale else tf.ones(channels)
        beta = self.beta if self.center else tf.zeros(channels)
        moving_mean = keras.ops.cast(self.moving_mean, "float32")
        moving_variance = keras.ops.cast(self.moving_variance, "float32")
        is_training = bool(training) and self.trainable
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
            variance = _biased(variance, inputs)
            rate = 1.0 - self.momentum
            self.moving_mean.assign(moving_mean * self.momentum + mean * rate)
            self.moving_variance.assign(moving_variance * self.momentum + variance * rate)
        return keras.ops.cast(outputs, self.compute_dtype)

    def _is_fusable(self, inputs) -> bool:
        return (
            len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and inputs.shape[-1] is not None
            and keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16", "float32")
            and not self.synchronized
            and not self.renorm
            and self.epsilon >= _SMALLEST_EPSILON
        )

    def __reduce__(self):
        # The class that the name above stands for, or pickle finds two classes of one name.
        _, arguments = super().__reduce__()
        return keras.layers.BatchNormalization._unpickle_model, arguments


def _biased(variance: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """Undoes the factor N / (N - 1), N = B H W, that the kernel gives its variance."""
    shape = tf.shape(inputs)
    count = tf.cast(shape[0] * shape[1] * shape[2], "float32")
    # For N = 1 a kernel may return 0 times infinity; the variance of one value is 0.
    return tf.math.multiply_no_nan(variance, (count - 1.0) / count)
