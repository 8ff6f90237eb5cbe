"""What a classifier says of generated images after each epoch, from sums that batches add to."""

from pathlib import Path

import keras
import tensorflow as tf

from dlsuite.data.pixels import PixelTransform
from dlsuite.errors import DlsuiteError
from dlsuite.models.saved import read_classifier
from dlsuite.tasks.set_sums import SetSums

# The distance takes eigenvalues of F x F matrices after each batch.
_MOST_FEATURES = 1024


class ClassifierScores(SetSums):
    """Coverage, confidence and Frechet distance of generated images, by a classifier.

    The result is a dictionary:

    - ``coverage``: the least, over the classes, of a class's share of the generated images over
      its share of the real ones, as the classifier sees both. 1 is fair, 0 a class that is
      missing: a mode that was dropped.
    - ``top_probability``: mean probability of the likeliest class of a generated image.
    - ``frechet_distance``: of the inputs of the classifier's last dense layer (see
      `dlsuite.analysis.comparison.frechet_distance`). It falls with the number of examples.

    Args:
        path: the classifier's ``.keras`` file, or the folder of its run; it takes images as
            stored.
        image_shape: (H, W, C) of the images.
        transform: between stored pixels and the networks' -1 to 1.

    Raises:
        DlsuiteError: no such file, no classifier, one of other images, or one of more than 1,024
            features.
    """

    # those that are best where they are smallest or largest
    ordered = ("frechet_distance", "coverage", "top_probability")

    def __init__(self, path: str, image_shape: tuple[int, int, int], transform: PixelTransform):
        self._judge = _judge(Path(path), image_shape, transform)
        features, classes = (output.shape[-1] for output in self._judge.outputs)
        shapes = {
            "classes": (classes,),
            "confidence": (),
            "feature": (features,),
            "product": (features, features),
        }
        super().__init__("classifier_scores", shapes)

    def sums(self, images: tf.Tensor, counted: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a batch's classes, likeliest probabilities, features and their products."""
        features, logits = self._judge(images, training=False)
        features = tf.cast(features, tf.float32) * counted[:, None]
        likeliest = tf.reduce_max(tf.nn.softmax(tf.cast(logits, tf.float32)), axis=1)
        chosen = tf.one_hot(tf.argmax(logits, axis=1), tf.shape(logits)[1])
        return {
            "classes": tf.linalg.matvec(chosen, counted, transpose_a=True),
            "confidence": tf.reduce_sum(likeliest * counted),
            "feature": tf.reduce_sum(features, axis=0),
            "product": tf.matmul(features, features, transpose_a=True),
        }

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the scores by name."""
        real, fake = self.totals("real"), self.totals("fake")
        # as many images of each; a class that no real image is taken for is none to cover
        shares = tf.math.divide_no_nan(fake["classes"], real["classes"])
        return {
            "coverage": tf.reduce_min(tf.where(real["classes"] > 0, shares, 1.0)),
            "top_probability": fake["confidence"] / tf.maximum(fake["count"], 1.0),
            "frechet_distance": _frechet(_moments(real), _moments(fake)),
        }


def _judge(path: Path, image_shape: tuple[int, int, int], transform: PixelTransform) -> keras.Model:
    """Images in -1 to 1 to the classifier's features and logits."""
    classifier = read_classifier(path, image_shape)
    if classifier.outputs[0].shape[-1] > _MOST_FEATURES:
        raise DlsuiteError(
            f"gan.classifier may have {_MOST_FEATURES:,} features before its last layer. Received: "
            f"{path} with {classifier.outputs[0].shape[-1]:,}. Take a smaller classifier, or judge "
            "after the training with `dlsuite evaluate --classifier`."
        )
    image = keras.Input(image_shape, dtype="float32")
    return keras.Model(image, classifier(transform.inverse(image)))


def _moments(sums: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and covariance of the features."""
    count = tf.maximum(sums["count"], 2.0)
    mean = sums["feature"] / count
    return mean, (sums["product"] - count * mean[:, None] * mean) / (count - 1.0)


def _frechet(first: tuple[tf.Tensor, tf.Tensor], second: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Source: Heusel et al. 2017, arXiv:1706.08500, equation 6."""
    (mean, covariance), (other_mean, other) = first, second
    # eigenvalues of what is not finite are an error in TensorFlow, and end more than the metric
    is_finite = tf.reduce_all(tf.math.is_finite(covariance + other))
    covariance, other = (tf.where(is_finite, matrix, 0.0) for matrix in (covariance, other))
    values, vectors = tf.linalg.eigh(covariance)
    root = tf.matmul(vectors * tf.sqrt(tf.maximum(values, 0.0)), vectors, transpose_b=True)
    # of the same trace as the root of the covariances' product, and symmetric
    cross = tf.linalg.eigvalsh(tf.matmul(root, tf.matmul(other, root)))
    distance = (
        tf.reduce_sum(tf.square(mean - other_mean))
        + tf.linalg.trace(covariance)
        + tf.linalg.trace(other)
        - 2.0 * tf.reduce_sum(tf.sqrt(tf.maximum(cross, 0.0)))
    )
    return tf.where(is_finite, distance, float("nan"))
