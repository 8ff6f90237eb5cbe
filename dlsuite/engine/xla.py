"""Whether XLA makes a network's training step faster, found out by trying."""

import tensorflow as tf

from dlsuite.engine.device import out_of_memory
from dlsuite.engine.loop import Loop
from dlsuite.engine.state import State
from dlsuite.engine.task import Task

# Steps are timed for about this long each way [s], and three calls at least.
_SECONDS = 2.0


def measure_xla(task: Task, device: str) -> tuple[bool, str]:
    """Returns whether the step is faster with XLA, and both times in words.

    Trains some steps each way; every variable is then put back, so that the run begins as if
    nothing had been tried. Call it where the task's model lies, on one device.

    Args:
        task: built, its optimizers prepared.
        device: where the model lies, for the message.

    Raises:
        DlsuiteError: the step doesn't fit into memory.
    """
    state = State(task.model, [optimizer for optimizer, _ in task.optimizers])
    before = state.snapshot()
    try:
        without = _step_time(task, use_xla=False)
        state.put_back(before)
        try:
            compiled = _step_time(task, use_xla=True)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False, "measured: XLA can't compile the step"
        except tf.errors.ResourceExhaustedError:
            return False, "measured: with XLA the step doesn't fit into memory"
    except tf.errors.ResourceExhaustedError as error:
        raise out_of_memory(task.recipe, device) from error
    finally:
        state.put_back(before)
        for metric in task.model.metrics:
            metric.reset_state()
    said = f"measured: {1e3 * compiled:.3g} ms a step with XLA, {1e3 * without:.3g} without"
    return compiled < without, said


def _step_time(task: Task, *, use_xla: bool) -> float:
    """The median time of a step [s], compiling left out."""
    loop = Loop(task.model, steps_per_call=task.recipe.train.steps_per_call, use_xla=use_xla)
    events = loop.blocks(task.training_data())
    next(events), next(events)  # compiles; fills the pipeline
    blocks = []
    while len(blocks) < 3 or sum(block.seconds for block in blocks) < _SECONDS:
        blocks.append(next(events))
    each = sorted(block.seconds / block.count for block in blocks)
    return each[len(each) // 2]
