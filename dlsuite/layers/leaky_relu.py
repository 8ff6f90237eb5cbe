"""Leaky ReLU that TensorFlow can fuse with the layer before it, saved as Keras's own layer."""

import keras
import tensorflow as tf

from dlsuite.layers.stand_in import StandIn


class LeakyReLU(StandIn, keras.layers.LeakyReLU):
    """Returns x where it is positive and slope * x elsewhere; drop-in for Keras's.

    TensorFlow's gradient of a leaky ReLU reads the inputs. With oneDNN on, its graph optimizer
    fuses a convolution or matrix product, its bias and the leaky ReLU into one operation all the
    same, finds those inputs gone, says so on the terminal ("remapper failed") and leaves the whole
    graph without any fused operation. The outputs have the sign of the inputs, so this layer's
    gradient reads those: the same numbers bit for bit, to any order.

    Shapes:
        inputs: any, float16, bfloat16 or float32; outputs likewise.

    Source: Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """

    def call(self, inputs):
        return _leaky_relu(inputs, self.negative_slope)


def _leaky_relu(inputs: tf.Tensor, slope: float) -> tf.Tensor:
    @tf.custom_gradient
    def activated(x):
        y = tf.nn.leaky_relu(x, alpha=slope)
        # or a second derivative goes on, as zeros, to TensorFlow's own gradient and its inputs
        sign = tf.stop_gradient(y)

        def gradient(upstream):
            return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=sign, alpha=slope)

        return y, gradient

    return activated(inputs)
