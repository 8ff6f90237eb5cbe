"""A task trained into a run folder: best and last model, metrics, early stopping, interrupts."""

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import keras
import tensorflow as tf

from dlsuite.data.pipeline import reader_error
from dlsuite.engine.device import Execution
from dlsuite.engine.loop import Block, Loop, Progress
from dlsuite.errors import DlsuiteError
from dlsuite.optimizers.build import learning_rate_at
from dlsuite.recipes.schema import Recipe
from dlsuite.runs.folder import RunFolder


class Task(Protocol):
    """What the engine asks of a task (see `dlsuite.tasks`)."""

    recipe: Recipe
    model: keras.Model
    steps_per_epoch: int
    metrics: Sequence[str]

    def training_data(self, start_step: int = 0) -> tf.data.Dataset: ...

    def validation_data(self) -> tf.data.Dataset: ...

    def callbacks(self) -> list[keras.callbacks.Callback]: ...


class Observer:
    """Told how a run goes on. The command line's progress display is one."""

    def on_block(self, block: Block, progress: Progress) -> None:
        """Called after each compiled call."""

    def on_epoch(self, row: Mapping[str, Any], is_best: bool) -> None:
        """Called after each epoch with its row of the history."""


def check_monitor(recipe: Recipe, metrics: Sequence[str]) -> None:
    """Checks that the metric which decides the best epoch is one that the task measures.

    Raises:
        DlsuiteError: it is not.
    """
    known = [*(f"val_{name}" for name in metrics), *metrics]
    if recipe.train.monitor not in known:
        raise DlsuiteError(
            "train.monitor must be a metric of the task. "
            f"Received: {recipe.train.monitor!r}. Use one of: {', '.join(known)}."
        )


def train_task(
    task: Task,
    folder: RunFolder,
    *,
    execution: Execution,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    observer: Observer | None = None,
) -> str:
    """Trains into the run folder and returns how it ended.

    Returns:
        ``finished``, ``stopped`` (early, for want of improvement or by a callback),
        ``interrupted`` (Ctrl-C) or ``diverged``; ``run.json`` holds the same.

    Raises:
        DlsuiteError: the run folder can't be written any more; what was written is kept.
    """
    writer = _Writer(task, folder)
    try:
        with tf.device(execution.device), _interrupts() as interrupted:
            status = _train(task, writer, execution, callbacks, observer or Observer(), interrupted)
    except tf.errors.OpError as error:
        writer.end("failed")
        # an image that is read only when it is needed shows its damage here
        raise (reader_error(error) or error) from None
    except BaseException:
        writer.end("failed")
        raise
    writer.end(status)
    return status


def _train(
    task: Task,
    writer: "_Writer",
    execution: Execution,
    callbacks: Sequence[keras.callbacks.Callback],
    observer: Observer,
    interrupted: threading.Event,
) -> str:
    settings = task.recipe.train
    loop = Loop(task.model, steps_per_call=settings.steps_per_call, use_xla=execution.use_xla)
    callbacks = [*task.callbacks(), *callbacks]
    if writer.averages is not None:
        callbacks.append(writer.averages)
    progress = Progress()
    for event in loop.train(
        task.training_data(),
        steps_per_epoch=task.steps_per_epoch,
        epochs=settings.epochs,
        validation=task.validation_data(),
        callbacks=callbacks,
        progress=progress,
    ):
        if isinstance(event, Block):
            writer.block(event, progress)
            observer.on_block(event, progress)
        else:
            is_best = writer.epoch(progress)
            observer.on_epoch(progress.history[-1], is_best)
            waited = progress.epoch - writer.improved_epoch
            if settings.early_stopping and waited >= settings.early_stopping:
                task.model.stop_training = True
        if interrupted.is_set():
            writer.interrupted(progress)
            return "interrupted"
    if progress.diverged_at is not None:
        writer.diverged(progress)
        return "diverged"
    return "finished" if progress.epoch >= settings.epochs else "stopped"


