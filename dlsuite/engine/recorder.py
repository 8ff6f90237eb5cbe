"""What a run writes while it goes on: metrics, history, models, checkpoints."""

import math
import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import keras

from dlsuite.engine.checkpoint import Checkpoints
from dlsuite.engine.digest import is_recorded, weights_digest
from dlsuite.engine.loop import Block, Progress
from dlsuite.engine.replicas import average_statistics
from dlsuite.engine.state import State
from dlsuite.engine.task import Task
from dlsuite.engine.trajectory import drop_points_after
from dlsuite.errors import DlsuiteError
from dlsuite.optimizers.build import learning_rate_at
from dlsuite.recipes.schema import is_falling
from dlsuite.runs.folder import RunFolder


class Recorder:
    """Keeps a run folder up to date.

    Args:
        task: what is trained.
        folder: the run's.

    Attributes:
        improved_epoch: the last epoch that was better than all before it.
    """

    def __init__(self, task: Task, folder: RunFolder):
        self._task = task
        self._folder = folder
        self._settings = task.recipe.train
        self._sign = -1 if is_falling(self._settings.monitor) else 1
        self.checkpoints = Checkpoints(folder)
        self._checkpointed = time.monotonic()
        self.improved_epoch = 0
        self._learning_rate: float | None = None
        self._best: dict[str, Any] | None = None
        self._clock = _Clock()
        folder.append("metrics.jsonl", [])  # there from the start, for whoever follows it

    def plain_state(self, progress: Progress) -> dict[str, Any]:
        """Returns what a checkpoint holds besides variables."""
        return {
            "step": progress.step,
            "epoch": progress.epoch,
            "history": progress.history,
            "training_metrics": progress.training_metrics,
            "best": self._best,
            "improved_epoch": self.improved_epoch,
            "skipped": progress.skipped,
            "learning_rate": self._learning_rate,
            "skipped_in_a_row": progress.skipped_in_a_row,
        }

    def go_on_from(self, plain: Mapping[str, Any]) -> Progress:
        """Returns the progress of a checkpoint, with the files brought back to it."""
        self._best = plain["best"]
        self.improved_epoch = plain["improved_epoch"]
        self._learning_rate = plain["learning_rate"]
        progress = Progress(
            step=plain["step"],
            epoch=plain["epoch"],
            history=list(plain["history"]),
            training_metrics=plain["training_metrics"],
            skipped=plain["skipped"],
            skipped_in_a_row=plain["skipped_in_a_row"],
        )
        if not self._folder.writes:
            return progress
        self._folder.clear_unfinished()
        # a kill may have cut the last line; the rows after the checkpoint come again
        for name in ("metrics.jsonl", "digests.jsonl", "timing.jsonl"):
            rows = self._folder.read_rows(name)
            # an epoch's time is written before the checkpoint that ends it
            kept = [
                row
                for row in rows
                if row.get("step", 0) <= plain["step"]
                and row.get("epochs_done", 0) <= plain["epoch"]
            ]
            self._folder.write_rows(name, kept)
        self._folder.write_history(plain["history"])
        drop_points_after(self._folder.path, plain["epoch"])
        return progress

    def check_nothing_is_lost(self) -> None:
        """Checks that a run without a readable checkpoint had none yet.

        Raises:
            DlsuiteError: it had; to begin anew would overwrite what the run came to.
        """
        done = self._folder.read_info()["epochs_done"]
        # a kill may come before the checkpoint of the last epoch, and of a short one before
        if self.checkpoints.are_there or done > 2:
            raise DlsuiteError(
                f"A run goes on from a checkpoint. Received: '{self._folder.path}', {done} epochs "
                "done, without one that can be read. Put checkpoints/ back, or train anew into "
                "another folder."
            )

    def block(self, block: Block, progress: Progress) -> None:
        """Appends the block's rows of ``metrics.jsonl``."""
        rows = []
        for offset in range(block.count):
            step = block.step - block.count + offset + 1
            if step % self._settings.log_every == 0:
                values = {name: _finite(values[offset]) for name, values in block.metrics.items()}
                rows.append({"step": step, "epoch": progress.epoch + 1, **values})
        if rows:
            self._folder.append("metrics.jsonl", rows)
        if is_recorded(block):
            weights = weights_digest(self._task.model)
            # the schedule depends on the epochs, which a resume may change
            row = {"step": block.step, "weights": weights, "epochs": self._settings.epochs}
            self._folder.append("digests.jsonl", [row])
        self._clock.block(block)
        # now, before a schedule that heeds the validation changes it
        optimizer, _ = self._task.optimizers[0]
        # the optimizer counts its updates, and there were none in steps left out
        self._learning_rate = learning_rate_at(optimizer, block.step - 1 - progress.skipped)

    def epoch(self, progress: Progress) -> bool:
        """Writes the epoch's metrics and models; returns whether it is the best so far."""
        row = progress.history[-1]
        row["learning_rate"] = self._learning_rate
        row |= self._loss_scales()
        value = row.get(self._settings.monitor, math.nan)
        gain = self._sign * (value - self._best["value"]) if self._best else math.inf
        # of equal epochs the later one is best: it has seen more; but it is no improvement
        is_best = progress.diverged_at is None and math.isfinite(value) and gain >= 0
        if is_best and gain > 0:
            self.improved_epoch = progress.epoch
        if is_best:
            monitor = self._settings.monitor
            self._best = {"epoch": progress.epoch, "monitor": monitor, "value": value}
        progress.history[-1] = {key: _finite(value) for key, value in row.items()}
        self._folder.write_history(progress.history)
        if progress.diverged_at is None:
            self._save_models(is_best=is_best)
        self._write_timing(progress)
        self._update(progress)
        return is_best

    def _write_timing(self, progress: Progress) -> None:
        epoch = -(-progress.step // self._task.steps_per_epoch)
        row = {"epoch": epoch, "step": progress.step, "epochs_done": progress.epoch}
        row |= self._clock.take(self._task.step_size)
        self._folder.append("timing.jsonl", [row])

    def _loss_scales(self) -> dict[str, float]:
        """The loss scale under float16, of each optimizer its own."""
        scaled = [
            optimizer
            for optimizer, _ in self._task.optimizers
            if isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        ]
        scales = {optimizer.name: float(optimizer.dynamic_scale.numpy()) for optimizer in scaled}
        if len(scales) == 1:
            return {"loss_scale": next(iter(scales.values()))}
        return {f"loss_scale_{name}": scale for name, scale in scales.items()}

    def checkpoint_is_due(self, block: Block) -> bool:
        """Whether steps or minutes ask for a checkpoint within the epoch."""
        every = self._settings.checkpoint_steps
        steps = every is not None and block.step // every > (block.step - block.count) // every
        minutes = (time.monotonic() - self._checkpointed) / 60
        return steps or minutes >= self._settings.checkpoint_minutes

    def checkpoint(self, state: State, plain: Mapping[str, Any]) -> None:
        """Begins to write a checkpoint."""
        best = self._best["epoch"] * self._task.steps_per_epoch if self._best else 0
        self.checkpoints.save(state, plain, step=plain["step"], best=best)
        self._checkpointed = time.monotonic()

    def stopped(self, progress: Progress) -> None:
        """Saves where the run stands; without a best epoch, that is the model.

        Call it after the checkpoint, which keeps each replica's own moving statistics.
        """
        average_statistics(self._task.model)
        self._save_models(is_best=self._best is None)
        if progress.step > progress.epoch * self._task.steps_per_epoch:
            self._write_timing(progress)  # the rest of the epoch gets a row of its own
        self._update(progress)

    def diverged(self, progress: Progress) -> None:
        """Writes where the metrics stopped being numbers; the models before are kept."""
        self._update(progress, diverged_at=progress.diverged_at, diverged_in=progress.diverged_in)

    def end(self, status: str) -> None:
        """Writes how the run ended, as far as the folder can still be written."""
        try:
            self._folder.update(status=status, ended=datetime.now(UTC).isoformat())
        except DlsuiteError:
            if status != "failed":
                raise

    def _update(self, progress: Progress, **more: Any) -> None:
        self._folder.update(
            epochs_done=progress.epoch,
            steps_done=progress.step,
            skipped_steps=progress.skipped,
            best=self._best,
            **more,
        )

    def _save_models(self, *, is_best: bool) -> None:
        if not self._folder.writes:
            return
        averages = self._task.averages
        if averages is not None:
            averages.on_test_begin()
        try:
            last = self._folder.last_model_path
            with self._folder.saving(last) as temporary:
                self._task.exported.save(temporary)
            if is_best:
                with self._folder.saving(self._folder.model_path) as temporary:
                    shutil.copyfile(last, temporary)
        finally:
            if averages is not None:
                averages.on_test_end()


class _Clock:
    """Wall-clock time of an epoch."""

    def __init__(self):
        self._begin()

    def _begin(self) -> None:
        self._start = time.perf_counter()
        self._seconds = {True: 0.0, False: 0.0}  # by whether it held compiling
        self._steps = 0

    def block(self, block: Block) -> None:
        """Counts a block; the first step's time is mostly compiling and tells no rate."""
        self._seconds[block.compiling] += block.seconds
        self._steps += 0 if block.compiling else block.count

    def take(self, step_size: int) -> dict[str, float | None]:
        """Returns the epoch's row of ``timing.jsonl`` and begins the next."""
        training = self._seconds[False]
        row = {
            "seconds": time.perf_counter() - self._start,
            "compiling_s": self._seconds[True],
            "examples_per_s": self._steps * step_size / training if training else None,
        }
        self._begin()
        return row


def _finite(value: Any) -> Any:
    """Returns the number, or None in the place of one that is not finite."""
    if value is None or isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None
