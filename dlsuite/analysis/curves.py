"""Receiver operating characteristic and precision-recall curves, one class against the rest."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import auc, precision_recall_curve, roc_curve


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve over all thresholds of a score.

    Attributes:
        x: false-positive rate of a ROC, recall of a precision-recall curve, shape (P,).
        y: true-positive rate, or precision, shape (P,).
        area: the ROC's area under the curve, or the average precision.
    """

    x: np.ndarray
    y: np.ndarray
    area: float


def roc(scores: np.ndarray, positive: np.ndarray) -> Curve | None:
    """Returns the ROC curve; None where positive or negative examples are missing.

    The area is the probability that a random positive scores above a random negative, ties
    counting half.

    Args:
        scores: any increasing function of the class's probability, shape (N,).
        positive: whether the example is of the class, shape (N,), bool.

    Source: Fawcett 2006, Pattern Recognition Letters 27, 861.
    """
    if positive.all() or not positive.any():
        return None
    false_rate, true_rate, _ = roc_curve(positive, scores)
    return Curve(false_rate, true_rate, float(auc(false_rate, true_rate)))


def precision_recall(scores: np.ndarray, positive: np.ndarray) -> Curve | None:
    """Returns the precision-recall curve; None where no example is positive.

    The area is the average precision, sum_n (R_n - R_(n-1)) P_n: no interpolation, which
    would be too optimistic between operating points. The curve starts at recall 0 and
    precision 1 by convention.

    Args:
        scores: any increasing function of the class's probability, shape (N,).
        positive: whether the example is of the class, shape (N,), bool.

    Source: Davis and Goadrich 2006, ICML, 233; the sum as in scikit-learn.
    """
    if not positive.any():
        return None
    precision, recall, _ = precision_recall_curve(positive, scores)
    # of equal recalls the first, which has the highest threshold and precision
    recall, first = np.unique(recall[::-1], return_index=True)
    precision = precision[::-1][first]
    return Curve(recall, precision, float(np.sum(np.diff(recall) * precision[1:])))
