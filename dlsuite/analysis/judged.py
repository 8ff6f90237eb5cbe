"""What a classifier says of generated images: confidence, coverage of classes, and distances."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

from dlsuite.analysis import comparison
from dlsuite.analysis.generation import Sampler
from dlsuite.analysis.inference import Forward

_SAMPLES = 2000
_BATCH = 128


@dataclass(frozen=True)
class Judgement:
    """A classifier's say on generated images.

    Attributes:
        num_samples: generated images of the confidence and the shares.
        top_probability: mean probability of the likeliest class.
        shares: fraction of the images taken for each class, (K,).
        real_top_probability, real_shares: likewise, of the other real images.
        num_features: F, inputs of the classifier's last layer.
        num_examples: images of each set in the distances.
        blurred: Frechet distance of other real images blurred by a Gaussian of 1 pixel.
        one_class_left_out: the least such distance of other real images without one class. These
            are fewer by that class, which raises it by less than the floor times the class's
            share; None where the classifier sees one class alone.
        rows: (name, generated, floor, best) of what has a floor.
    """

    num_samples: int
    top_probability: float
    shares: tuple[float, ...]
    real_top_probability: float
    real_shares: tuple[float, ...]
    num_features: int
    num_examples: int
    blurred: float
    one_class_left_out: float | None
    rows: tuple[tuple[str, float, float, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers as plain values."""
        return {
            "num_samples": self.num_samples,
            "top_probability": self.top_probability,
            "shares": list(self.shares),
            "real_top_probability": self.real_top_probability,
            "real_shares": list(self.real_shares),
            "num_features": self.num_features,
            "num_examples": self.num_examples,
            "frechet_blurred": self.blurred,
            "frechet_one_class_left_out": self.one_class_left_out,
        }


def judge(
    judging: keras.Model,
    sampler: Sampler,
    *,
    real: np.ndarray,
    other: np.ndarray,
    fake: np.ndarray,
) -> Judgement:
    """Returns what the classifier says.

    Args:
        judging: images as stored to features and logits, from
            `dlsuite.models.saved.read_classifier`.
        sampler: of the generated images.
        real: held-out images, (N, H, W, C).
        other: as many other held-out ones.
        fake: as many generated ones.
    """
    size = min(_BATCH, len(real))
    features, logits = (Forward(keras.Model(judging.input, x), size) for x in judging.outputs)
    seen = {
        name: _in_batches(features, images)
        for name, images in (("real", real), ("other", other), ("fake", fake))
    }
    blurred = gaussian_filter(other.astype(np.float32), (0, 1, 1, 0))
    real_says = softmax(_in_batches(logits, other), axis=1)
    labels = real_says.argmax(axis=1)
    without = [seen["other"][labels != label] for label in np.unique(labels)]
    left_out = [comparison.frechet_distance(seen["real"], x) for x in without if len(x) > 1]
    fake_says = softmax(
        np.concatenate([_in_batches(logits, x) for x in sampler.batches(0, _SAMPLES)]), axis=1
    )
    distance = comparison.frechet_distance
    precision, recall = comparison.precision_recall(seen["real"], seen["fake"])
    floor_precision, floor_recall = comparison.precision_recall(seen["real"], seen["other"])
    return Judgement(
        num_samples=_SAMPLES,
        top_probability=_top(fake_says),
        shares=_shares(fake_says),
        real_top_probability=_top(real_says),
        real_shares=_shares(real_says),
        num_features=seen["real"].shape[1],
        num_examples=len(real),
        blurred=distance(seen["real"], _in_batches(features, blurred)),
        one_class_left_out=min(left_out, default=None),
        rows=(
            (
                f"Frechet distance ({seen['real'].shape[1]} features)",
                distance(seen["real"], seen["fake"]),
                distance(seen["real"], seen["other"]),
                0.0,
            ),
            ("precision (k = 3)", precision, floor_precision, 1.0),
            ("recall (k = 3)", recall, floor_recall, 1.0),
        ),
    )


def _top(probabilities: np.ndarray) -> float:
    """The mean probability of the likeliest class."""
    return float(probabilities.max(axis=1).mean())


def _shares(probabilities: np.ndarray) -> tuple[float, ...]:
    """The fraction of the images whose likeliest class it is, by class."""
    counts = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return tuple((counts / len(probabilities)).tolist())


def _in_batches(forward: Forward, images: np.ndarray) -> np.ndarray:
    size = forward.batch_size
    return np.concatenate(
        [forward(images[start : start + size]) for start in range(0, len(images), size)]
    )