class _Writer:
    """Keeps a run folder up to date while the loop runs."""

    def __init__(self, task: Task, folder: RunFolder):
        self._folder = folder
        self._monitor = task.recipe.train.monitor
        self._sign = -1 if self._monitor.endswith("loss") else 1
        self._log_every = task.recipe.train.log_every
        self._batch_size = task.recipe.train.batch_size
        self._optimizer = task.model.optimizer
        # the same layers without the optimizer and loss, so that plain Keras opens the file
        self._exported = keras.Model(task.model.input, task.model.output, name=task.model.name)
        self.averages = None
        if task.recipe.optimizer.ema_decay is not None:
            self.averages = keras.callbacks.SwapEMAWeights()
            self.averages.set_model(task.model)
        self._best: dict[str, Any] | None = None
        self.improved_epoch = 0
        folder.append("metrics.jsonl", [])  # there from the start, for whoever follows it
        self._step = 0
        self._seconds = {"training": 0.0, "compiling": 0.0}
        self._timed_steps = 0
        self._epoch_start = time.perf_counter()

    def block(self, block: Block, progress: Progress) -> None:
        """Appends the block's rows of ``metrics.jsonl``."""
        rows = []
        for offset in range(block.step - self._step):
            step = self._step + offset + 1
            if step % self._log_every == 0:
                values = {name: _finite(values[offset]) for name, values in block.metrics.items()}
                rows.append({"step": step, "epoch": progress.epoch + 1, **values})
        if rows:
            self._folder.append("metrics.jsonl", rows)
        if block.compiling:
            self._seconds["compiling"] += block.seconds
        else:
            self._seconds["training"] += block.seconds
            self._timed_steps += block.step - self._step
        self._step = block.step

    def epoch(self, progress: Progress) -> bool:
        """Writes the epoch's metrics and models; returns whether it is the best so far."""
        row = progress.history[-1]
        row["learning_rate"] = learning_rate_at(self._optimizer, progress.step - 1)
        value = row.get(self._monitor, math.nan)
        gain = self._sign * (value - self._best["value"]) if self._best else math.inf
        # of equal epochs the later one is best: it has seen more; but it is no improvement
        is_best = math.isfinite(value) and gain >= 0
        if is_best and gain > 0:
            self.improved_epoch = progress.epoch
        if is_best:
            self._best = {"epoch": progress.epoch, "monitor": self._monitor, "value": value}
        progress.history[-1] = {key: _finite(value) for key, value in row.items()}
        self._folder.write_history(progress.history)
        self._save(is_best)
        rate = self._timed_steps * self._batch_size / max(self._seconds["training"], 1e-9)
        self._folder.append(
            "timing.jsonl",
            [
                {
                    "epoch": progress.epoch,
                    "seconds": time.perf_counter() - self._epoch_start,
                    "compiling_s": self._seconds["compiling"],
                    "examples_per_s": rate if self._timed_steps else None,
                }
            ],
        )
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        self._timed_steps, self._epoch_start = 0, time.perf_counter()
        self._folder.update(epochs_done=progress.epoch, steps_done=progress.step, best=self._best)
        return is_best

    def interrupted(self, progress: Progress) -> None:
        """Saves where the run stands; without a best epoch, that is the model."""
        self._save(is_best=self._best is None)
        self._folder.update(epochs_done=progress.epoch, steps_done=progress.step, best=self._best)

    def diverged(self, progress: Progress) -> None:
        """Writes where the metrics stopped being numbers; the models before are kept."""
        self._folder.update(
            epochs_done=progress.epoch, steps_done=progress.step, diverged_at=progress.diverged_at
        )

    def end(self, status: str) -> None:
        """Writes how the run ended, as far as the folder can still be written."""
        try:
            self._folder.update(status=status, ended=datetime.now(UTC).isoformat())
        except DlsuiteError:
            if status != "failed":
                raise

    def _save(self, is_best: bool) -> None:
        if self.averages is not None:
            self.averages.on_test_begin()
        try:
            paths = [self._folder.last_model_path] + [self._folder.model_path] * is_best
            for path in paths:
                with self._folder.saving(path) as temporary:
                    self._exported.save(temporary)
        finally:
            if self.averages is not None:
                self.averages.on_test_end()


def _finite(value: Any) -> Any:
    """Returns the number, or None in the place of one that is not finite."""
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Yields an event that Ctrl-C sets; a second Ctrl-C ends the process at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def heed(number: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, heed)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
