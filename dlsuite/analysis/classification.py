"""What a classifier's logits say about it: every number of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import log_softmax
from scipy.stats import norm

from dlsuite.analysis.calibration import Reliability, reliability
from dlsuite.analysis.curves import Curve, one_against_rest
from dlsuite.errors import DlsuiteError


@dataclass(frozen=True)
class Mistake:
    """An example that the classifier got wrong.

    Attributes:
        index: position in the split.
        name: what to call it: a file's path, or ``NAME/SPLIT/INDEX``.
        true: index of its class.
        predicted: index of the class it was given.
        probability: of the predicted class.
    """

    index: int
    name: str
    true: int
    predicted: int
    probability: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The numbers of a classifier on one split. K classes, N examples.

    A per-class number is NaN where it is a division by zero: the precision of a class that
    was never predicted, the recall of one without examples, the F1 of one with neither.

    Attributes:
        class_names: in the order of the labels.
        num_examples: N.
        accuracy: fraction classified correctly.
        accuracy_interval: its 95 % Wilson score interval.
        top5_accuracy: fraction whose class is among the five most probable; None for K <= 5.
        nll: mean negative log-likelihood of the true class [nat].
        macro_f1: mean F1 of the classes for which it is defined.
        precision: TP / (TP + FP), shape (K,).
        recall: TP / (TP + FN), shape (K,).
        f1: 2 TP / (2 TP + FP + FN), shape (K,).
        support: examples of each class, shape (K,).
        confusion: counts, shape (K, K), rows true, columns predicted.
        reliability: confidence against accuracy, and the expected calibration error.
        roc: each class against the rest; None where it has no examples or all of them.
        precision_recall: likewise; None where it has no examples.
        mistakes: the most confident ones, most confident first.
        num_mistakes: how many there are in all.
        labels: shape (N,), kept for further analysis.
        logits: shape (N, K), kept for further analysis.
    """

    class_names: tuple[str, ...]
    num_examples: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    top5_accuracy: float | None
    nll: float
    macro_f1: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    confusion: np.ndarray
    reliability: Reliability
    roc: tuple[Curve | None, ...]
    precision_recall: tuple[Curve | None, ...]
    mistakes: tuple[Mistake, ...]
    num_mistakes: int
    labels: np.ndarray = field(repr=False)
    logits: np.ndarray = field(repr=False)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def expected_calibration_error(self) -> float:
        """In 15 equal-width bins (arXiv:1706.04599, eq. 3)."""
        return self.reliability.error

    def confusions(self, limit: int | None = None) -> list[tuple[int, int, int]]:
        """Returns (true, predicted, count) of the confused pairs, most frequent first."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        true, predicted = np.nonzero(wrong)
        order = np.argsort(-wrong[true, predicted], kind="stable")[:limit]
        return [(int(true[i]), int(predicted[i]), int(wrong[true[i], predicted[i]])) for i in order]

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers as plain Python values; what is undefined is None.

        The keys are documented in ``docs/json.md``.
        """
        names = self.class_names
        bins = self.reliability
        return {
            "num_examples": self.num_examples,
            "num_classes": self.num_classes,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "top5_accuracy": self.top5_accuracy,
            "nll": self.nll,
            "macro_f1": self.macro_f1,
            "expected_calibration_error": self.expected_calibration_error,
            "classes": [
                {
                    "name": name,
                    "support": int(self.support[k]),
                    "precision": _number(self.precision[k]),
                    "recall": _number(self.recall[k]),
                    "f1": _number(self.f1[k]),
                    "roc_auc": _area(self.roc[k]),
                    "average_precision": _area(self.precision_recall[k]),
                }
                for k, name in enumerate(names)
            ],
            "confusion_matrix": self.confusion.tolist(),
            "reliability": [
                {
                    "lower": float(bins.edges[m]),
                    "upper": float(bins.edges[m + 1]),
                    "count": int(bins.counts[m]),
                    "confidence": _number(bins.confidence[m]),
                    "accuracy": _number(bins.accuracy[m]),
                }
                for m in range(len(bins.counts))
            ],
            "num_mistakes": self.num_mistakes,
            "mistakes": [
                {
                    "index": mistake.index,
                    "name": mistake.name,
                    "true": names[mistake.true],
                    "predicted": names[mistake.predicted],
                    "probability": mistake.probability,
                }
                for mistake in self.mistakes
            ],
        }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _area(curve: Curve | None) -> float | None:
    return None if curve is None else curve.area


