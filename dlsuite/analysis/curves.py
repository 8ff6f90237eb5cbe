"""Receiver operating characteristic and precision-recall curves, one class against the rest."""

from dataclasses import dataclass

import numpy as np


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


def one_against_rest(scores: np.ndarray, positive: np.ndarray) -> tuple[Curve | None, Curve | None]:
    """Returns the ROC and the precision-recall curve of one class against the rest.

    Both come from one ranking: TP and FP among all that scores at least a threshold, at each
    distinct score. The ROC's area is the probability that a random positive scores above a
    random negative, ties counting half; it is None where either is missing. The average
    precision is sum_n (R_n - R_(n-1)) P_n, without interpolation, which would be too
    optimistic between operating points; its curve starts at recall 0 and precision 1 by
    convention, and is None where nothing is positive.

    Args:
        scores: any increasing function of the class's probability, shape (N,).
        positive: whether the example is of the class, shape (N,), bool.

    Source: Fawcett 2006, Pattern Recognition Letters 27, 861; Davis and Goadrich 2006, ICML, 233.
    """
    order = np.argsort(-scores, kind="stable")
    # equal scores pass a threshold together: counts are read off after the last of them
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.cumsum(positive[order])[last]
    false = 1 + last - true
    return _roc(true, false), _precision_recall(true, false)


def _roc(true: np.ndarray, false: np.ndarray) -> Curve | None:
    if not true[-1] or not false[-1]:
        return None
    true, false = np.insert(true, 0, 0), np.insert(false, 0, 0)
    # points within a straight piece neither show nor add to the area
    turns = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
    kept = np.concatenate([[True], turns, [True]])
    x, y = false[kept] / false[-1], true[kept] / true[-1]
    return Curve(x, y, float(np.trapezoid(y, x)))


def _precision_recall(true: np.ndarray, false: np.ndarray) -> Curve | None:
    if not true[-1]:
        return None
    # of equal recalls the first, which has the highest threshold and precision
    rises = np.diff(true, prepend=0) > 0
    recall = np.insert(true[rises] / true[-1], 0, 0.0)
    precision = np.insert(true[rises] / (true[rises] + false[rises]), 0, 1.0)
    return Curve(recall, precision, float(np.sum(np.diff(recall) * precision[1:])))
