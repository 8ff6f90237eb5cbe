"""Where the images of a dataset lie in a layer's space, and what lies beside each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from dlsuite.analysis.neurons.anatomy import NeuronLayer
from dlsuite.analysis.neurons.capture import capture
from dlsuite.analysis.neurons.subject import Subject
from dlsuite.analysis.neurons.survey import check_images
from dlsuite.data.dataset import Split, evenly_spaced
from dlsuite.errors import DlsuiteError

# t-SNE starts from as many principal components: the rest is noise to it (its authors' advice).
_COMPONENTS = 50
_LEAST = 10


@dataclass(frozen=True, eq=False)
class Embedding:
    """N images in the space of a layer's U units.

    Attributes:
        layer: name of the layer.
        indices: of the images in the split, shape (N,).
        features: activations, maps averaged over their places, shape (N, U).
        pca: on the two first principal components, shape (N, 2).
        explained: fraction of the variance on each of them, shape (2,).
        tsne: in the plane of t-SNE, shape (N, 2).
        neighbours: positions in `indices` of the k nearest others, nearest first, shape (N, k).
    """

    layer: str
    indices: np.ndarray
    features: np.ndarray
    pca: np.ndarray
    explained: np.ndarray
    tsne: np.ndarray
    neighbours: np.ndarray

    def agreement(self, labels: np.ndarray) -> float:
        """Returns the fraction of nearest neighbours that have the image's own label.

        Args:
            labels: of the split.
        """
        own = labels[self.indices]
        return float(np.mean(own[self.neighbours[:, 0]] == own))


def embed(
    subject: Subject,
    layer: NeuronLayer,
    split: Split,
    *,
    limit: int = 1000,
    num_neighbours: int = 5,
    batch_size: int = 32,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Embedding:
    """Returns PCA, t-SNE and nearest neighbours of a split at a layer, by scikit-learn.

    Args:
        subject: the model.
        layer: of its anatomy.
        split: images as stored; of more than `limit` as many, spread evenly.
        limit: how many images, at most.
        num_neighbours: k.
        batch_size: images at a time.
        seed: of t-SNE.
        progress: called after each batch with the number of its images.

    Raises:
        DlsuiteError: fewer than ten images, or images that don't fit the model.

    Source: van der Maaten and Hinton 2008, Journal of Machine Learning Research 9, 2579.
    """
    check_images(subject, split)
    count = min(limit, split.num_examples)
    if count < _LEAST:
        raise DlsuiteError(
            f"An embedding needs at least {_LEAST} images. Received: {count}. "
            "Name other data, or raise --limit."
        )
    indices = evenly_spaced(split.num_examples, count)
    place = layer.place

    @tf.function(autograph=False, reduce_retracing=True)
    def features_of(images: tf.Tensor) -> tf.Tensor:
        found = capture(subject, images, [place])[place.name].after
        return tf.reduce_mean(found, axis=list(range(1, len(found.shape) - 1)))

    parts = []
    for start in range(0, count, batch_size):
        images = split.read(indices[start : start + batch_size])
        parts.append(features_of(tf.constant(images, tf.float32)).numpy())
        if progress is not None:
            progress(len(images))
    features = np.concatenate(parts)
    pca = PCA(min(_COMPONENTS, *features.shape), random_state=seed)
    reduced = pca.fit_transform(features)
    plane = np.zeros((count, 2), np.float32)
    plane[:, : reduced.shape[1]] = reduced[:, :2]
    explained = np.zeros(2)
    explained[: reduced.shape[1]] = pca.explained_variance_ratio_[:2]
    tsne = TSNE(
        perplexity=min(30, (count - 1) / 3), init="random", random_state=seed, n_jobs=1
    ).fit_transform(reduced)
    k = min(num_neighbours, count - 1)
    near = NearestNeighbors(n_neighbors=k + 1).fit(features).kneighbors(features)[1]
    # an image is its own nearest, unless another is equal to it
    others = np.stack([row[row != n][:k] for n, row in enumerate(near)])
    return Embedding(layer.name, indices, features, plane, explained, tsne, others)
