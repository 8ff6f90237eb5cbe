"""How far a classifier's probabilities can be believed."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence against accuracy in equal-width bins of confidence.

    Attributes:
        edges: of the bins, shape (M + 1,), from 0 to 1; a bin holds its upper edge.
        counts: examples a bin, shape (M,).
        confidence: mean probability of the predicted class, shape (M,), NaN in an empty bin.
        accuracy: fraction classified correctly, shape (M,), NaN in an empty bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, sum_m |B_m|/n |acc(B_m) - conf(B_m)|.

        Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
        """
        held = self.counts > 0
        gaps = np.abs(self.accuracy[held] - self.confidence[held])
        return float(np.sum(gaps * self.counts[held]) / np.sum(self.counts))


def reliability(confidence: np.ndarray, correct: np.ndarray, *, num_bins: int = 15) -> Reliability:
    """Returns the reliability curve of a classifier.

    Bin m holds the confidences in ((m-1)/M, m/M] (arXiv:1706.04599, section 2).

    Args:
        confidence: probability given to the predicted class, shape (N,), in 0..1.
        correct: whether that class is the true one, shape (N,), bool.
        num_bins: M; the source's figures use 15 for the error.
    """
    edges = np.arange(num_bins + 1) / num_bins
    bins = np.digitize(confidence, edges[1:-1], right=True)
    counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):  # 0/0: an empty bin is NaN
        mean_confidence = np.bincount(bins, weights=confidence, minlength=num_bins) / counts
        accuracy = np.bincount(bins, weights=correct, minlength=num_bins) / counts
    return Reliability(edges, counts, mean_confidence, accuracy)
