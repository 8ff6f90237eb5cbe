"""The one training loop: many steps of ``model.train_step`` a compiled call.

Its contract is Keras's own. A model has ``train_step(batch)`` and ``test_step(batch)``, which
return a dictionary of scalar metrics, and ``metrics``, which are reset where an epoch begins.
A compiled functional model satisfies it; a model of several networks brings its own
``train_step``.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from dlsuite.engine.guard import Fault, Guard
from dlsuite.engine.replicas import average_statistics
from dlsuite.engine.steps import Steps
from dlsuite.engine.workers import Workers


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: training steps done since the run began.
        epoch: epochs done.
        history: one row an epoch: ``epoch`` (from 1), ``step``, training and ``val_`` metrics.
        training_metrics: of the epoch under way; none before its first step.
        skipped: steps that were left out since their numbers were not finite.
        skipped_in_a_row: of them the last ones, with no other step since.
        diverged_at: the first step whose numbers are not finite, if any and it was not left out;
            for those of a validation the step before it.
        diverged_in: what of that step was the first that is not finite; None if not known.
    """

    step: int = 0
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    training_metrics: dict[str, float] = field(default_factory=dict)
    skipped: int = 0
    skipped_in_a_row: int = 0
    diverged_at: int | None = None
    diverged_in: str | None = None


@dataclass(frozen=True)
class Block:
    """What one compiled call did.

    Attributes:
        step: training steps done when it ended.
        count: training steps in it.
        metrics: name to the running mean since the epoch began, after each step, (steps,).
        seconds: wall-clock time.
        compiling: whether the time holds the tracing or compiling of a step.
        is_finite: whether all metrics are, and the weights and slots after the last step.
    """

    step: int
    count: int
    metrics: dict[str, np.ndarray]
    seconds: float
    compiling: bool
    is_finite: bool

    @property
    def last(self) -> dict[str, float]:
        """The metrics after the block's last step."""
        return {name: float(values[-1]) for name, values in self.metrics.items()}

    @property
    def first_not_finite(self) -> int | None:
        """The first step with a metric that is not finite, counted from 1 in the run.

        The last step where the metrics are finite and only what is left after it is not.
        """
        if self.is_finite:
            return None
        finite = np.all([np.isfinite(values) for values in self.metrics.values()], axis=0)
        offset = self.count - 1 if finite.all() else int(np.argmin(finite))
        return self.step - self.count + offset + 1


@dataclass(frozen=True)
class Unvalidated:
    """An epoch's training is done and its validation was broken off by a wish to stop."""


