"""The one training loop: many steps of ``model.train_step`` a compiled call.

Its contract is Keras's own. A model has ``train_step(batch)`` and ``test_step(batch)``, which
return a dictionary of scalar metrics, and ``metrics``, which are reset where an epoch begins.
A compiled functional model satisfies it; a model of several networks brings its own
``train_step``.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from dlsuite.engine.strategy import average_statistics

# A call takes at most about this long [s], so that the bar moves and an interrupt is heeded.
_CALL_SECONDS = 0.5


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: training steps done since the run began.
        epoch: epochs done.
        history: one row an epoch: ``epoch`` (from 1), ``step``, training and ``val_`` metrics.
        diverged_at: the first step whose metrics are not finite numbers, if any.
    """

    step: int = 0
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    diverged_at: int | None = None


@dataclass(frozen=True)
class Block:
    """What one compiled call did.

    Attributes:
        step: training steps done when it ended.
        count: training steps in it.
        metrics: name to the running mean since the epoch began, after each step, (steps,).
        seconds: wall-clock time.
        compiling: whether the time holds the tracing or compiling of a step.
    """

    step: int
    count: int
    metrics: dict[str, np.ndarray]
    seconds: float
    compiling: bool


class Loop:
    """Trains and evaluates one model on batches of fixed shape.

    Args:
        model: has ``train_step``, ``test_step`` and ``metrics``; built.
        steps_per_call: most training steps in a compiled call. Changes no number.
        use_xla: compile the steps with XLA. Changes the last bits of the numbers.
    """

    def __init__(self, model: keras.Model, *, steps_per_call: int = 32, use_xla: bool = False):
        self.model = model
        self._steps_per_call = steps_per_call
        self._strategy = tf.distribute.get_strategy()
        results = model.get_metrics_result
        self._train_calls = _Steps(model.train_step, results, self._strategy, use_xla)
        self._test_calls = _Steps(model.test_step, results, self._strategy, use_xla)
        self._step_seconds: float | None = None

    def train(
        self,
        batches: tf.data.Dataset,
        *,
        steps_per_epoch: int,
        epochs: int,
        validation: tf.data.Dataset | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        progress: Progress | None = None,
    ) -> Iterator[Block | Progress]:
        """Trains, yielding a `Block` after each compiled call and `Progress` after each epoch.

        The consumer may stop at any yield; the model then stands exactly there. Keras
        callbacks' batch hooks fire once a block with the index of the true last step; a
        callback with the attribute ``every_step = True`` has blocks of one step.

        Args:
            batches: infinite; starts at the batch of ``progress.step``.
            steps_per_epoch: steps an epoch.
            epochs: the epoch to stop after.
            validation: finite; evaluated after each epoch.
            callbacks: Keras callbacks.
            progress: where to go on from.
        """
        progress = progress or Progress()
        calls = keras.callbacks.CallbackList(
            list(callbacks),
            model=self.model,
            epochs=epochs,
            steps=steps_per_epoch,
            verbose=0,
        )
        limit = self._steps_per_call
        if any(getattr(callback, "every_step", False) for callback in callbacks):
            limit = 1
        self.model.stop_training = False
        iterator = iter(batches)
        calls.on_train_begin()
        while progress.epoch < epochs and not self.model.stop_training:
            calls.on_epoch_begin(progress.epoch)
            done = progress.step - progress.epoch * steps_per_epoch
            if done == 0:  # otherwise the run goes on in the middle of an epoch
                for metric in self.model.metrics:
                    metric.reset_state()
            logs = self._results() if done else {}
            while done < steps_per_epoch and progress.diverged_at is None:
                calls.on_train_batch_begin(done)
                count = min(steps_per_epoch - done, self._steps_a_call(limit))
                block = self._run(self._train_calls, iterator, count, progress.step)
                done += count
                progress.step += count
                logs = {name: float(values[-1]) for name, values in block.metrics.items()}
                progress.diverged_at = _first_not_finite(block)
                calls.on_train_batch_end(done - 1, logs)
                yield block
                if self.model.stop_training:
                    break
            if done < steps_per_epoch or progress.diverged_at is not None:
                break
            if validation is not None:
                calls.on_test_begin()
                results = self.evaluate(validation)
                calls.on_test_end(results)
                logs |= {f"val_{name}": value for name, value in results.items()}
            progress.epoch += 1
            progress.history.append({"epoch": progress.epoch, "step": progress.step, **logs})
            calls.on_epoch_end(progress.epoch - 1, dict(logs))
            yield progress
        calls.on_train_end()

    def evaluate(self, batches: tf.data.Dataset) -> dict[str, float]:
        """Returns the metrics over all batches, each example counted by its weight.

        Replicas take the mean of their moving statistics before it (see `average_statistics`).
        """
        average_statistics(self.model)
        for metric in self.model.metrics:
            metric.reset_state()
        count = int(batches.cardinality())
        block = self._run(self._test_calls, iter(batches), count, 0)
        return {name: float(values[-1]) for name, values in block.metrics.items()}

    def _results(self) -> dict[str, float]:
        """The metrics as they stand."""
        results = self.model.get_metrics_result()
        return {name: float(keras.ops.convert_to_numpy(value)) for name, value in results.items()}

    def _steps_a_call(self, limit: int) -> int:
        if self._step_seconds is None:  # first call: one step, so that its time can be known
            return 1
        return max(1, min(limit, int(_CALL_SECONDS / self._step_seconds)))

    def _run(self, steps: "_Steps", iterator: tf.data.Iterator, count: int, done: int) -> Block:
        start = time.perf_counter()
        values, compiling = steps(iterator, count)
        seconds = time.perf_counter() - start
        if steps is self._train_calls and not compiling:
            self._step_seconds = seconds / count
        metrics = {name: values[:, column] for column, name in enumerate(steps.names)}
        return Block(done + count, count, metrics, seconds, compiling)


def _first_not_finite(block: Block) -> int | None:
    """The first step of a block with a metric that is not finite, counted from 1 in the run."""
    finite = np.all([np.isfinite(values) for values in block.metrics.values()], axis=0)
    return None if finite.all() else block.step - block.count + int(np.argmin(finite)) + 1


class _Steps:
    """A compiled call that runs a step on as many batches as it is told.

    The number of steps is a tensor, so that one trace serves every block, the epoch's partial
    last one included.
    """

    def __init__(
        self,
        step: Callable,
        results: Callable[[], dict[str, tf.Tensor]],
        strategy: tf.distribute.Strategy,
        use_xla: bool,
    ):
        # XLA compiles the step alone: the iterator's ops have no XLA kernel
        self._step = tf.function(step, jit_compile=True) if use_xla else step
        self._results = results
        self._strategy = strategy
        self._call = tf.function(self._many)
        self.names: list[str] = []

    def _many(self, iterator: tf.data.Iterator, count: tf.Tensor) -> tf.Tensor:
        """Returns the metrics after each step, (count, metrics), columns as in `names`."""

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
        return rows.stack()

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

    def __call__(self, iterator: tf.data.Iterator, count: int) -> tuple[np.ndarray, bool]:
        """Returns the rows and whether this call had to trace."""
        traces = self._call.experimental_get_tracing_count()
        rows = self._call(iterator, tf.constant(count)).numpy()
        return rows, self._call.experimental_get_tracing_count() > traces
