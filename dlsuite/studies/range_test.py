"""The learning-rate range test: the loss while the rate rises from far too low to too high."""

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from dlsuite.engine.device import explaining, resolve_execution, set_up
from dlsuite.engine.loop import Block, Loop
from dlsuite.engine.replicas import prepare_model
from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import OPTIMIZERS
from dlsuite.recipes.schema import Recipe, Schedule
from dlsuite.tasks import load_task

# Weight of the past in the smoothed loss.
_SMOOTHING = 0.9
# The test ends where the smoothed loss is this many times the lowest one.
_EXPLODED = 4.0


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw.

    Attributes:
        rates: the learning rate of each step, rising.
        losses: the training loss before each update; the last one may not be finite.
        smoothed: its debiased running mean.
        steepest: the middle of the tenth of the range, its first left out, over which the
            smoothed loss falls most; None where it never falls.
        largest: the rate at which the smoothed loss is lowest; beyond it training gets worse.
        diverged: whether the loss exploded within the range.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steepest: float | None
    largest: float
    diverged: bool


class _Rising(keras.optimizers.schedules.LearningRateSchedule):
    """From low to high in equal factors."""

    def __init__(self, low: float, high: float, steps: int):
        self._low, self._factor = low, math.log(high / low) / (steps - 1)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return self._low * tf.exp(self._factor * tf.cast(step, tf.float32))


def range_test(recipe: Recipe, *, low: float, high: float, steps: int) -> RangeTest:
    """Returns the losses of a network trained with a rate that rises at every step.

    Args:
        recipe: data, network, loss and optimizer; its schedule and rate give way.
        low: the first rate.
        high: the last rate.
        steps: training steps.

    Raises:
        DlsuiteError: a range that is empty, a test too short, or a task that has not one loss.

    Source: Smith 2015, arXiv:1506.01186, section 3.3.
    """
    check_range(low, high, steps)
    check_task(recipe)
    # a decay that follows the schedule alone is a share of the peak rate: it stays below its own
    coupling = OPTIMIZERS[recipe.optimizer.name].details.get("coupling")
    peak = high if coupling == "schedule" else low
    optimizer = recipe.optimizer.model_copy(update={"learning_rate": peak, "accumulate": 1})
    changes = {"optimizer": optimizer, "schedule": Schedule(name="constant")}
    recipe = recipe.model_copy(update=changes)
    device, threads = set_up(recipe.train)
    with tf.device(device), explaining(recipe, device):
        task = load_task(recipe.task)(recipe)
        prepare_model(task.model, task.optimizers)
        rates = _Rising(low, high, steps)
        for used, _ in task.optimizers:
            getattr(used, "inner_optimizer", used).learning_rate = rates
        execution = resolve_execution(recipe.train, task.model, device=device, threads=threads)
        loop = Loop(task.model, use_xla=execution.use_xla)
        losses: list[float] = []
        # an epoch of one step, so that the metrics are that step's own
        for event in loop.train(task.training_data(), steps_per_epoch=1, epochs=steps):
            if isinstance(event, Block):
                losses.append(float(event.metrics["loss"][-1]))
                if not event.is_finite and math.isfinite(losses[-1]):
                    losses.append(math.nan)  # of weights that are not finite after this step
                if _exploded(losses):
                    break
    used = np.array([float(rates(step)) for step in range(len(losses))])
    return judge(used, np.array(losses))


def check_task(recipe: Recipe) -> None:
    """Checks that a recipe has one loss to look at, before anything is loaded.

    Raises:
        DlsuiteError: it is of another task than classification, or scales its loss.
    """
    if recipe.task != "classification":
        raise DlsuiteError(
            "A range test looks at one loss, as a recipe of the task 'classification' has. "
            f"Received: one of the task {recipe.task!r}. Choose another from `dlsuite recipes`."
        )
    if recipe.train.precision == "float16":
        raise DlsuiteError(
            "A range test sees the loss of each step, and float16's loss scale leaves steps out. "
            "Received: train.precision='float16'. Take float32 or bfloat16."
        )


def check_range(low: float, high: float, steps: int) -> None:
    """Checks the settings of a test, before anything is loaded.

    Raises:
        DlsuiteError: a range that is empty, or a test too short.
    """
    if not 0 < low < high:
        raise DlsuiteError(
            f"A range test rises from a positive rate. Received: {low:g} to {high:g}. "
            "Give --low less than --high."
        )
    if steps < 10:
        raise DlsuiteError(
            f"A range test takes at least 10 steps. Received: --steps {steps}. 100 is usual."
        )


def judge(rates: np.ndarray, losses: np.ndarray) -> RangeTest:
    """Returns what the losses of a rising rate say.

    Args:
        rates: rising, (N,).
        losses: likewise, (N,).
    """
    smoothed = smooth(losses)
    lowest = int(np.nanargmin(np.where(np.isfinite(smoothed), smoothed, np.nan)))
    # over a tenth of the range, and not from its first steps, whose mean is of a few batches alone:
    # between neighbours the batches' own differences are steeper than the learning
    span = max(1, len(rates) // 10)
    rise = smoothed[2 * span : lowest + 1] - smoothed[span : max(span, lowest + 1 - span)]
    falls = len(rise) > 0 and rise.min() < 0
    return RangeTest(
        rates=rates,
        losses=losses,
        smoothed=smoothed,
        steepest=float(rates[int(np.argmin(rise)) + 3 * span // 2]) if falls else None,
        largest=float(rates[lowest]),
        diverged=_exploded(list(losses)),
    )


def smooth(losses: np.ndarray) -> np.ndarray:
    """Returns the running mean in which a step's past weighs 0.9, debiased as Adam's moments."""
    mean, smoothed = 0.0, []
    for count, loss in enumerate(losses, start=1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smoothed.append(mean / (1 - _SMOOTHING**count))
    return np.array(smoothed)


def _exploded(losses: list[float]) -> bool:
    smoothed = smooth(np.array(losses))
    return not math.isfinite(losses[-1]) or bool(smoothed[-1] > _EXPLODED * smoothed.min())
