"""Maxout units."""

import keras


@keras.saving.register_keras_serializable("dlsuite")
class Maxout(keras.layers.Layer):
    """Returns the largest of several affine maps of the input, a unit.

    h_i(x) = max_j (x W_ij + b_ij), j = 1..pieces: a learned convex piecewise-linear function
    in place of a fixed nonlinearity.

    Args:
        units: number of outputs.
        pieces: number of affine maps, of which each unit takes the largest.
        kernel_initializer: of all maps, drawn independently.
        bias_initializer: likewise.

    Shapes:
        inputs: (..., inputs), outputs: (..., units). The kernel has shape
        (inputs, units * pieces), the pieces of one unit side by side.

    Source: Goodfellow et al. 2013, arXiv:1302.4389, section 3.
    """

    def __init__(
        self,
        units: int,
        pieces: int = 2,
        *,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs,
    ):
        if units < 1 or pieces < 1:
            raise ValueError(
                f"units and pieces must be at least 1. Received: units={units}, pieces={pieces}"
            )
        super().__init__(**kwargs)
        self.units = units
        self.pieces = pieces
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def build(self, input_shape):
        inputs, outputs = input_shape[-1], self.units * self.pieces
        self.kernel = self.add_weight(
            name="kernel", shape=(inputs, outputs), initializer=self.kernel_initializer
        )
        self.bias = self.add_weight(
            name="bias", shape=(outputs,), initializer=self.bias_initializer
        )

    def call(self, inputs):
        maps = keras.ops.matmul(inputs, self.kernel) + self.bias  # (..., units * pieces)
        shape = (*keras.ops.shape(maps)[:-1], self.units, self.pieces)
        return keras.ops.max(keras.ops.reshape(maps, shape), axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "pieces": self.pieces,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
