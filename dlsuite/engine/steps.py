"""A training or test step, compiled once and run many times a call."""

import warnings
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

# A call takes at most about this long [s], so that the bar moves and an interrupt is heeded.
_CALL_SECONDS = 0.5


class Steps:
    """A compiled call that runs a step on as many batches as it is told.

    The number of steps is a tensor, so that one trace serves every block, the epoch's partial
    last one included.

    Attributes:
        names: of the metrics, in the order of the columns.
        seconds: a step took when it was last run; None before.
    """

    def __init__(
        self,
        step: Callable,
        results: Callable[[], dict[str, tf.Tensor]],
        strategy: tf.distribute.Strategy,
        use_xla: bool,
        watched: Sequence[keras.Variable],
    ):
        # XLA compiles the step alone: the iterator's ops have no XLA kernel
        self._step = tf.function(step, jit_compile=True) if use_xla else step
        self._results = results
        self._strategy = strategy
        self._watched = watched
        # by the batches' shapes: another shape needs another trace
        self._traced: dict[str, Callable] = {}
        self._is_xla = use_xla
        self.names: list[str] = []
        self.seconds: float | None = None

    def at_most(self, limit: int) -> int:
        """Returns the steps of the next call: one that has compiled, then about half a second."""
        if self.seconds is None:
            return 1
        return max(1, min(limit, int(_CALL_SECONDS / self.seconds)))

    def _many(self, iterator: tf.data.Iterator, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the metrics after each step, (count, metrics), columns as in `names`.

        And whether what is watched is finite after the last step.
        """

        def body(index, rows):
            logs = self._strategy.run(self._step, args=(next(iterator),))
            if self._strategy.num_replicas_in_sync > 1:
                logs = self._over_replicas(logs)
            self.names = sorted(logs)  # a note taken while tracing
            row = tf.stack([tf.cast(logs[name], tf.float32) for name in self.names])
            return index + 1, rows.write(index, row)

        rows = tf.TensorArray(tf.float32, size=count, infer_shape=False)
        # written out, since autograph can't convert a loop whose source it can't read
        _, rows = tf.while_loop(
            lambda index, _: index < count, body, (tf.constant(0), rows), parallel_iterations=1
        )
        return rows.stack(), self._are_finite()

    def _are_finite(self) -> tf.Tensor:
        """Whether what is watched is finite on all replicas: the same answer on all workers."""
        if not self._watched:
            return tf.constant(True)

        def replica() -> tf.Tensor:
            # a sum passes NaN and infinity on, and reads each number once
            sums = [tf.reduce_sum(tf.convert_to_tensor(variable)) for variable in self._watched]
            return tf.cast(tf.reduce_all([tf.math.is_finite(total) for total in sums]), tf.int32)

        finite = self._strategy.run(replica)
        count = self._strategy.reduce(tf.distribute.ReduceOp.SUM, finite, axis=None)
        return tf.equal(count, self._strategy.num_replicas_in_sync)

    def _over_replicas(self, logs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Metrics read where their sums over the replicas are; of other values the mean."""
        together = self._results()
        mean = tf.distribute.ReduceOp.MEAN
        return {
            name: together[name]
            if name in together
            else self._strategy.reduce(mean, value, axis=None)
            for name, value in logs.items()
        }

    def __call__(self, iterator: tf.data.Iterator, count: int) -> tuple[np.ndarray, bool, bool]:
        """Returns the rows, whether what is watched is finite, and whether it had to trace."""
        specs = tf.nest.flatten(iterator.element_spec, expand_composites=True)
        shapes = ", ".join(f"{tuple(spec.shape)} {spec.dtype.name}" for spec in specs)
        is_first = shapes not in self._traced
        if is_first:
            # traced by hand: TensorFlow would take a second run in a process for a retracing
            traced = tf.function(self._many).get_concrete_function(iterator, tf.constant(0))
            self._traced[shapes] = traced
            is_fixed = all(spec.shape.is_fully_defined() for spec in specs)
            self._warn_of_compiling(shapes, is_fixed)
        rows, are_finite = self._traced[shapes](iterator, tf.constant(count))
        return rows.numpy(), bool(are_finite), is_first

    def _warn_of_compiling(self, shapes: str, is_fixed: bool) -> None:
        """Says where a step is compiled more often than once."""
        if self._is_xla and not is_fixed:
            warnings.warn(
                "The batches have no fixed shape, and XLA compiles the step anew for each that it "
                f"meets: {shapes}. Fix the shape, as by drop_remainder=True, or leave XLA off.",
                stacklevel=2,
            )
        elif len(self._traced) > 1:
            warnings.warn(
                f"The batches' shapes changed, and the step was compiled for the {self.compiled}. "
                f"time: {shapes}. Keep one shape where speed matters.",
                stacklevel=2,
            )

    @property
    def compiled(self) -> int:
        """How many times the step was traced, and compiled by XLA where that is on."""
        return len(self._traced)
