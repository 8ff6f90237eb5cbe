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
        training_metrics: an epoch's, from the end of its training to that of its validation.
        diverged_at: the first step whose metrics are not finite numbers, if any; for those of a
            validation the step before it.
    """

    step: int = 0
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    training_metrics: dict[str, float] = field(default_factory=dict)
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


@dataclass(frozen=True)
class Unvalidated:
    """An epoch's training is done and its validation was broken off by a wish to stop."""


class Loop:
    """Trains and evaluates one model on batches of fixed shape.

    Args:
        model: has ``train_step``, ``test_step`` and ``metrics``; built.
        steps_per_call: most training steps in a compiled call. Changes no number.
        use_xla: compile the steps with XLA. Changes the last bits of the numbers.

    Attributes:
        steps_per_call: may be changed between trainings; nothing compiles anew.
    """

    def __init__(self, model: keras.Model, *, steps_per_call: int = 32, use_xla: bool = False):
        self.model = model
        self.steps_per_call = steps_per_call
        self._strategy = tf.distribute.get_strategy()
        results = model.get_metrics_result
        self._train_calls = _Steps(model.train_step, results, self._strategy, use_xla)
        self._test_calls = _Steps(model.test_step, results, self._strategy, use_xla)

    def train(
        self,
        batches: tf.data.Dataset,
        *,
        steps_per_epoch: int,
        epochs: int,
        validation: tf.data.Dataset | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        progress: Progress | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Block | Progress | Unvalidated]:
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
            should_stop: asked within a validation, which is broken off where it says so.
        """
        progress = progress or Progress()
        calls = keras.callbacks.CallbackList(
            list(callbacks),
            model=self.model,
            epochs=epochs,
            steps=steps_per_epoch,
            verbose=0,
        )
        limit = self.steps_per_call
        if any(getattr(callback, "every_step", False) for callback in callbacks):
            limit = 1
        self.model.stop_training = False
        iterator = iter(batches)
        calls.on_train_begin()
        try:
            yield from self._epochs(
                iterator, steps_per_epoch, epochs, validation, calls, limit, progress, should_stop
            )
        finally:
            calls.on_train_end()

    def _epochs(
        self,
        iterator: Iterator,
        steps_per_epoch: int,
        epochs: int,
        validation: tf.data.Dataset | None,
        calls: keras.callbacks.CallbackList,
        limit: int,
        progress: Progress,
        should_stop: Callable[[], bool],
    ) -> Iterator[Block | Progress | Unvalidated]:
        while (
            progress.epoch < epochs
            and not self.model.stop_training
            and progress.diverged_at is None
        ):
            calls.on_epoch_begin(progress.epoch)
            done = progress.step - progress.epoch * steps_per_epoch
            if done == 0:  # otherwise the run goes on in the middle of an epoch
                for metric in self.model.metrics:
                    metric.reset_state()
            logs = progress.training_metrics or (self._results() if done else {})
            while done < steps_per_epoch and progress.diverged_at is None:
                calls.on_train_batch_begin(done)
                count = min(steps_per_epoch - done, self._train_calls.at_most(limit))
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
                progress.training_metrics = logs
                calls.on_test_begin()
                results = self.evaluate(validation, calls=calls, should_stop=should_stop)
                calls.on_test_end(results)
                if results is None:
                    yield Unvalidated()
                    break
                if not np.isfinite(list(results.values())).all():
                    progress.diverged_at = progress.step
                logs = logs | {f"val_{name}": value for name, value in results.items()}
                progress.training_metrics = {}
            progress.epoch += 1
            progress.history.append({"epoch": progress.epoch, "step": progress.step, **logs})
            calls.on_epoch_end(progress.epoch - 1, dict(logs))
            yield progress

    def evaluate(
        self,
        batches: tf.data.Dataset,
        *,
        calls: keras.callbacks.CallbackList | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, float] | None:
        """Returns the metrics over all batches, each example counted by its weight.

        Replicas take the mean of their moving statistics before it (see `average_statistics`).

        Args:
            batches: finite.
            calls: callbacks whose test hooks fire once a block.
            should_stop: asked between blocks; where it says so, the result is None.
        """
        average_statistics(self.model)
        for metric in self.model.metrics:
            metric.reset_state()
        calls = calls or keras.callbacks.CallbackList()
        iterator = iter(batches)
        total, done = int(batches.cardinality()), 0
        results: dict[str, float] = {}
        while done < total:
            if done and should_stop():
                return None
            calls.on_test_batch_begin(done)
            count = min(total - done, self._test_calls.at_most(self.steps_per_call))
            block = self._run(self._test_calls, iterator, count, done)
            done += count
            results = {name: float(values[-1]) for name, values in block.metrics.items()}
            calls.on_test_batch_end(done - 1, results)
        return results

    def _results(self) -> dict[str, float]:
        """The metrics as they stand, in the order of a block's."""
        results = self.model.get_metrics_result()
        return {name: float(keras.ops.convert_to_numpy(results[name])) for name in sorted(results)}

    def _run(self, steps: "_Steps", iterator: tf.data.Iterator, count: int, done: int) -> Block:
        start = time.perf_counter()
        values, compiling = steps(iterator, count)
        seconds = time.perf_counter() - start
        if not compiling:
            steps.seconds = seconds / count
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
    ):
        # XLA compiles the step alone: the iterator's ops have no XLA kernel
        self._step = tf.function(step, jit_compile=True) if use_xla else step
        self._results = results
        self._strategy = strategy
        self._traced: Callable | None = None
        self.names: list[str] = []
        self.seconds: float | None = None

    def at_most(self, limit: int) -> int:
        """Returns the steps of the next call: one that has compiled, then about half a second."""
        if self.seconds is None:
            return 1
        return max(1, min(limit, int(_CALL_SECONDS / self.seconds)))

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
        is_first = self._traced is None
        if is_first:
            # traced by hand: TensorFlow would take a second run in a process for a retracing
            self._traced = tf.function(self._many).get_concrete_function(iterator, tf.constant(0))
        return self._traced(iterator, tf.constant(count)).numpy(), is_first
