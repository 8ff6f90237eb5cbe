"""A task trained into a run folder, from its start or from where it stopped."""

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from dlsuite.engine.checkpoint import callback_state
from dlsuite.engine.device import Execution, explained
from dlsuite.engine.guard import Fault, Guard
from dlsuite.engine.loop import Block, Loop, Progress, Unvalidated
from dlsuite.engine.recorder import Recorder
from dlsuite.engine.replicas import replica_batches
from dlsuite.engine.signals import INTERRUPTED, StopRequest
from dlsuite.engine.state import State
from dlsuite.engine.task import Task
from dlsuite.engine.trajectory import Trajectory
from dlsuite.engine.workers import Workers, lost_worker
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Recipe, Train
from dlsuite.runs.folder import RunFolder


class Observer:
    """Told how a run goes on. The command line's progress display is one."""

    def on_note(self, message: str) -> None:
        """Called with a sentence that the user should read."""

    def on_start(self, progress: Progress) -> None:
        """Called where the training begins: at step 0, or where a resumed run stopped."""

    def on_block(self, block: Block, progress: Progress) -> None:
        """Called after each compiled call."""

    def on_epoch(self, row: Mapping[str, Any], is_best: bool) -> None:
        """Called after each epoch with its row of the history."""


def check_monitor(recipe: Recipe, metrics: Sequence[str]) -> None:
    """Checks that the metric which decides the best epoch is one that the task measures.

    Raises:
        DlsuiteError: it is not.
    """
    if recipe.train.monitor not in metrics:
        raise DlsuiteError(
            "train.monitor must be a metric of the task. "
            f"Received: {recipe.train.monitor!r}. Use one of: {', '.join(metrics)}."
        )


def train_task(
    task: Task,
    folder: RunFolder,
    *,
    execution: Execution,
    request: StopRequest,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    observer: Observer | None = None,
    resume: bool = False,
    past_stop: bool = False,
) -> str:
    """Trains into the run folder and returns how it ended.

    Args:
        task: what to train; built.
        folder: holds ``run.json`` already, and is locked for this process.
        execution: device, threads and XLA.
        request: the wish to stop, which signals set.
        callbacks: Keras callbacks. What they remember as plain attributes is restored.
        observer: told of blocks and epochs.
        resume: go on from the newest checkpoint; from step 0 where there is none.
        past_stop: the run was stopped for want of improvement, and its patience begins anew.

    Returns:
        ``finished``, ``stopped`` (early, for want of improvement or by a callback),
        ``interrupted`` (Ctrl-C), ``paused`` (SIGTERM, SIGUSR1 or the time limit) or ``diverged``;
        ``run.json`` holds the same.

    Raises:
        DlsuiteError: the checkpoints don't fit, or the folder can't be written any more; what was
            written is kept.
    """
    observer = observer or Observer()
    workers = Workers(tf.distribute.get_strategy())
    recorder = Recorder(task, folder)
    if task.recipe.train.trajectory and workers.is_chief:
        callbacks = [*callbacks, Trajectory(folder, task.exported)]
    try:
        with tf.device(execution.device):
            status = _train(
                task, recorder, execution, callbacks, observer, request, workers, resume, past_stop
            )
            recorder.checkpoints.wait()
    except tf.errors.OpError as error:
        recorder.end("failed")
        raise (_explained(error, task, execution, folder) or error) from None
    except KeyboardInterrupt:  # the second Ctrl-C
        recorder.end(INTERRUPTED)
        raise
    except BaseException:  # whatever ended it, the folder must not say that it runs
        recorder.end("failed")
        raise
    recorder.end(status)
    workers.table([0])  # the others go on when the chief has written how it ended
    return status


def _train(
    task: Task,
    recorder: Recorder,
    execution: Execution,
    callbacks: Sequence[keras.callbacks.Callback],
    observer: Observer,
    request: StopRequest,
    workers: Workers,
    resume: bool,
    past_stop: bool,
) -> str:
    settings = task.recipe.train
    slots = [
        variable
        for optimizer, _ in task.optimizers
        # under a loss scale infinity is no fault
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        for variable in optimizer.variables
    ]
    loop = Loop(
        task.model,
        steps_per_call=settings.steps_per_call,
        use_xla=execution.use_xla,
        slots=slots,
    )

    def batches(step: int) -> Any:
        return replica_batches(lambda shard: task.training_data(step, shard))

    validation = replica_batches(task.validation_data)
    # Keras creates its metrics at their first use; the state must hold them from the start
    loop.evaluate(validation.take(1))
    state = State(task.model, [optimizer for optimizer, _ in task.optimizers])
    callbacks = [*task.callbacks(), *callbacks]

    def plain_state() -> dict[str, Any]:
        remembered = [
            {"of": type(callback).__name__, "state": callback_state(callback)}
            for callback in callbacks
        ]
        return recorder.plain_state(progress) | {"callbacks": remembered}

    progress, remembered = Progress(), []
    if resume:
        progress, remembered = _restore(recorder, state, observer, workers)
        if _is_patience_over(settings, recorder, progress):
            if not past_stop:  # killed before it could say so
                return "stopped"
            recorder.improved_epoch = progress.epoch
    observer.on_start(progress)
    hooks = [*callbacks, _Remembering(callbacks, remembered)]
    if task.averages is not None:
        hooks.append(task.averages)
    guard = Guard(task.model, task.optimizers, state, batches, skips=settings.not_finite == "skip")
    events = loop.train(
        batches(progress.step),
        steps_per_epoch=task.steps_per_epoch,
        epochs=settings.epochs,
        validation=validation,
        callbacks=hooks,
        progress=progress,
        should_stop=lambda: request.agreed() is not None,
        guard=guard,
    )
    # closed also where it is left early, so that callbacks hear of the training's end
    with contextlib.closing(events):
        return _follow(
            events, task, recorder, observer, request, workers, progress, state, plain_state
        )


