"""What is changed when a picture is optimised: pixels, Fourier coefficients, or phases alone."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.colour import ImageStatistics, frequencies
from dlsuite.errors import unknown_name

PARAMETRISATIONS = ("fourier", "pixel", "maco")


class Parametrisation(Protocol):
    """From free numbers to inputs as stored.

    Attributes:
        learning_rate: a step of Adam's that suits the numbers.
    """

    learning_rate: float

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Returns the numbers of one input to begin with, float32."""
        ...

    def render(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns inputs as stored, (N, H, W, C) or (N, D), for the numbers of N."""
        ...


@dataclass(frozen=True, eq=False)
class _Picture:
    """What pictures share: decorrelated colours, and a sigmoid that keeps values in range."""

    shape: tuple[int, int, int]
    statistics: ImageStatistics
    value_range: tuple[float, float]

    def _coloured(self, x: tf.Tensor, middle: np.ndarray | float = 0.0) -> tf.Tensor:
        low, high = self.value_range
        colours = tf.constant(self.statistics.colour.T)
        x = tf.einsum("nhwc,cd->nhwd", x, colours) + middle
        return low + (high - low) * tf.sigmoid(x)


class Pixels(_Picture):
    """One number a pixel and decorrelated colour."""

    learning_rate = 0.05

    def start(self, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(0, 0.01, self.shape).astype(np.float32)

    def render(self, parameters: tf.Tensor) -> tf.Tensor:
        return self._coloured(parameters)


class Fourier(_Picture):
    """One complex coefficient a spatial frequency f and decorrelated colour, scaled by 1/f.

    A step of one size in all coefficients so changes the picture as photographs vary, and not
    first in its finest pattern.

    Source: Olah, Mordvintsev and Schubert 2017, "Feature Visualization", Distill,
    doi:10.23915/distill.00007, and Lucid's implementation.
    """

    learning_rate = 0.05

    def start(self, rng: np.random.Generator) -> np.ndarray:
        height, width, channels = self.shape
        return rng.normal(0, 0.01, (channels, height, width // 2 + 1, 2)).astype(np.float32)

    def render(self, parameters: tf.Tensor) -> tf.Tensor:
        height, width, _ = self.shape
        # the transform's own 1 / (H W) undone half, so that pixels are of order one at any size
        scale = np.sqrt(height * width) / frequencies(height, width) / 4
        spectrum = tf.complex(parameters[..., 0], parameters[..., 1])
        return self._coloured(_from_spectrum(spectrum * scale.astype(np.complex64), self.shape))


class Phases(_Picture):
    """One phase a spatial frequency; magnitudes and mean stay those of the user's images.

    Source: Fel et al. 2023, "Unlocking Feature Visualization for Deep Networks with MAgnitude
    Constrained Optimization" (MaCo), arXiv:2306.06805, section 3.
    """

    learning_rate = 0.3

    def start(self, rng: np.random.Generator) -> np.ndarray:
        height, width, channels = self.shape
        shape = (channels, height, width // 2 + 1)
        return rng.uniform(-np.pi, np.pi, shape).astype(np.float32)

    def render(self, parameters: tf.Tensor) -> tf.Tensor:
        magnitude = tf.constant(self.statistics.magnitude_at(self.shape[:2]))
        spectrum = tf.complex(magnitude * tf.cos(parameters), magnitude * tf.sin(parameters))
        x = _from_spectrum(spectrum, self.shape)
        mean, variance = tf.nn.moments(x, axes=(1, 2, 3), keepdims=True)
        # the sigmoid of the logit of the data's mean is that mean
        share = np.clip(self.statistics.mean, 0.02, 0.98).astype(np.float32)
        # a deviation of 1.5 before the sigmoid uses most of the range without clipping to it
        contrast = 1.5 * (x - mean) / tf.sqrt(variance + 1e-8)
        return self._coloured(contrast, np.log(share / (1 - share)))


@dataclass(frozen=True)
class Latent:
    """A vector of the length that a standard normal one has on average: a generator's input."""

    dim: int
    learning_rate = 0.1

    def start(self, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(0, 1, self.dim).astype(np.float32)

    def render(self, parameters: tf.Tensor) -> tf.Tensor:
        length = tf.norm(parameters, axis=-1, keepdims=True)
        return parameters * (np.sqrt(self.dim) / (length + 1e-8))


def parametrisation(
    name: str,
    *,
    shape: tuple[int, ...],
    statistics: ImageStatistics,
    value_range: tuple[float, float],
) -> Parametrisation:
    """Returns the parametrisation of that name for inputs of a shape.

    Args:
        name: one of `PARAMETRISATIONS`; vectors (D,) have one of their own.
        shape: (H, W, C) or (D,).
        statistics: of the user's images.
        value_range: of images as stored.

    Raises:
        DlsuiteError: an unknown name.
    """
    if name not in PARAMETRISATIONS:
        raise unknown_name(
            "parametrisation", name, PARAMETRISATIONS, f"Choose of {', '.join(PARAMETRISATIONS)}."
        )
    if len(shape) == 1:
        return Latent(shape[0])
    kind = {"pixel": Pixels, "fourier": Fourier, "maco": Phases}[name]
    return kind(shape, statistics, value_range)


def _from_spectrum(spectrum: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """(N, C, H, W // 2 + 1) to (N, H, W, C)."""
    x = tf.signal.irfft2d(spectrum, fft_length=shape[:2])
    return tf.transpose(x, (0, 2, 3, 1))
