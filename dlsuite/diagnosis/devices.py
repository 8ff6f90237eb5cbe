"""Checks that compute a little on a device and compare with known values."""

from dlsuite.diagnosis.check import Check, first_line


def arithmetic(device: str) -> Check:
    """A matrix product, a convolution and its gradient on a device, against known values.

    Args:
        device: ``CPU:0`` or ``GPU:N``.
    """
    import numpy as np
    import tensorflow as tf

    name = f"arithmetic on {device}"
    try:
        with tf.device(f"/{device}"):
            product = tf.matmul(tf.ones((64, 64)), tf.ones((64, 64)))
            kernel = tf.ones((3, 3, 2, 4))
            with tf.GradientTape() as tape:
                tape.watch(kernel)
                convolved = tf.nn.conv2d(tf.ones((1, 8, 8, 2)), kernel, 1, "VALID")
                total = tf.reduce_sum(convolved)
            gradient = tape.gradient(total, kernel)
        # TensorFlow goes to the CPU without a word where a device can't be had
        if not convolved.device.endswith(device):
            raise RuntimeError(f"computed on {convolved.device} instead")
        # 3 x 3 x 2 ones under each kernel; each weight meets 6 x 6 places. A GPU may multiply in
        # TensorFloat-32 or by Winograd's transform, good to about 1e-3.
        right = all(
            np.allclose(got.numpy(), expected, rtol=1e-3)
            for got, expected in ((product, 64), (convolved, 18), (gradient, 36))
        )
    # a library that doesn't load shows as one of many exceptions
    except Exception as error:
        remedy = "" if "CPU" in device else "pip install 'dlsuite[gpu]', or train with --device cpu"
        return Check(name, "failed", first_line(error), remedy)
    if not right:
        return Check(name, "failed", "wrong results", "Don't trust this device; try another one.")
    return Check(name, "ok", "matrix product, convolution and gradient are right")


def xla(device: str) -> Check:
    """A product compiled by XLA on a device, against its known value.

    Args:
        device: ``CPU:0`` or ``GPU:N``.
    """
    import numpy as np
    import tensorflow as tf

    name = f"XLA on {device}"
    try:
        with tf.device(f"/{device}"):
            compiled = tf.function(lambda x: tf.matmul(x, x) + 1.0, jit_compile=True)
            result = compiled(tf.ones((64, 64)))
        if not result.device.endswith(device):
            raise RuntimeError(f"computed on {result.device} instead")
        is_right = np.allclose(result.numpy(), 65, rtol=1e-3)  # 64 ones and 1; TensorFloat-32
    # what its compiler lacks, such as ptxas, shows as one of many exceptions
    except Exception as error:
        return Check(name, "warning", first_line(error), "Train with --xla off.")
    if not is_right:
        return Check(name, "warning", "wrong results", "Train with --xla off.")
    return Check(name, "ok", "compiles, and is right")
