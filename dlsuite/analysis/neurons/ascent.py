"""Gradient ascent on pictures, many steps and many pictures in one compiled call."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import Place
from dlsuite.analysis.neurons.capture import Captured, capture
from dlsuite.analysis.neurons.parametrisation import Parametrisation
from dlsuite.analysis.neurons.robustness import Moves, moved
from dlsuite.analysis.neurons.subject import Subject

# Steps in one compiled call: the display moves and Ctrl-C is heeded between calls.
_BLOCK = 32

Aim = Callable[[Captured, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class Ascent:
    """The compiled steps for one place, one batch size and one picture size.

    Args:
        subject: the model; what lies behind the place is not computed.
        place: whose activations are aimed at.
        made: from free numbers to inputs.
        aim: of what was captured and the targets, what to climb and what to record, (N,) each.
        measure: likewise, two numbers of each finished picture.
        target_shape: of one picture's target.
        is_moved: whether pictures are moved at each step.
        batch_size: N.
    """

    def __init__(
        self,
        subject: Subject,
        place: Place,
        made: Parametrisation,
        *,
        aim: Aim,
        measure: Aim,
        target_shape: tuple[int, ...],
        is_moved: bool,
        batch_size: int,
    ):
        self._made = made

        def gradient(parameters: tf.Tensor, targets: tf.Tensor, moves: tf.Tensor):
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                inputs = made.render(parameters)
                if is_moved:
                    inputs = moved(inputs, moves)
                climbed, recorded = aim(capture(subject, inputs, [place])[place.name], targets)
            return tape.gradient(climbed, parameters), recorded

        def steps(parameters, mean, square, done, targets, moves):
            """Adam as in arXiv:1412.6980, algorithm 1, over the moves of one block."""

            def step(i, x, mean, square, history):
                change, recorded = gradient(x, targets, moves[i])
                mean = 0.9 * mean + 0.1 * change
                square = 0.999 * square + 0.001 * change**2
                time = tf.cast(done + i + 1, tf.float32)
                unbiased = mean / (1 - 0.9**time)
                size = tf.sqrt(square / (1 - 0.999**time))
                x = x + made.learning_rate * unbiased / (size + 1e-8)
                return i + 1, x, mean, square, history.write(i, recorded)

            count = tf.shape(moves)[0]
            history = tf.TensorArray(tf.float32, count, element_shape=(parameters.shape[0],))
            state = (0, parameters, mean, square, history)
            state = tf.while_loop(lambda i, *_: i < count, step, state)
            return (*state[1:4], state[4].stack())

        def finish(parameters, targets):
            inputs = made.render(parameters)
            found = capture(subject, inputs, [place])[place.name]
            return inputs, *measure(found, targets)

        # concrete: TensorFlow takes one function a layer for one that is traced ever again
        shape = (batch_size, *made.start(np.random.default_rng(0)).shape)
        numbers = tf.TensorSpec(shape, tf.float32)
        aimed = tf.TensorSpec((batch_size, *target_shape), tf.float32)
        table = tf.TensorSpec((None, batch_size, 4), tf.float32)
        done = tf.TensorSpec((), tf.int32)
        self._steps = tf.function(steps, autograph=False).get_concrete_function(
            numbers, numbers, numbers, done, aimed, table
        )
        self._finish = tf.function(finish, autograph=False).get_concrete_function(numbers, aimed)

    def run(
        self,
        targets: np.ndarray,
        rngs: Sequence[np.random.Generator],
        steps: int,
        moves: Moves,
        progress: Callable[[int], object] | None = None,
    ) -> list[np.ndarray]:
        """Returns inputs, the two measures, and what was recorded at each step, each (N, ...).

        Args:
            targets: shape (N, ...).
            rngs: one a picture: where it starts and how it is moved.
            steps: how many.
            moves: how far.
            progress: called with steps times pictures after each block.
        """
        parameters = tf.constant(np.stack([self._made.start(rng) for rng in rngs]))
        table = np.stack([moves.draw(rng, steps) for rng in rngs], axis=1)  # (steps, N, 4)
        targets = tf.constant(targets, tf.float32)
        mean = square = tf.zeros_like(parameters)
        history = []
        for start in range(0, steps, _BLOCK):
            block = tf.constant(table[start : start + _BLOCK])
            parameters, mean, square, recorded = self._steps(
                parameters, mean, square, tf.constant(start), targets, block
            )
            history.append(recorded.numpy())
            if progress is not None:
                progress(len(block) * len(rngs))
        found = [values.numpy() for values in self._finish(parameters, targets)]
        return [*found, np.concatenate(history).T]
