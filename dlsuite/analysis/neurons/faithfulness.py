"""Whether what a map marks is what the model uses: deletion and insertion."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from dlsuite.analysis.neurons.attribution import Explained

# Least deviation of the blur [pixel]: what is blurred less can still be read at 28 x 28.
_BLUR = 4


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """The class's probability while pixels go and come, most marked first; B images.

    Attributes:
        fractions: of the pixels changed, shape (S + 1,).
        deletion: while they turn black, shape (B, S + 1).
        insertion: while they come into a blurred image, likewise.
    """

    fractions: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_area(self) -> np.ndarray:
        """Area under each deletion curve, shape (B,): the smaller the better the map."""
        return np.trapezoid(self.deletion, self.fractions, axis=1)

    @property
    def insertion_area(self) -> np.ndarray:
        """Area under each insertion curve, shape (B,): the larger the better the map."""
        return np.trapezoid(self.insertion, self.fractions, axis=1)


def faithfulness(
    explained: Explained,
    images: np.ndarray,
    targets: np.ndarray,
    maps: np.ndarray,
    *,
    steps: int = 20,
) -> Faithfulness:
    """Returns the deletion and insertion curves of maps.

    The blur's deviation is a twentieth of the longer side, at least 4 pixels.

    Args:
        explained: the model.
        images: (B, H, W, C) as stored.
        targets: class of each.
        maps: one number a pixel, (B, H, W).
        steps: S.

    Source: Petsiuk, Das and Saenko 2018, arXiv:1806.07421, section 3.3.
    """
    images = images.astype(np.float32)
    count = images.shape[1] * images.shape[2]
    fractions = np.linspace(0, 1, steps + 1)
    blur = max(max(images.shape[1:3]) / 20, _BLUR)
    low = explained.subject.value_range[0]
    deletion, insertion = [], []
    for image, target, one in zip(images, targets, maps, strict=True):
        rank = np.empty(count, int)
        # stable: of equal marks the upper left goes first
        rank[np.argsort(-one.ravel(), kind="stable")] = np.arange(count)
        rank = rank.reshape(one.shape)
        blurred = gaussian_filter(image, (blur, blur, 0))
        gone = [(rank < round(fraction * count))[..., None] for fraction in fractions]
        without = np.stack([np.where(mask, low, image) for mask in gone])
        within = np.stack([np.where(mask, image, blurred) for mask in gone])
        deletion.append(explained.probabilities(without)[:, target])
        insertion.append(explained.probabilities(within)[:, target])
    return Faithfulness(fractions, np.stack(deletion), np.stack(insertion))


def similarity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the rank correlation of the absolute values of maps, shape (B,).

    Shapes:
        one, other: (B, ...).

    Source: Adebayo et al. 2018, arXiv:1810.03292, section 3, after Spearman 1904.
    """
    return np.array(
        [
            spearmanr(np.abs(a).ravel(), np.abs(b).ravel()).statistic
            for a, b in zip(one, other, strict=True)
        ]
    )
