"""How the colours of photographs hang together, and how fast their spectra fall."""

from dataclasses import dataclass

import numpy as np

from dlsuite.data.dataset import Split

_MEASURED = 512
# Smaller images have no two waves of at most 0.35 per pixel.
_LEAST_SIDE = 6


@dataclass(frozen=True, eq=False)
class ImageStatistics:
    """What pictures of a dataset have in common; C channels.

    Attributes:
        colour: square root of the channels' correlation, its largest column of norm 1, shape
            (C, C): independent numbers times it vary together as the channels do.
        magnitude: mean magnitude of the Fourier transform of the decorrelated images, scaled to
            mean 1, shape (C, H, W // 2 + 1); None where no images were measured.
        slope: exponent a of the power spectrum f^a; None where no images were measured, or none
            of 6 pixels a side.
        mean: value of each channel, the range's ends at 0 and 1, shape (C,).
    """

    colour: np.ndarray
    magnitude: np.ndarray | None
    slope: float | None
    mean: np.ndarray

    def magnitude_at(self, size: tuple[int, int]) -> np.ndarray:
        """Returns the magnitude for images of another size, 1/f where none was measured."""
        channels = len(self.colour)
        frequency = frequencies(*size)
        if self.magnitude is None:
            return np.broadcast_to(1 / frequency, (channels, *frequency.shape)).astype(np.float32)
        height = 2 * (self.magnitude.shape[-1] - 1)
        radius = frequencies(self.magnitude.shape[1], height)
        found = [np.interp(frequency, *_radial(radius, part)) for part in self.magnitude]
        return np.stack(found).astype(np.float32)


def frequencies(height: int, width: int) -> np.ndarray:
    """Returns |f| [1/pixel] of a real transform, at least that of one wave over the image.

    Shapes:
        returns: (H, W // 2 + 1).
    """
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    return np.maximum(np.sqrt(fy**2 + fx**2), 1 / max(height, width))


def _radial(radius: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.geomspace(radius.min(), radius.max() * 1.001, 24)
    which = np.digitize(radius, edges)
    bins = [number for number in range(1, len(edges)) if (which == number).any()]
    return (
        np.array([radius[which == number].mean() for number in bins]),
        np.array([values[which == number].mean() for number in bins]),
    )


def usual_statistics(channels: int) -> ImageStatistics:
    """Returns what is assumed without data: colours as in photographs, magnitudes as 1/f.

    The three numbers for RGB are those of every tenth of CIFAR-10's training photographs, whose
    channels correlate by 0.92 (R, G), 0.81 (R, B) and 0.91 (G, B); others are independent.
    """
    grey = np.full(channels, 0.5, np.float32)
    if channels != 3:
        return ImageStatistics(np.eye(channels, dtype=np.float32), None, None, grey)
    correlation = np.array([[1.0, 0.92, 0.81], [0.92, 1.0, 0.91], [0.81, 0.91, 1.0]])
    return ImageStatistics(_root(correlation), None, None, grey)


def image_statistics(
    split: Split, value_range: tuple[float, float], *, seed: int = 0
) -> ImageStatistics:
    """Returns the statistics of a split, of at most 512 of its images drawn by the seed.

    Args:
        split: images (N, H, W, C) as stored.
        value_range: of the images.
        seed: which images.
    """
    rng = np.random.default_rng(seed)
    count = min(split.num_examples, _MEASURED)
    chosen = np.sort(rng.choice(split.num_examples, count, replace=False))
    low, high = value_range
    images = (split.read(chosen).astype(np.float32) - low) / (high - low)
    channels = images.shape[-1]
    pixels = images.reshape(-1, channels)
    covariance = np.atleast_2d(np.cov(pixels.T))
    if not np.trace(covariance) > 0:
        return usual_statistics(channels)
    colour = _root(covariance)
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    plain = centred @ np.linalg.pinv(colour).T
    magnitude = np.abs(np.fft.rfft2(plain, axes=(1, 2))).mean(axis=0)
    magnitude = np.moveaxis(magnitude, -1, 0)
    return ImageStatistics(
        colour,
        (magnitude / magnitude.mean()).astype(np.float32),
        spectrum_slope(images) if min(images.shape[1:3]) >= _LEAST_SIDE else None,
        pixels.mean(axis=0),
    )


def spectrum_slope(images: np.ndarray) -> float:
    """Returns the exponent a of the mean power spectrum, P(f) ~ f^a.

    A straight line through log power against log frequency, the power averaged over directions,
    channels and images, under a Hann window, from two waves an image to 0.35 per pixel. For
    photographs a is about -2 (Field 1987, Journal of the Optical Society of America A 4, 2379;
    Ruderman 1994 finds -1.8).

    Shapes:
        images: (N, H, W, C).
    """
    images = np.asarray(images, np.float64)
    height, width = images.shape[1:3]
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    weighted = (images - images.mean(axis=(1, 2), keepdims=True)) * window[..., None]
    power = np.mean(np.abs(np.fft.rfft2(weighted, axes=(1, 2))) ** 2, axis=(0, -1))
    frequency = frequencies(height, width)
    chosen = (frequency >= 2 / min(height, width)) & (frequency <= 0.35)
    radius, mean = _radial(frequency[chosen], power[chosen])
    return float(np.polyfit(np.log(radius), np.log(mean), 1)[0])


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 1e-10 * values.max()))
    return (root / np.linalg.norm(root, axis=0).max()).astype(np.float32)
