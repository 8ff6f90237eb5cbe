"""Integrated gradients: attributions that add up to the score."""

from dataclasses import dataclass

import numpy as np

from dlsuite.analysis.neurons.attribution import Explained


@dataclass(frozen=True, eq=False)
class Integrated:
    """Attributions of B images.

    Attributes:
        maps: shape (B, H, W, C).
        differences: score of the image minus that of the baseline, shape (B,).
        errors: |sum of the map - difference| / |difference|: how far the sum over the path is
            from the integral, shape (B,).
    """

    maps: np.ndarray
    differences: np.ndarray
    errors: np.ndarray


def integrated_gradients(
    explained: Explained,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    steps: int = 64,
    baseline: float | None = None,
) -> Integrated:
    """Returns (x - x0) times the mean gradient on the straight way from x0 to x.

    The integral is the midpoint sum over `steps` points. Its completeness, the attributions'
    sum being S(x) - S(x0), is checked and reported rather than assumed.

    Args:
        explained: the model.
        images: (B, H, W, C) as stored.
        targets: class of each.
        steps: points on the way.
        baseline: value of every pixel of x0; the lower end of the range, black, if None.

    Source: Sundararajan, Taly and Yan 2017, arXiv:1703.01365, eqs. 1 and 3.
    """
    images = images.astype(np.float32)
    low = explained.subject.value_range[0] if baseline is None else baseline
    start = np.full_like(images, low)
    total = np.zeros(images.shape, np.float64)
    for fraction in (np.arange(steps) + 0.5) / steps:
        between = start + np.float32(fraction) * (images - start)
        total += explained.gradient(between, targets)
    maps = (images - start) * (total / steps)
    rows = np.arange(len(images))
    targets = np.asarray(targets)
    differences = (
        explained.outputs(images)[rows, targets] - explained.outputs(start)[rows, targets]
    ).astype(np.float64)
    gaps = np.abs(maps.sum(axis=(1, 2, 3)) - differences)
    return Integrated(
        maps.astype(np.float32), differences, gaps / np.maximum(np.abs(differences), 1e-12)
    )
