"""How far generated images are from real ones, from sums that batches add to."""

import numpy as np
import tensorflow as tf

from dlsuite.tasks.set_sums import SetSums
from dlsuite.tasks.spectra import PowerSpectrum

_BINS = 512


class Distances(SetSums):
    """Distances between the pixels and the spectra of generated and of real images.

    The result is a dictionary:

    - ``pixel_distance``: 1-Wasserstein distance of the pixel values in units of the real
      standard deviation, on 512 bins from -1 to 1.
    - ``pixel_ks``: largest difference between the cumulative distributions of pixel values.
    - ``std_ratio``: generated over real standard deviation of the pixels.
    - ``spectrum_distance``: sqrt(mean over k of (m - m')^2 + (s - s')^2), with mean m and deviation
      s over the images of ln P(k) [nat]: the 2-Wasserstein distance of the mode's log-power,
      were it Gaussian.
    - ``diversity``: deviation between images, averaged over pixels, generated over real. A
      generator that makes one image has 0.
    - ``distance``: root of the sum of the squares of pixel and spectrum distance. It chooses
      the best epoch.

    Args:
        image_shape: (N, N, C).
    """

    # those that are best where they are smallest; of the others 1 is best
    ordered = ("distance", "pixel_distance", "pixel_ks", "spectrum_distance")

    def __init__(self, image_shape: tuple[int, int, int]):
        self._spectrum = PowerSpectrum(image_shape)
        modes, pixels = self._spectrum.num_modes, int(np.prod(image_shape))
        shapes = {
            "histogram": (_BINS,),
            "power": (modes,),
            "power2": (modes,),
            "pixel": (pixels,),
            "pixel2": (pixels,),
        }
        super().__init__("distances", shapes)

    def sums(self, images: tf.Tensor, counted: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a batch's histogram, and sums of log-power, pixels and their squares."""
        flat = tf.reshape(images, [tf.shape(images)[0], -1])
        spectra = self._spectrum(images)
        return {
            "histogram": _histogram(flat, counted),
            "power": tf.linalg.matvec(spectra, counted, transpose_a=True),
            "power2": tf.linalg.matvec(tf.square(spectra), counted, transpose_a=True),
            "pixel": tf.linalg.matvec(flat, counted, transpose_a=True),
            "pixel2": tf.linalg.matvec(tf.square(flat), counted, transpose_a=True),
        }

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the distances by name."""
        real, fake = (self._moments(which) for which in ("real", "fake"))
        gap = tf.abs(tf.cumsum(real["histogram"]) - tf.cumsum(fake["histogram"]))
        wasserstein = tf.reduce_sum(gap) * (2.0 / _BINS) / real["deviation"]
        spectrum = tf.sqrt(
            tf.reduce_mean(
                tf.square(real["power"] - fake["power"])
                + tf.square(real["scatter"] - fake["scatter"])
            )
        )
        return {
            "pixel_ks": tf.reduce_max(gap),
            "std_ratio": fake["deviation"] / real["deviation"],
            "pixel_distance": wasserstein,
            "spectrum_distance": spectrum,
            "diversity": fake["spread"] / real["spread"],
            "distance": tf.sqrt(tf.square(wasserstein) + tf.square(spectrum)),
        }

    def _moments(self, which: str) -> dict[str, tf.Tensor]:
        sums = self.totals(which)
        count = tf.maximum(sums["count"], 1.0)
        power, pixel = sums["power"] / count, sums["pixel"] / count
        square = sums["pixel2"] / count
        return {
            "histogram": sums["histogram"] / tf.maximum(tf.reduce_sum(sums["histogram"]), 1.0),
            "power": power,
            "scatter": _root(sums["power2"] / count - tf.square(power)),
            "deviation": _root(tf.reduce_mean(square) - tf.square(tf.reduce_mean(pixel))),
            "spread": tf.reduce_mean(_root(square - tf.square(pixel))),
        }


def _histogram(flat: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    """Counts of pixel values in bins from -1 to 1; what is beyond lies in the outermost."""
    bins = tf.cast(tf.floor((flat + 1.0) * (_BINS / 2)), tf.int32)
    bins = tf.clip_by_value(bins, 0, _BINS - 1)
    weights = tf.broadcast_to(counted[:, None], tf.shape(flat))
    # of the operations that count, the one that compiles with XLA and that a GPU can repeat
    return tf.math.unsorted_segment_sum(
        tf.reshape(weights, [-1]), tf.reshape(bins, [-1]), num_segments=_BINS
    )


def _root(variance: tf.Tensor) -> tf.Tensor:
    # rounding can bring the difference of two sums below 0; a floor keeps ratios finite
    return tf.sqrt(tf.maximum(variance, 1e-12))