class Loop:
    """Trains and evaluates one model on batches of fixed shape.

    Args:
        model: has ``train_step``, ``test_step`` and ``metrics``; built.
        steps_per_call: most training steps in a compiled call. Changes no number.
        use_xla: compile the steps with XLA. Changes the last bits of the numbers.
        slots: variables of optimizers, which must be finite as weights must: infinity in them may
            leave the weights finite and unable to move.

    Attributes:
        steps_per_call: may be changed between trainings; nothing compiles anew.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        steps_per_call: int = 32,
        use_xla: bool = False,
        slots: Sequence[keras.Variable] = (),
    ):
        self.model = model
        self.steps_per_call = steps_per_call
        self._strategy = tf.distribute.get_strategy()
        self._workers = Workers(self._strategy)
        results = model.get_metrics_result
        watched = [
            variable
            for variable in (*model.trainable_variables, *slots)
            if tf.as_dtype(variable.dtype).is_floating
        ]
        self._train_calls = Steps(model.train_step, results, self._strategy, use_xla, watched)
        self._test_calls = Steps(model.test_step, results, self._strategy, use_xla, [])

    @property
    def compiled(self) -> int:
        """How many times the training step was compiled; more than once is warned of."""
        return self._train_calls.compiled

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
        guard: Guard | None = None,
    ) -> Iterator[Block | Progress | Unvalidated | Fault]:
        """Trains, yielding a `Block` after each compiled call and `Progress` after each epoch.

        Where numbers are not finite, a `Fault`: the training ends there, or goes on without that
        step where the guard says so. Without a guard it ends with the block.

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
            guard: finds the step that went wrong, and leaves the model as it stood before it.
        """
        calls = keras.callbacks.CallbackList(
            list(callbacks),
            model=self.model,
            epochs=epochs,
            steps=steps_per_epoch,
            verbose=0,
        )
        one_by_one = any(getattr(callback, "every_step", False) for callback in callbacks)
        training = _Training(
            iter(batches),
            steps_per_epoch,
            1 if one_by_one else self.steps_per_call,
            calls,
            progress or Progress(),
            guard,
        )
        self.model.stop_training = False
        calls.on_train_begin()
        try:
            while training.progress.epoch < epochs and not self.model.stop_training:
                if not (yield from self._epoch(training)):
                    break
                if not (yield from self._end_of_epoch(training, validation, should_stop)):
                    break
        finally:
            calls.on_train_end()

    def blocks(self, batches: tf.data.Dataset) -> Iterator[Block]:
        """Trains without epochs, callbacks or end, yielding each call's block: to time steps.

        Numbers that are not finite end nothing, since they take as long as others.

        Args:
            batches: infinite.
        """
        iterator, step = iter(batches), 0
        while True:
            limit = self.steps_per_call
            count = self._count(self._train_calls, limit, limit)
            yield self._run(self._train_calls, iterator, count, step)
            step += count

    def _epoch(self, training: "_Training") -> Generator[Block | Fault, None, bool]:
        """Trains to the epoch's end, or on from its middle; returns whether it got there."""
        progress, calls = training.progress, training.calls
        calls.on_epoch_begin(progress.epoch)
        end = (progress.epoch + 1) * training.steps_per_epoch
        begin = end - training.steps_per_epoch
        if progress.step == begin:
            for metric in self.model.metrics:
                metric.reset_state()
        while progress.step < end and progress.diverged_at is None:
            calls.on_train_batch_begin(progress.step - begin)
            count = self._count(self._train_calls, end - progress.step, training.limit)
            block, fault = self._guarded(training, count)
            if block is not None:
                progress.step += block.count
                progress.skipped_in_a_row = 0
                progress.training_metrics = block.last
                progress.diverged_at = block.first_not_finite
                calls.on_train_batch_end(progress.step - begin - 1, progress.training_metrics)
                yield block
            if fault is not None:
                if fault.is_skipped:
                    progress.step += 1
                    progress.skipped += 1
                    progress.skipped_in_a_row += 1
                else:
                    progress.skipped_in_a_row = 0  # whoever resumes it wants to go on
                    progress.diverged_at, progress.diverged_in = fault.step, fault.place
                yield fault
            if self.model.stop_training:
                break
        return progress.step == end and progress.diverged_at is None

    def _guarded(self, training: "_Training", count: int) -> tuple[Block | None, Fault | None]:
        """Runs a block; where it goes wrong and there is a guard, only to the fault."""
        guard, progress = training.guard, training.progress
        if guard is not None:
            guard.remember()
        block = self._run(self._train_calls, training.iterator, count, progress.step)
        if block.is_finite or guard is None:
            return block, None
        training.iterator, blocks, fault = guard.replay(
            lambda iterator, done: self._run(self._train_calls, iterator, 1, done),
            progress.step,
            count,
            skipped_in_a_row=progress.skipped_in_a_row,
        )
        return _joined(blocks), fault

    def _end_of_epoch(
        self,
        training: "_Training",
        validation: tf.data.Dataset | None,
        should_stop: Callable[[], bool],
    ) -> Generator[Progress | Unvalidated, None, bool]:
        """Validates and ends the epoch; returns whether that was not broken off."""
        progress, calls = training.progress, training.calls
        logs = progress.training_metrics
        if validation is not None:
            calls.on_test_begin()
            results = self.evaluate(validation, calls=calls, should_stop=should_stop)
            calls.on_test_end(results)
            if results is None:
                yield Unvalidated()
                return False
            if not np.isfinite(list(results.values())).all():
                progress.diverged_at = progress.step
            logs = logs | {f"val_{name}": value for name, value in results.items()}
        progress.training_metrics = {}
        progress.epoch += 1
        progress.history.append({"epoch": progress.epoch, "step": progress.step, **logs})
        calls.on_epoch_end(progress.epoch - 1, dict(logs))
        yield progress
        return progress.diverged_at is None

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
            count = self._count(self._test_calls, total - done, self.steps_per_call)
            block = self._run(self._test_calls, iterator, count, done)
            done += count
            results = block.last
            calls.on_test_batch_end(done - 1, results)
        return results

    def _count(self, steps: "Steps", left: int, limit: int) -> int:
        """Steps of the next call: the same for all workers, whatever their clocks say."""
        return self._workers.of_chief(min(left, steps.at_most(limit)))

    def _run(self, steps: "Steps", iterator: tf.data.Iterator, count: int, done: int) -> Block:
        start = time.perf_counter()
        values, is_rest_finite, compiling = steps(iterator, count)
        seconds = time.perf_counter() - start
        if not compiling:
            steps.seconds = seconds / count
        metrics = {name: values[:, column] for column, name in enumerate(steps.names)}
        is_finite = is_rest_finite and bool(np.isfinite(values).all())
        return Block(done + count, count, metrics, seconds, compiling, is_finite)


@dataclass
class _Training:
    """What one call of `Loop.train` goes through its epochs with."""

    iterator: Iterator
    steps_per_epoch: int
    limit: int
    calls: keras.callbacks.CallbackList
    progress: Progress
    guard: Guard | None


def _joined(blocks: Sequence[Block]) -> Block | None:
    """One block of successive ones; None of none."""
    if not blocks:
        return None
    return Block(
        blocks[-1].step,
        sum(block.count for block in blocks),
        {name: np.concatenate([b.metrics[name] for b in blocks]) for name in blocks[0].metrics},
        sum(block.seconds for block in blocks),
        any(block.compiling for block in blocks),
        all(block.is_finite for block in blocks),
    )
