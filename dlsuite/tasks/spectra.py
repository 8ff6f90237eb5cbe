"""The azimuthally averaged power spectrum as TensorFlow operations, inside a training step."""

import numpy as np
import tensorflow as tf


class PowerSpectrum:
    """Returns ln P(k) of square images, k = 1 .. N/2 cycles a side, channels averaged.

    P(k) is the mean of |FFT|^2 / N^2 over the modes whose wave number rounds to k. It is the
    spectrum of `dlsuite.analysis.spectra` up to that module's units.

    Args:
        image_shape: (N, N, C).
    """

    def __init__(self, image_shape: tuple[int, int, int]):
        side = image_shape[0]
        ky, kx = np.fft.fftfreq(side) * side, np.fft.rfftfreq(side) * side
        radius = np.rint(np.hypot(ky[:, None], kx[None, :])).astype(int)
        # a half plane stands for both: its inner columns count twice
        weight = np.where((kx == 0) | (kx == side / 2), 1.0, 2.0) * np.ones((side, 1))
        self.num_modes = side // 2
        bins = np.zeros((radius.size, self.num_modes), np.float32)
        for k in range(1, self.num_modes + 1):
            inside = (radius == k).ravel()
            bins[inside, k - 1] = weight.ravel()[inside] / weight.ravel()[inside].sum()
        self._bins = bins
        self._area = float(side * side)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns ln P(k) of each image.

        Shapes:
            images: (B, N, N, C), float32; returns (B, N/2), float32.
        """
        planes = tf.transpose(tf.cast(images, tf.float32), [0, 3, 1, 2])
        power = tf.square(tf.abs(tf.signal.rfft2d(planes))) / self._area
        flat = tf.reshape(tf.reduce_mean(power, axis=1), [-1, self._bins.shape[0]])
        # an image of one value has no power at all
        return tf.math.log(tf.matmul(flat, tf.constant(self._bins)) + 1e-12)


def spectral_loss(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """Returns the mean over k of the squared differences of mean and deviation of ln P(k).

    Mean and deviation are those over the batch, so that both the spectrum and its scatter
    between images are asked for.

    Args:
        real: ln P(k), (B, K).
        fake: likewise.

    Source: the idea is that of github.com/vmos1/cosmogan_pytorch, there with the logarithms
        outside the means and variances in the place of deviations.
    """

    def moments(spectra: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean, variance = tf.nn.moments(spectra, axes=[0])
        return mean, tf.sqrt(variance + 1e-6)

    pairs = zip(moments(real), moments(fake), strict=True)
    return tf.add_n([tf.reduce_mean(tf.square(r - f)) for r, f in pairs])
