"""The loss around and between trained networks, on many points in one compiled call.

A point is a linear combination of weight vectors: the trained weights plus random directions, two
networks' weights, or the control points of a curve.

Source: Li et al. 2018, arXiv:1712.09913, sections 3 and 4.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from dlsuite.data.dataset import Dataset, evenly_spaced
from dlsuite.errors import DlsuiteError

# Images a forward pass.
_BATCH = 128

Weights = list[np.ndarray]


@dataclass(frozen=True)
class Samples:
    """Examples that the loss is measured on, as tensors on the device.

    Attributes:
        images: (batches, B, H, W, C), as stored.
        labels: (batches, B), int32.
    """

    images: tf.Tensor
    labels: tf.Tensor


def draw_samples(dataset: Dataset, number: int) -> dict[str, Samples]:
    """Returns evenly spaced examples of training and, where there is one, of the test split.

    The same for every run on the same data. Their number is cut to what a split holds, and to a
    multiple of the batch.

    Args:
        dataset: the run's.
        number: of examples of each split.
    """
    samples = {}
    for name in ("train", "test"):
        if name not in dataset.splits:
            continue
        split = dataset.splits[name]
        count = min(number, split.num_examples)
        batch = min(_BATCH, count)
        count -= count % batch
        chosen = evenly_spaced(split.num_examples, count)
        images = split.read(chosen)
        samples[name] = Samples(
            tf.constant(images.reshape(-1, batch, *images.shape[1:])),
            tf.constant(split.labels[chosen].reshape(-1, batch).astype(np.int32)),
        )
    return samples


def weights_of(model: keras.Model) -> Weights:
    """Returns all variables of a network that are not whole numbers, in its order."""
    return [variable.numpy() for variable in floating_variables(model)]


def random_direction(model: keras.Model, *, seed: int, number: int = 0) -> Weights:
    """Returns a filter-normalised random direction.

    Each filter of a kernel, the weights that lead to one output channel, is drawn from a normal
    law and scaled to the norm of the network's own filter (equation 1). Biases, normalization
    layers and their statistics stay as they are. The draw depends on the seed, the number and
    the kernel's place and shape alone, so that networks of one shape share it.

    Args:
        model: trained.
        seed: of the draw.
        number: which of the directions of that seed.
    """
    depthwise = {id(kernel) for layer in model._flatten_layers() for kernel in _depthwise(layer)}
    direction = []
    for place, variable in enumerate(floating_variables(model)):
        weights = variable.numpy()
        if weights.ndim < 2:
            direction.append(np.zeros_like(weights))
            continue
        drawn = np.random.default_rng([seed, number, place]).normal(size=weights.shape)
        filters = 2 if id(variable) in depthwise else 1
        axes = tuple(range(weights.ndim - filters))
        norm = np.sqrt(np.sum(np.square(weights, dtype=np.float64), axis=axes, keepdims=True))
        length = np.sqrt(np.sum(drawn**2, axis=axes, keepdims=True))
        direction.append((drawn * norm / length).astype(np.float32))
    return direction


def _depthwise(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Its kernels with a filter for each input channel, those of separable convolutions too."""
    if "Depthwise" in type(layer).__name__ and hasattr(layer, "kernel"):
        return [layer.kernel]
    return [layer.depthwise_kernel] if hasattr(layer, "depthwise_kernel") else []


def floating_variables(model: keras.Model) -> list[keras.Variable]:
    """Returns the variables that are not whole numbers: weights and moving statistics."""
    return [variable for variable in model.variables if tf.as_dtype(variable.dtype).is_floating]


