"""Images from a trained generator: each a function of (seed, index) alone."""

import math
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from scipy.special import ndtr, ndtri

from dlsuite.data import latents
from dlsuite.errors import DlsuiteError


class Sampler:
    """A generator that makes image number i of a seed, in stored units, always the same.

    Args:
        generator: latent (B, latent_dim) to images as stored.
        seed: 0 to 2^32 - 1.
        truncation: latents are drawn from a normal cut off at this many deviations, which gives
            more typical and less varied images; None cuts nothing.
        batch_size: images a compiled call. Other sizes may change the last bits.

    Raises:
        DlsuiteError: a truncation that is not positive.
    """

    def __init__(
        self,
        generator: keras.Model,
        *,
        seed: int = 0,
        truncation: float | None = None,
        batch_size: int = 64,
    ):
        if truncation is not None and not truncation > 0:
            raise DlsuiteError(
                "Latents are cut off at a positive number of deviations. Received: "
                f"{truncation:g}. Use for example 1.5."
            )
        self.latent_dim = generator.input_shape[-1]
        self.image_shape = tuple(generator.output_shape[1:])
        self.batch_size = batch_size
        self.seed = seed
        self._truncation = truncation
        self._generate = tf.function(lambda z: generator(z, training=False), autograph=False)

    def latents(self, start: int, stop: int) -> np.ndarray:
        """Returns the latent vectors of the images start to stop - 1, (stop - start, D)."""
        return self.truncated(self.normals(start, stop))

    def normals(self, start: int, stop: int) -> np.ndarray:
        """Returns the same before they are cut off: standard normal."""
        position = tf.range(start, stop, dtype=tf.int64)
        return latents.latents(
            self.seed, tf.constant(0), position, self.latent_dim, stream=latents.SAMPLES
        ).numpy()

    def truncated(self, normal: np.ndarray) -> np.ndarray:
        """Returns standard normal values moved, in their order, within the truncation."""
        if self._truncation is None:
            return normal
        low = ndtr(-self._truncation)
        inside = ndtri(low + ndtr(normal.astype(np.float64)) * (1 - 2 * low))
        return inside.astype(np.float32)

    def images(self, latent: np.ndarray) -> np.ndarray:
        """Returns the images of latent vectors, (B, H, W, C), float32, in stored units."""
        parts = []
        for start in range(0, len(latent), self.batch_size):
            chunk = latent[start : start + self.batch_size]
            missing = self.batch_size - len(chunk)
            # one shape for all calls: the same arithmetic in whatever company an image comes
            padded = np.concatenate([chunk, np.zeros((missing, self.latent_dim), np.float32)])
            parts.append(self._generate(padded).numpy()[: len(chunk)])
        return np.concatenate(parts)

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yields the images start to stop - 1, at most a batch at a time."""
        for first in range(start, stop, self.batch_size):
            yield self.images(self.latents(first, min(first + self.batch_size, stop)))


def great_circle(first: np.ndarray, second: np.ndarray, frames: int) -> Iterator[np.ndarray]:
    """Yields latents on the circle through two of them, once around: cos(t) a + sin(t) b.

    Every point is standard normal where both are. The frame after the last would be the first.

    Args:
        first: a, (B, D).
        second: b, (B, D).
        frames: how many, evenly spaced.
    """
    for number in range(frames):
        angle = 2 * math.pi * number / frames
        yield (math.cos(angle) * first + math.sin(angle) * second).astype(np.float32)


def smooth_loop(
    count: int, latent_dim: int, frames: int, *, width: float, seed: int
) -> Iterator[np.ndarray]:
    """Yields latents on closed random curves: noise over frames, smoothed around the loop.

    Smoothed by a Gaussian and scaled back to unit variance, as progressive GANs' videos are.

    Args:
        count: curves.
        latent_dim: D.
        frames: in the loop.
        width: deviation of the Gaussian [frames].
        seed: of the noise.

    Source: Karras et al. 2018, arXiv:1710.10196, the videos of its code.
    """
    noise = np.random.RandomState(seed).standard_normal((frames, count * latent_dim))
    rate = np.fft.rfftfreq(frames)
    kept = np.exp(-2 * (math.pi * width * rate) ** 2)
    curve = np.fft.irfft(np.fft.rfft(noise, axis=0) * kept[:, None], n=frames, axis=0)
    curve = (curve / np.sqrt(np.mean(curve**2))).astype(np.float32)
    yield from curve.reshape(frames, count, latent_dim)