def _follow(
    events: Generator[Block | Progress | Unvalidated | Fault, None, None],
    task: Task,
    recorder: Recorder,
    observer: Observer,
    request: StopRequest,
    workers: Workers,
    progress: Progress,
    state: State,
    plain_state: Callable[[], dict[str, Any]],
) -> str:
    """Records what the loop does and returns how the training ended."""
    settings = task.recipe.train
    for event in events:
        is_due = True
        if isinstance(event, Block):
            recorder.block(event, progress)
            observer.on_block(event, progress)
            is_due = workers.of_chief(recorder.checkpoint_is_due(event))
        elif isinstance(event, Progress):
            is_best = recorder.epoch(progress)
            observer.on_epoch(progress.history[-1], is_best)
            if _is_patience_over(settings, recorder, progress):
                task.model.stop_training = True
        elif isinstance(event, Fault):
            # the state is that before the step: a fault that ends the run leaves it on disk
            is_due = not event.is_skipped
            observer.on_note(_fault_sentence(event))
        status = request.agreed()
        goes_on = progress.diverged_at is None
        if (goes_on or isinstance(event, Fault)) and (is_due or status):
            recorder.checkpoint(state, plain_state())
        # a run that ends here anyway is not to be called again
        ends = task.model.stop_training or progress.epoch >= settings.epochs
        if status and goes_on and not ends:
            recorder.stopped(progress)
            return status
    if progress.diverged_at is not None:
        recorder.diverged(progress)
        return "diverged"
    if progress.step > progress.epoch * task.steps_per_epoch:  # stopped within an epoch
        recorder.checkpoint(state, plain_state())
        recorder.stopped(progress)
    return "finished" if progress.epoch >= settings.epochs else "stopped"


def _is_patience_over(settings: Train, recorder: Recorder, progress: Progress) -> bool:
    """Whether the epochs of `early_stopping` have brought no improvement."""
    waited = progress.epoch - recorder.improved_epoch
    return bool(settings.early_stopping) and waited >= settings.early_stopping


def _fault_sentence(fault: Fault) -> str:
    if fault.is_skipped:
        return f"Step {fault.step} is left out: {fault.place} is not finite."
    return (
        f"At step {fault.step} {fault.place} is not finite; the newest checkpoint holds the state "
        "before it."
    )


def _explained(
    error: tf.errors.OpError, task: Task, execution: Execution, folder: RunFolder
) -> DlsuiteError | None:
    """The user's sentence for an error of TensorFlow, where there is one."""
    lost = lost_worker(error)
    if lost is not None:
        return DlsuiteError(
            f"All workers must stay until a run ends. Received: {lost} is gone. What was written "
            f"is kept: start the workers again, as many as you like, with `dlsuite resume "
            f"{folder.path}`."
        )
    return explained(error, task.recipe, execution.device)


def _restore(
    recorder: Recorder, state: State, observer: Observer, workers: Workers
) -> tuple[Progress, list[dict[str, Any]]]:
    """Returns the newest checkpoint's progress and callback states, its variables restored."""
    loaded = recorder.checkpoints.load(observer.on_note)
    steps = workers.table([loaded[1]["step"] if loaded else -1])[:, 0]
    if len(set(steps)) > 1:
        raise DlsuiteError(
            "All workers must read the same checkpoint. Received: those of the steps "
            f"{', '.join(map(str, steps))}, by worker. Keep the run folder on a file system that "
            "all workers see."
        )
    if loaded is None:
        recorder.check_nothing_is_lost()
        observer.on_note("The run has no usable checkpoint and begins at step 0.")
        nothing = {
            "step": 0,
            "epoch": 0,
            "history": [],
            "best": None,
            "improved_epoch": 0,
            "training_metrics": {},
            "skipped": 0,
            "learning_rate": None,
            "skipped_in_a_row": 0,
        }
        return recorder.go_on_from(nothing), []
    values, plain = loaded
    state.restore(values)
    return recorder.go_on_from(plain), plain["callbacks"]


class _Remembering(keras.callbacks.Callback):
    """Gives callbacks back what they remembered, after they began anew."""

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], states: list[dict[str, Any]]):
        super().__init__()
        self._callbacks = callbacks
        self._states = states

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        left = list(self._states)
        for callback in self._callbacks:
            # those of one kind in their order; of another kind, none has the other's
            kind = type(callback).__name__
            held = next((each for each in left if each.get("of") == kind), None)
            if held is not None:
                left.remove(held)
                vars(callback).update(held["state"])
