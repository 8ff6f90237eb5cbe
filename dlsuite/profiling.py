"""Where the time of a run's training step goes."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlsuite.errors import DlsuiteError
from dlsuite.resuming import plan_run

if TYPE_CHECKING:
    from dlsuite.analysis.trace import Trace


@dataclass(frozen=True)
class Profile:
    """What profiling a run's training found. Times are of all traced steps [s].

    Attributes:
        device: TensorFlow's name of it.
        threads: that an operation may use.
        use_xla: whether XLA compiled the step.
        batch_size: examples a step.
        step_s: a step's time without the profiler, the median over calls.
        steps: traced.
        wall_s: from the first traced step to the end of the last.
        compiled_s: of it in compiled calls; the rest is Python's, on the host.
        trace: what ran in it.
    """

    device: str
    threads: int
    use_xla: bool
    batch_size: int
    step_s: float
    steps: int
    wall_s: float
    compiled_s: float
    trace: "Trace"

    @property
    def input_fraction(self) -> float:
        """The fraction of the time in which the step waited for its batch."""
        return self.trace.input_wait_s / self.wall_s

    @property
    def host_fraction(self) -> float:
        """The fraction of the time that went by outside of compiled calls."""
        return 1 - self.compiled_s / self.wall_s


def profile(run: str | Path, *, steps: int = 20, trace_dir: str | Path | None = None) -> Profile:
    """Trains a run's first steps anew under TensorFlow's profiler; the run stays as it is.

    Args:
        run: the run folder.
        steps: to trace, at least; whole calls are traced, of up to ``train.steps_per_call``.
        trace_dir: keeps the trace there, for TensorBoard; None throws it away.

    Raises:
        DlsuiteError: no run there, its data can't be read any more, or the trace can't be kept.
    """
    made, _ = plan_run(run)
    if trace_dir is not None:
        try:
            Path(trace_dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DlsuiteError(
                f"A trace needs a folder that can be written. Received: '{trace_dir}' "
                f"({error.strerror}). Choose another with --trace."
            ) from error
    import tensorflow as tf

    from dlsuite.analysis.trace import read_trace
    from dlsuite.engine.loop import Loop
    from dlsuite.engine.replicas import replica_batches
    from dlsuite.engine.strategy import placement

    task, execution = made.task, made.execution
    settings = task.recipe.train
    with placement(made.strategy, execution.device), tempfile.TemporaryDirectory() as temporary:
        folder = Path(trace_dir or temporary)
        loop = Loop(
            task.model,
            steps_per_call=min(settings.steps_per_call, steps),
            use_xla=execution.use_xla,
        )
        events = loop.blocks(replica_batches(lambda shard: task.training_data(0, shard)))
        next(events), next(events)  # compiles and warms up
        calls = []
        while sum(block.count for block in calls) < steps or len(calls) < 3:
            calls.append(next(events))
        tf.profiler.experimental.start(str(folder))
        try:
            blocks, started = [], time.perf_counter()
            while sum(block.count for block in blocks) < steps:
                blocks.append(next(events))
            wall = time.perf_counter() - started
        finally:
            tf.profiler.experimental.stop()
        trace = read_trace(folder)
    each = sorted(block.seconds / block.count for block in calls)
    return Profile(
        device=execution.device,
        threads=execution.threads,
        use_xla=execution.use_xla,
        batch_size=task.step_size,
        step_s=each[len(each) // 2],
        steps=sum(block.count for block in blocks),
        wall_s=wall,
        compiled_s=sum(block.seconds for block in blocks),
        trace=trace,
    )
