"""Activation maximisation: the picture that a unit responds to most."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import NeuronLayer, has_activation
from dlsuite.analysis.neurons.ascent import Ascent
from dlsuite.analysis.neurons.capture import Captured, capture
from dlsuite.analysis.neurons.colour import ImageStatistics, usual_statistics
from dlsuite.analysis.neurons.parametrisation import parametrisation
from dlsuite.analysis.neurons.robustness import CROPS, MOVES, Moves
from dlsuite.analysis.neurons.subject import Subject
from dlsuite.errors import DlsuiteError, unknown_name

OBJECTIVES = ("channel", "neuron", "layer")
_LEAK = 0.1


@dataclass(frozen=True, eq=False)
class Maximisation:
    """Pictures that excite units; N of them.

    Attributes:
        layer: name of the layer.
        units: of each picture, shape (N,); -1 for a direction or the whole layer.
        inputs: as stored, shape (N, H, W, C) or (N, D), float32.
        scores: the objective for the unmoved picture: the mean over the map, or the value in its
            middle, before the activation function, shape (N,).
        activations: the mean or value behind the activation function, likewise.
        history: the objective at each step, for the moved picture, shape (steps, N).
    """

    layer: str
    units: np.ndarray
    inputs: np.ndarray
    scores: np.ndarray
    activations: np.ndarray
    history: np.ndarray


def maximise(
    subject: Subject,
    layer: NeuronLayer,
    units: Sequence[int],
    *,
    directions: np.ndarray | None = None,
    objective: str = "channel",
    copies: int = 1,
    diversity: float = 1.0,
    parametrised: str = "fourier",
    steps: int = 256,
    size: int | None = None,
    moves: Moves | None = MOVES,
    statistics: ImageStatistics | None = None,
    batch_size: int = 16,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Maximisation:
    """Returns the inputs that maximise units, all of them in one compiled function.

    Gradient ascent by Adam on the mean over the map of <a(x, y), v>, for a channel v is its
    unit vector, with `a` before the layer's activation function: there a unit that is silent on
    the first picture has a gradient too, and for a softmax it is the logit. Where a map has an
    activation function, `a` below 0 counts a tenth. The pictures of a
    batch do not influence each other: the same seed and unit give the same picture in whatever
    company it is computed.

    Args:
        subject: its model is left as it was.
        layer: where the units are.
        units: of the layer.
        directions: instead of units, vectors in the space of its channels, shape (N, C).
        objective: ``channel``; ``neuron`` for the value in the middle of the map; ``layer`` for
            the mean square of all channels (DeepDream's), whatever the units.
        copies: pictures a unit, pushed apart by `diversity`.
        diversity: weight of the mean cosine between the copies' Gram matrices, relative to the
            mean objective of the copies.
        parametrised: ``fourier``, ``pixel`` or ``maco``.
        steps: of gradient ascent.
        size: side of the picture [pixel]; the model's own if None.
        moves: how the picture is moved at each step; None leaves it where it is.
        statistics: of the user's images: colours, and for ``maco`` magnitudes.
        batch_size: pictures at a time; bounds the memory.
        seed: of the starting pictures and the moves.
        progress: called with the number of steps times pictures after each block.

    Raises:
        DlsuiteError: an unknown objective or parametrisation, or a size that the layers before
            this one don't take.

    Source: Erhan et al. 2009, "Visualizing Higher-Layer Features of a Deep Network"; Olah et al.
    2017, doi:10.23915/distill.00007, for the moves, colours and diversity.
    """
    if objective not in OBJECTIVES:
        raise unknown_name(
            "objective", objective, OBJECTIVES, f"Choose of {', '.join(OBJECTIVES)}."
        )
    check_size(subject, layer, size)
    channels = layer.place.num_units
    if directions is None:
        directions = np.eye(channels, dtype=np.float32)[np.asarray(units, int)]
        named = np.asarray(units, int)
    else:
        directions = np.asarray(directions, np.float32)
        named = np.full(len(directions), -1)
    directions, named = np.repeat(directions, copies, axis=0), np.repeat(named, copies)
    shape = subject.shape_at(size)
    statistics = statistics or usual_statistics(shape[-1])
    made = parametrisation(
        parametrised, shape=shape, statistics=statistics, value_range=subject.value_range
    )
    if not subject.takes_images:
        moves = None
    elif parametrised == "maco" and moves is not None:
        moves = CROPS
    count = len(directions)
    batch_size = max(copies, min(batch_size, count) // copies * copies)
    wanted = _Objective(layer, objective, copies, diversity)
    ascent = Ascent(
        subject,
        layer.place,
        made,
        aim=wanted.aim,
        measure=wanted.measure,
        target_shape=(channels,),
        is_moved=moves is not None,
        batch_size=batch_size,
    )
    parts = []
    for start in range(0, count, batch_size):
        # the last batch is filled up, so that nothing is traced twice
        chosen = np.minimum(np.arange(start, start + batch_size), count - 1)
        rngs = [
            np.random.default_rng([seed, max(int(named[i]), 0), i if named[i] < 0 else i % copies])
            for i in chosen
        ]
        part = ascent.run(directions[chosen], rngs, steps, moves or MOVES, progress)
        parts.append([values[: count - start] for values in part])
    inputs, scores, activations, history = (
        np.concatenate(kind) for kind in zip(*parts, strict=True)
    )
    return Maximisation(layer.name, named, inputs, scores, activations, history.T)


class _Objective:
    """How much a place's activations are what is wanted, one number a picture.

    Args:
        layer: where.
        kind: one of `OBJECTIVES`.
        copies: pictures in a row that are pushed apart.
        diversity: how strongly.
    """

    def __init__(self, layer: NeuronLayer, kind: str, copies: int, diversity: float):
        self._kind = kind
        self._copies = copies
        self._diversity = diversity
        # The mean of a first layer's linear maps tells only of the picture's mean: where an
        # activation function follows, what is below 0 counts little, but has a gradient.
        self._is_rectified = layer.place.has_maps and has_activation(layer.place)

    def aim(self, found: Captured, directions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scores, _ = self.measure(found, directions)
        if self._copies == 1:
            return scores, scores
        weight = self._diversity * tf.stop_gradient(tf.abs(scores))
        return scores - weight * self._alike(found.before), scores

    def measure(self, found: Captured, directions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The objective before the activation function, and the plain one behind it."""
        before = found.before
        if self._is_rectified:
            before = tf.maximum(before, _LEAK * before)
        return self._score(before, directions), self._score(found.after, directions)

    def _score(self, activation: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
        shape = activation.shape
        flat = tf.reshape(activation, (shape[0], -1, shape[-1]))  # (N, positions, C)
        if self._kind == "layer":
            return tf.reduce_mean(flat**2, axis=(1, 2))
        if self._kind == "neuron":
            flat = flat[:, _middle(shape[1:-1])][:, None]
        return tf.einsum("npc,nc->n", flat, directions) / flat.shape[1]

    def _alike(self, activation: tf.Tensor) -> tf.Tensor:
        """Mean cosine between the Gram matrices of a unit's copies, shape (N,)."""
        shape, copies = activation.shape, self._copies
        flat = tf.reshape(activation, (shape[0], -1, shape[-1]))
        gram = tf.einsum("npc,npd->ncd", flat, flat)
        gram = tf.reshape(gram, (shape[0] // copies, copies, -1))
        gram = tf.math.l2_normalize(gram, axis=-1)
        cosine = tf.einsum("gkx,gjx->gkj", gram, gram)
        others = (tf.reduce_sum(cosine, axis=-1) - 1) / (copies - 1)
        return tf.reshape(others, (-1,))


def _middle(shape: Sequence[int]) -> int:
    index = 0
    for side in shape:
        index = index * side + side // 2
    return index


def check_size(subject: Subject, layer: NeuronLayer, size: int | None) -> None:
    """Checks that the layers up to this one take pictures of that side length.

    Raises:
        DlsuiteError: they don't.
    """
    if size is None or not subject.takes_images or (size, size) == subject.input_shape[:2]:
        return
    if not takes_size(subject, layer, size):
        height, width, _ = subject.input_shape
        raise DlsuiteError(
            f"The layers up to {layer.name!r} must take the size of the picture. Received: "
            f"{size} pixels. Leave --size unset for the model's own {height}x{width}."
        )


def takes_size(subject: Subject, layer: NeuronLayer, size: int) -> bool:
    """Whether the layers up to this one take pictures of that side length [pixel]."""
    try:
        capture(subject, tf.constant(subject.blank(size)), [layer.place])
    except (ValueError, tf.errors.InvalidArgumentError):
        return False
    return True
