"""What the score loses where a part of the image is hidden."""

import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.attribution import Explained


def occlusion(
    explained: Explained,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    patch: int | None = None,
    stride: int | None = None,
) -> np.ndarray:
    """Returns the mean drop of the score over the patches that hide a pixel, (B, H, W).

    Args:
        explained: the model.
        images: (B, H, W, C) as stored.
        targets: class of each.
        patch: side [pixel]; a quarter of the image's if None. It is filled with the image's own
            mean colour.
        stride: from patch to patch [pixel]; half a patch if None.

    Source: Zeiler and Fergus 2013, arXiv:1311.2901, section 4.2.
    """
    height, width = images.shape[1:3]
    patch = patch or max(min(height, width) // 4, 1)
    stride = stride or max(patch // 2, 1)
    # the last patch reaches the border
    tops = sorted({*range(0, height - patch + 1, stride), height - patch})
    lefts = sorted({*range(0, width - patch + 1, stride), width - patch})
    corners = [(top, left) for top in tops for left in lefts]
    found = []
    for image, target in zip(images.astype(np.float32), targets, strict=True):
        whole = explained.outputs(image[None])[0, target]
        drop, count = np.zeros((height, width)), np.zeros((height, width))
        for start in range(0, len(corners), explained.batch_size):
            chosen = corners[start : start + explained.batch_size]
            hidden = np.repeat(image[None], len(chosen), axis=0)
            for one, (top, left) in zip(hidden, chosen, strict=True):
                one[top : top + patch, left : left + patch] = image.mean(axis=(0, 1))
            losses = whole - explained.outputs(hidden)[:, target]
            for loss, (top, left) in zip(losses, chosen, strict=True):
                drop[top : top + patch, left : left + patch] += loss
                count[top : top + patch, left : left + patch] += 1
        found.append(drop / np.maximum(count, 1))
    return np.stack(found).astype(np.float32)


def rise(
    explained: Explained,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    masks: int = 512,
    cells: int = 7,
    kept: float = 0.5,
    seed: int = 0,
) -> np.ndarray:
    """Returns how much more probable the class is where a pixel is kept, (B, H, W).

    The mean probability of the class over random masks, weighted by the masks, minus that
    over all of them: the source's estimate with its constant part taken off.

    Args:
        explained: the model.
        images: (B, H, W, C) as stored.
        targets: class of each.
        masks: how many; the source uses 4,000 to 8,000.
        cells: of the coarse grid that a mask is drawn on, a side.
        kept: fraction of the cells that are kept.
        seed: of the masks.

    Source: Petsiuk, Das and Saenko 2018, arXiv:1806.07421, eqs. 4 to 6.
    """
    height, width = images.shape[1:3]
    rng = np.random.default_rng(seed)
    low = explained.subject.value_range[0]
    totals = np.zeros((len(images), height, width))
    means, weight = np.zeros(len(images)), np.zeros((height, width))
    for start in range(0, masks, explained.batch_size):
        drawn = _masks(rng, min(explained.batch_size, masks - start), cells, kept, height, width)
        weight += drawn.sum(axis=0)
        for number, (image, target) in enumerate(
            zip(images.astype(np.float32), targets, strict=True)
        ):
            seen = low + (image - low)[None] * drawn[..., None]
            probability = explained.probabilities(seen)[:, target]
            totals[number] += np.einsum("n,nhw->hw", probability, drawn)
            means[number] += probability.sum()
    return (totals / np.maximum(weight, 1e-9) - (means / masks)[:, None, None]).astype(np.float32)


def _masks(
    rng: np.random.Generator, count: int, cells: int, kept: float, height: int, width: int
) -> np.ndarray:
    """Coarse random grids, enlarged smoothly and shifted by up to a cell, (N, H, W)."""
    grid = (rng.random((count, cells + 1, cells + 1)) < kept).astype(np.float32)
    down, across = -(-height // cells), -(-width // cells)
    large = tf.image.resize(grid[..., None], ((cells + 1) * down, (cells + 1) * across))
    large = large.numpy()[..., 0]
    tops, lefts = rng.integers(0, down, count), rng.integers(0, across, count)
    cut = [
        one[top : top + height, left : left + width]
        for one, top, left in zip(large, tops, lefts, strict=True)
    ]
    return np.stack(cut)