class Surface:
    """Loss and accuracy of a network whose weights are combinations of given ones.

    Everything lies on the device and a call computes many points; the network itself is not
    changed. Normalization layers use their moving statistics, whose variances stop at 0.

    Args:
        model: images as stored in, logits out.
        samples: by split.
        basis: the weight vectors that are combined.
        extrapolates_statistics: unset, what is not trained is combined with coefficients of 0 to 1:
            a line that goes on beyond a network keeps that network's statistics.

    Raises:
        DlsuiteError: weight vectors of other shapes than the network's.
    """

    def __init__(
        self,
        model: keras.Model,
        samples: Mapping[str, Samples],
        basis: Sequence[Weights],
        *,
        extrapolates_statistics: bool = True,
    ):
        check_shapes(model, basis)
        self._extrapolates_statistics = extrapolates_statistics
        self.splits = list(samples)
        self._model = model
        self._samples = list(samples.values())
        # one a variable of the network, with a row for each weight vector
        self._basis = [tf.Variable(np.stack(rows)) for rows in zip(*basis, strict=True)]
        self._call = tf.function(
            self._points, input_signature=[tf.TensorSpec((None, len(basis)), tf.float32)]
        )

    def move(self, basis: Sequence[Weights]) -> None:
        """Puts as many other weight vectors in the place of the first ones.

        Raises:
            DlsuiteError: vectors of other shapes than the network's.
        """
        check_shapes(self._model, basis)
        for variable, rows in zip(self._basis, zip(*basis, strict=True), strict=True):
            variable.assign(np.stack(rows))

    def __call__(self, coefficients: np.ndarray) -> np.ndarray:
        """Returns loss and accuracy at each point.

        Args:
            coefficients: of the weight vectors, (points, basis).

        Shapes:
            result: (points, splits, 2), the mean negative log-likelihood and the accuracy.
        """
        return self._call(tf.constant(coefficients, tf.float32)).numpy()

    def _points(self, coefficients: tf.Tensor) -> tf.Tensor:
        count = tf.shape(coefficients)[0]

        def body(index, rows):
            measured = self._point(coefficients[index])
            return index + 1, rows.write(index, measured)

        rows = tf.TensorArray(tf.float32, size=count, element_shape=(len(self._samples), 2))
        _, rows = tf.while_loop(
            lambda index, _: index < count,
            body,
            (tf.constant(0), rows),
            # what one point leaves idle on the processors, another uses
            parallel_iterations=2,
        )
        return rows.stack()

    def _point(self, coefficients: tf.Tensor) -> tf.Tensor:
        trained = {id(variable) for variable in self._model.trainable_variables}
        inner = coefficients
        if not self._extrapolates_statistics:
            inner = tf.clip_by_value(coefficients, 0.0, 1.0)
        combined = {}
        for variable, rows in zip(floating_variables(self._model), self._basis, strict=True):
            value = tf.tensordot(coefficients if id(variable) in trained else inner, rows, 1)
            if variable.path.endswith("moving_variance"):
                value = tf.maximum(value, 0.0)  # below it normalization gives no number
            combined[id(variable)] = value
        trainable, rest = (
            [combined.get(id(variable), variable.value) for variable in variables]
            for variables in (self._model.trainable_variables, self._model.non_trainable_variables)
        )
        return tf.stack([self._measure(s, trainable, rest) for s in self._samples])

    def _measure(self, samples: Samples, trainable: list, rest: list) -> tf.Tensor:
        """Mean loss and accuracy over a split's samples, (2,)."""
        batches = samples.images.shape[0]

        def body(index, total):
            images = tf.cast(samples.images[index], tf.float32)
            logits, _ = self._model.stateless_call(trainable, rest, images, training=False)
            logits = tf.cast(logits, tf.float32)
            labels = samples.labels[index]
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            right = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), labels)
            means = [tf.reduce_mean(loss), tf.reduce_mean(tf.cast(right, tf.float32))]
            return index + 1, total + tf.stack(means)

        _, total = tf.while_loop(
            lambda index, _: index < batches,
            body,
            (tf.constant(0), tf.zeros(2)),
            parallel_iterations=1,
        )
        return total / batches


def check_shapes(model: keras.Model, vectors: Sequence[Weights]) -> None:
    """Checks that weight vectors have the shapes of a network's.

    Raises:
        DlsuiteError: one has others.
    """
    shapes = [tuple(variable.shape) for variable in floating_variables(model)]
    for weights in vectors:
        if [w.shape for w in weights] != shapes:
            raise DlsuiteError(
                "Weights can be combined only between networks of one shape. Received: "
                f"networks of {_count(shapes):,} and "
                f"{_count([w.shape for w in weights]):,} weights in {len(shapes)} and "
                f"{len(weights)} variables. Choose two runs of one model."
            )


def _count(shapes: Sequence[tuple[int, ...]]) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)


def axis(resolution: int, span: float) -> np.ndarray:
    """Returns the places along a direction, from -span to span, the trained network in the middle.

    Raises:
        DlsuiteError: an even number of places, or fewer than 3.
    """
    if resolution < 3 or resolution % 2 == 0:
        raise DlsuiteError(
            "A direction needs an odd number of places, so that its middle is one of them, and at "
            f"least 3 places. Received: --resolution {resolution}. 25 is a sketch, 51 "
            "the resolution of the paper."
        )
    return np.linspace(-span, span, resolution)


def coarse_to_fine(shape: tuple[int, ...]) -> np.ndarray:
    """Returns the flat indices of a grid, those of a coarse grid first, then ever finer ones."""
    levels = np.zeros(shape, int)
    for index, size in enumerate(shape):
        along = np.zeros(size, int)
        places = np.arange(size)
        for level in (8, 4, 2, 1):
            along[places % level == 0] = np.maximum(along[places % level == 0], level)
        view = [1] * len(shape)
        view[index] = size
        along = along.reshape(view)
        levels = along * np.ones(shape, int) if index == 0 else np.minimum(levels, along)
    return np.argsort(-levels.ravel(), kind="stable")


def fill_in(
    values: np.ndarray,
    compute: Callable[[np.ndarray], np.ndarray],
    coefficients: np.ndarray,
    order: np.ndarray,
    *,
    block: int,
) -> Iterator[int]:
    """Computes what is missing of a grid, in blocks, and yields how many points are there.

    Args:
        values: (points, splits, 2), filled in place; NaN in the accuracy is what is missing, so
            that a loss that is not finite counts as computed.
        compute: a `Surface`.
        coefficients: (points, basis).
        order: flat indices in the order to compute them.
        block: points a call.
    """
    missing = order[np.isnan(values[order, 0, 1])]
    for start in range(0, len(missing), block):
        chosen = missing[start : start + block]
        # one shape for all calls: the last one is filled up with its own first point
        padded = np.concatenate([chosen, np.repeat(chosen[:1], block - len(chosen))])
        values[chosen] = compute(coefficients[padded])[: len(chosen)]
        yield len(order) - len(missing) + start + len(chosen)