def wilson_interval(
    successes: int, trials: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Returns the Wilson score interval of a proportion.

    The two p with |successes/n - p| = z sqrt(p (1 - p) / n): inside 0..1 and sound for few
    trials and for none or all of them successful, where the normal approximation has no width.

    Example:
        >>> low, high = wilson_interval(0, 20)
        >>> print(f"{low:.4f} {high:.4f}")
        0.0000 0.1611

    Source: Wilson 1927, Journal of the American Statistical Association 22, 209.
    """
    z = norm.ppf((1 + confidence) / 2)
    p = successes / trials
    centre = p + z**2 / (2 * trials)
    half_width = z * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    # rounding may step over the exact bound by an ulp
    low = max(0.0, float((centre - half_width) / scale))
    return low, min(1.0, float((centre + half_width) / scale))


def evaluate_logits(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    class_names: Sequence[str],
    names: Sequence[str] | None = None,
    num_bins: int = 15,
    num_mistakes: int = 24,
) -> Evaluation:
    """Returns every number of an evaluation.

    The predicted class is the one of the largest logit; of equal ones the first.

    Args:
        logits: never went through a softmax.
        labels: class indices.
        class_names: in the order of the labels.
        names: what to call each example; its index where None.
        num_bins: of the calibration error.
        num_mistakes: how many of the most confident mistakes to list.

    Shapes:
        logits: (N, K), float, finite.
        labels: (N,), integer, in 0..K-1.

    Raises:
        DlsuiteError: shapes that don't fit, no examples, labels outside the classes, or
            logits that are not finite.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    _check(logits, labels, class_names)
    labels = labels.astype(np.int64)  # label times K would overflow a small type
    num_examples, num_classes = logits.shape
    rows = np.arange(num_examples)
    # float64: the logarithm of a probability near 1 is the difference of near equals
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)  # (N, K)
    predicted = np.argmax(logits, axis=1)
    correct = predicted == labels
    confidence_log = log_probabilities[rows, predicted]
    confidence = np.exp(confidence_log)

    confusion = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    confusion = confusion.reshape(num_classes, num_classes)
    true_positive = np.diag(confusion)
    support, predictions = confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0/0 is NaN, as the class says
        precision = true_positive / predictions
        recall = true_positive / support
        f1 = 2 * true_positive / (support + predictions)

    wrong = np.flatnonzero(~correct)
    worst = wrong[np.argsort(-confidence_log[wrong], kind="stable")][:num_mistakes]
    # log-probabilities rank as probabilities do, and do not underflow to equal zeros
    curves = [one_against_rest(log_probabilities[:, k], labels == k) for k in range(num_classes)]
    return Evaluation(
        class_names=tuple(class_names),
        num_examples=num_examples,
        accuracy=float(np.mean(correct)),
        accuracy_interval=wilson_interval(int(correct.sum()), num_examples),
        top5_accuracy=_top_accuracy(logits, labels, 5) if num_classes > 5 else None,
        nll=float(-np.mean(log_probabilities[rows, labels])),
        macro_f1=float(np.nanmean(f1)),
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        confusion=confusion,
        reliability=reliability(confidence, correct, num_bins=num_bins),
        roc=tuple(roc for roc, _ in curves),
        precision_recall=tuple(precision_recall for _, precision_recall in curves),
        mistakes=tuple(
            Mistake(
                index=int(i),
                name=str(i) if names is None else str(names[i]),
                true=int(labels[i]),
                predicted=int(predicted[i]),
                probability=float(confidence[i]),
            )
            for i in worst
        ),
        num_mistakes=len(wrong),
        labels=labels,
        logits=logits,
    )


def _top_accuracy(logits: np.ndarray, labels: np.ndarray, top: int) -> float:
    """Equal logits rank by class index, as in argmax, so that constant logits earn nothing."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1])[None, :] < labels[:, None]
    rank = np.sum((logits > own) | ((logits == own) & earlier), axis=1)
    return float(np.mean(rank < top))


def _check(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise DlsuiteError(
            "Logits have shape (N, K) and labels (N,). "
            f"Received: logits.shape={logits.shape}, labels.shape={labels.shape}. "
            "Pass one row of logits and one label for each example."
        )
    if not len(labels):
        raise DlsuiteError(
            "An evaluation needs at least one example. Received: 0 examples. "
            "Choose a split that is not empty."
        )
    if logits.shape[1] != len(class_names):
        raise DlsuiteError(
            "There is one logit for each class. "
            f"Received: {logits.shape[1]} logits and {len(class_names)} class names. "
            "Use the class names that the model was trained with."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DlsuiteError(
            f"Labels are class indices. Received: dtype {labels.dtype}. "
            "Convert them to integers, or one-hot labels with numpy.argmax(labels, axis=1)."
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise DlsuiteError(
            f"Labels lie in 0..{len(class_names) - 1} for {len(class_names)} classes. "
            f"Received: labels from {labels.min()} to {labels.max()}. "
            "Check that the data have the classes that the model was trained on."
        )
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        raise DlsuiteError(
            f"Logits are finite. Received: {len(broken)} of {len(logits)} examples with NaN or "
            f"infinite logits, the first at index {broken[0]}. Check the images there, or train "
            "again with a lower learning rate if the weights diverged."
        )
