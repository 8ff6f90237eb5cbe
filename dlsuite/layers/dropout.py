"""Dropout whose masks XLA draws as fast as TensorFlow does, saved as Keras's own layer."""

import keras
import tensorflow as tf

from dlsuite.layers.stand_in import StandIn


class Dropout(StandIn, keras.layers.Dropout):
    """Returns the inputs with a fraction set to 0 and the others scaled up; drop-in for Keras's.

    Keras leaves the random generator to TensorFlow, and what XLA then takes on a CPU is some
    thirty times slower than Philox, which TensorFlow takes without XLA. This layer asks for
    Philox in either case: without XLA its masks are bit for bit those of `keras.layers.Dropout`.

    Shapes:
        inputs: any, float16, bfloat16 or float32; outputs likewise.

    Source: Srivastava et al. 2014, JMLR 15:1929; generator: Salmon et al. 2011,
        doi:10.1145/2063384.2063405.
    """

    def call(self, inputs, training=False):
        if not training or self.rate in (0, 1) or self.noise_shape is not None:
            return super().call(inputs, training=training)
        seed = self.seed_generator.next()
        if seed.dtype != tf.int32:
            # as Keras does: the operation takes 32 bits, the state may have 64
            seed = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
        return tf.nn.experimental.stateless_dropout(
            inputs, rate=self.rate, seed=seed, rng_alg="philox"
        )
