"""Gradients of a class's score: plain, times the input, and averaged over noise."""

import numpy as np

from dlsuite.analysis.neurons.attribution import Explained


def gradient(explained: Explained, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns dS/dx of each image's class score S, (B, H, W, C).

    Source: Simonyan, Vedaldi and Zisserman 2013, arXiv:1312.6034, section 3.
    """
    return explained.gradient(images, targets)


def gradient_input(explained: Explained, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns x dS/dx, (B, H, W, C), x counted from the lower end of the images' range.

    Source: Shrikumar et al. 2016, arXiv:1605.01713.
    """
    low = explained.subject.value_range[0]
    return (images.astype(np.float32) - low) * explained.gradient(images, targets)


def smoothgrad(
    explained: Explained,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    samples: int = 32,
    noise: float = 0.15,
    seed: int = 0,
) -> np.ndarray:
    """Returns the mean gradient over noisy copies of each image, (B, H, W, C).

    Args:
        explained: the model.
        images: (B, H, W, C) as stored.
        targets: class of each.
        samples: copies; the source uses 50.
        noise: standard deviation, as a fraction of the range of values.
        seed: of the noise.

    Source: Smilkov et al. 2017, arXiv:1706.03825, eq. 1.
    """
    low, high = explained.subject.value_range
    rng = np.random.default_rng(seed)
    total = np.zeros(images.shape, np.float64)
    for _ in range(samples):
        noisy = images + rng.normal(0, noise * (high - low), images.shape)
        total += explained.gradient(noisy.astype(np.float32), targets)
    return (total / samples).astype(np.float32)
