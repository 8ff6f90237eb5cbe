"""A surface over a plane as the ground of a race."""

import time
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from dlsuite.studies.budget import Timing
from dlsuite.studies.plan import Contender, Trial
from dlsuite.studies.records import Record, finite
from dlsuite.studies.surfaces import surface
from dlsuite.studies.tunable import TunableOptimizer

# Of the way from the start's value to the minimum's, what the target leaves.
_LEFT = 1e-3
# Beyond this a path has diverged: float32 still squares it.
_FAR = 1e15
_STEPS = 200


class PaperProblem:
    """A problem on paper as the ground of a race.

    A trial's path is compiled into one call. The seed shifts the start by a normal law of a
    hundredth of the view, the same for all contenders. Weight decay has nothing to act on.

    Args:
        name: one of `dlsuite.studies.surfaces`, a quadratic with its condition number or not.

    Attributes:
        measure: what the target is of.
        steps: of a trial.
        steps_per_epoch: there are no epochs; a budget may come down to a step.
        target: a thousandth of the way from the start's value to the minimum's is left.
        surface: the function.
        clipping, notes: none.
    """

    measure = "loss"
    steps = _STEPS
    steps_per_epoch = 1
    recipe = None
    clipping: Mapping[str, float] = {}

    def __init__(self, name: str):
        self.surface = surface(name)
        start = float(self.surface.value(*self.surface.start, np))
        self.target = self.surface.lowest + _LEFT * (start - self.surface.lowest)
        self.notes: list[str] = []
        self._point = keras.Variable(np.zeros(2, "float32"), name="point")

    def prepare(self, contender: Contender, *, steps: int, evaluate_every: int) -> None:
        """Compiles a contender's path; trials of it may then be run."""
        self._contender, self._steps, self._every = contender, steps, evaluate_every
        self._optimizer = TunableOptimizer(contender, [self._point], steps=steps)
        self._walk = tf.function(self._path)
        self._walk(tf.constant(1))

    def timing(self, contender: Contender) -> Timing:
        """Returns what compiling and a step take."""
        begin = time.perf_counter()
        self.prepare(contender, steps=_STEPS, evaluate_every=1)
        prepared = time.perf_counter()
        self._walk(tf.constant(_STEPS))
        return Timing(prepared - begin, (time.perf_counter() - prepared) / _STEPS, 0.0)

    def run(self, trial: Trial) -> Record:
        """Returns the path of a trial of the prepared contender."""
        self._optimizer.reset(trial.parameters)
        self._point.assign(self.start(trial.seed))
        begin = time.perf_counter()
        path = self._walk(tf.constant(self._steps)).numpy().astype(float)
        seconds = time.perf_counter() - begin
        lost = ~np.isfinite(path).all(axis=1) | (np.abs(path) > _FAR).any(axis=1)
        diverged_at = int(np.argmax(lost)) if lost.any() else None
        steps = list(range(0, self._steps + 1, self._every))
        if diverged_at is not None:
            steps = [step for step in steps if step < diverged_at]
        kept = path[steps]
        values = self.surface.value(kept[:, 0], kept[:, 1], np)
        moved = np.linalg.norm(np.diff(kept, axis=0), axis=1) / np.maximum(
            np.linalg.norm(kept[:-1], axis=1), 1e-12
        )
        curves = {
            **dict.fromkeys(("loss", "validation_loss", "test_loss"), values),
            "moved": np.concatenate([[np.nan], moved]),
            "x": kept[:, 0],
            "y": kept[:, 1],
        }
        return Record(
            trial=trial,
            status="ended" if diverged_at is None else "diverged",
            diverged_at=diverged_at,
            steps=steps,
            curves={name: [finite(value) for value in curve] for name, curve in curves.items()},
            seconds=[seconds * step / self._steps for step in steps],
            state_values=self._optimizer.state_values,
        )

    def start(self, seed: int) -> np.ndarray:
        """Returns where the paths of a seed begin, (2,)."""
        left, right, low, high = self.surface.view
        spread = np.array([right - left, high - low]) / 100
        shift = np.random.default_rng(seed).normal(size=2) * spread
        return (np.array(self.surface.start) + shift).astype("float32")

    def _path(self, steps: tf.Tensor) -> tf.Tensor:
        """The point before the first and after each step, (steps + 1, 2)."""

        def body(index, rows):
            with tf.GradientTape() as tape:
                point = tf.convert_to_tensor(self._point)
                tape.watch(point)
                value = self.surface.value(point[0], point[1], tf.math)
            self._optimizer.optimizer.apply([tape.gradient(value, point)], [self._point])
            return index + 1, rows.write(index + 1, tf.convert_to_tensor(self._point))

        rows = tf.TensorArray(tf.float32, size=steps + 1, element_shape=(2,))
        rows = rows.write(0, tf.convert_to_tensor(self._point))
        _, rows = tf.while_loop(
            lambda index, _: index < steps, body, (tf.constant(0), rows), parallel_iterations=1
        )
        return rows.stack()
