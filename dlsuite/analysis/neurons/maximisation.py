"""Activation maximisation: the picture that a unit responds to most."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import NeuronLayer, has_activation
from dlsuite.analysis.neurons.capture import capture
from dlsuite.analysis.neurons.colour import ImageStatistics, usual_statistics
from dlsuite.analysis.neurons.parametrisation import Parametrisation, parametrisation
from dlsuite.analysis.neurons.robustness import CROPS, MOVES, Moves, moved
from dlsuite.analysis.neurons.subject import Subject
from dlsuite.errors import DlsuiteError, unknown_name

OBJECTIVES = ("channel", "neuron", "layer")
# Steps in one compiled call: the display moves and Ctrl-C is heeded between calls.
_BLOCK = 32
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
        activations: likewise behind the activation function.
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
    ascent = _Ascent(
        subject,
        layer,
        made,
        objective=objective,
        copies=copies,
        diversity=diversity,
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


class _Ascent:
    """The compiled steps for one layer, one batch size and one picture size."""

    def __init__(
        self,
        subject: Subject,
        layer: NeuronLayer,
        made: Parametrisation,
        *,
        objective: str,
        copies: int,
        diversity: float,
        is_moved: bool,
        batch_size: int,
    ):
        self._made = made
        place = layer.place

        # The mean of a first layer's linear maps tells only of the picture's mean: where an
        # activation function follows, what is below 0 counts little, but has a gradient.
        is_rectified = place.has_maps and has_activation(place) and objective != "layer"

        def score(activation: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
            shape = activation.shape
            if is_rectified:
                activation = tf.maximum(activation, _LEAK * activation)
            flat = tf.reshape(activation, (shape[0], -1, shape[-1]))  # (N, positions, C)
            if objective == "layer":
                return tf.reduce_mean(flat**2, axis=(1, 2))
            if objective == "neuron":
                flat = flat[:, _middle(shape[1:-1])][:, None]
            return tf.einsum("npc,nc->n", flat, directions) / flat.shape[1]

        def alike(activation: tf.Tensor) -> tf.Tensor:
            """Mean cosine between the Gram matrices of a unit's copies, shape (N,)."""
            shape = activation.shape
            flat = tf.reshape(activation, (shape[0], -1, shape[-1]))
            gram = tf.einsum("npc,npd->ncd", flat, flat)
            gram = tf.reshape(gram, (shape[0] // copies, copies, -1))
            gram = tf.math.l2_normalize(gram, axis=-1)
            cosine = tf.einsum("gkx,gjx->gkj", gram, gram)
            others = (tf.reduce_sum(cosine, axis=-1) - 1) / (copies - 1)
            return tf.reshape(others, (-1,))

        def gradient(parameters: tf.Tensor, directions: tf.Tensor, moves: tf.Tensor):
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                inputs = made.render(parameters)
                if is_moved:
                    inputs = moved(inputs, moves)
                before = capture(subject, inputs, [place])[place.name].before
                scores = score(before, directions)
                aim = scores
                if copies > 1:
                    weight = diversity * tf.stop_gradient(tf.abs(scores))
                    aim = scores - weight * alike(before)
            return tape.gradient(aim, parameters), scores

        def steps(parameters, mean, square, done, directions, moves):
            """Adam as in arXiv:1412.6980, algorithm 1, over the moves of one block."""

            def step(i, x, mean, square, history):
                change, scores = gradient(x, directions, moves[i])
                mean = 0.9 * mean + 0.1 * change
                square = 0.999 * square + 0.001 * change**2
                time = tf.cast(done + i + 1, tf.float32)
                unbiased = mean / (1 - 0.9**time)
                size = tf.sqrt(square / (1 - 0.999**time))
                x = x + made.learning_rate * unbiased / (size + 1e-8)
                return i + 1, x, mean, square, history.write(i, scores)

            count = tf.shape(moves)[0]
            history = tf.TensorArray(tf.float32, count, element_shape=(parameters.shape[0],))
            state = (0, parameters, mean, square, history)
            state = tf.while_loop(lambda i, *_: i < count, step, state)
            return (*state[1:4], state[4].stack())

        def finish(parameters, directions):
            inputs = made.render(parameters)
            found = capture(subject, inputs, [place])[place.name]
            return inputs, score(found.before, directions), score(found.after, directions)

        # concrete: TensorFlow takes one function a layer for one that is traced ever again
        shape = (batch_size, *made.start(np.random.default_rng(0)).shape)
        numbers = tf.TensorSpec(shape, tf.float32)
        vectors = tf.TensorSpec((batch_size, place.num_units), tf.float32)
        table = tf.TensorSpec((None, batch_size, 4), tf.float32)
        done = tf.TensorSpec((), tf.int32)
        self._steps = tf.function(steps, autograph=False).get_concrete_function(
            numbers, numbers, numbers, done, vectors, table
        )
        self._finish = tf.function(finish, autograph=False).get_concrete_function(numbers, vectors)

    def run(self, directions, rngs, steps, moves: Moves, progress):
        """Returns inputs, scores, activations and history of one batch, each (N, ...)."""
        parameters = tf.constant(np.stack([self._made.start(rng) for rng in rngs]))
        table = np.stack([moves.draw(rng, steps) for rng in rngs], axis=1)  # (steps, N, 4)
        directions = tf.constant(directions)
        mean = square = tf.zeros_like(parameters)
        history = []
        for start in range(0, steps, _BLOCK):
            block = tf.constant(table[start : start + _BLOCK])
            parameters, mean, square, scores = self._steps(
                parameters, mean, square, tf.constant(start), directions, block
            )
            history.append(scores.numpy())
            if progress is not None:
                progress(len(block) * len(rngs))
        found = [values.numpy() for values in self._finish(parameters, directions)]
        return [*found, np.concatenate(history).T]


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
