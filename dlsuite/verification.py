"""Whether a run can be repeated: its first steps trained again and compared bit for bit."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlsuite.errors import DlsuiteError
from dlsuite.resuming import plan_run
from dlsuite.runs.folder import RunFolder

# Where bits can't be the same, the loss still tells a run from another: over the first hundred
# steps rounding moves its running mean by less than a percent, another seed, recipe or dataset
# by more.
LOSS_TOLERANCE = 0.01
# Steps over which it does where a GPU computed: its rounding, of TensorFloat-32 and by algorithms
# chosen anew, is a thousand times larger, and grew from 0.2 % of the loss at step 30 to 3 and 5 %
# at step 110.
GPU_STEPS = 30


@dataclass(frozen=True)
class Verification:
    """What came of training the first steps again.

    Attributes:
        status: ``identical`` (every recorded hash of the weights), ``reproduced`` (other bits,
            as is to be expected from `differences`, and the same loss within 1 %) or
            ``different``.
        steps: that were trained again.
        digests: one object a recorded step: ``step``, ``recorded`` and ``now`` (None where the
            repetition diverged before it).
        differences: of the surroundings that decide the last bits, in words.
        first_difference: the first recorded step whose loss or weights differ; None for none.
        loss_deviation: largest relative deviation of a logged loss, of the first 30 steps alone
            where a GPU's bits are expected to differ; None where none was logged so early.
    """

    status: str
    steps: int
    digests: Sequence[Mapping[str, Any]]
    differences: Sequence[str]
    first_difference: int | None
    loss_deviation: float | None


def verify(run: str | Path, *, steps: int | None = None) -> Verification:
    """Trains a run's first steps again, into a folder that is thrown away, and compares.

    Callbacks that were passed from Python are not known and are left out.

    Args:
        run: the run folder; it stays as it is.
        steps: at most so many; None goes as far as hashes were recorded, a hundred or a call more.

    Raises:
        DlsuiteError: no run there, or one that holds no hash of its weights so early.
        KeyboardInterrupt: it was told to stop, by Ctrl-C or a queue's signal.
    """
    folder = RunFolder.open(run)
    recorded = folder.read_rows("digests.jsonl")
    # a resume to another epoch changes the learning rates of the steps that follow it
    epochs = recorded[0].get("epochs") if recorded else None
    chosen = [
        row
        for row in recorded
        if row.get("epochs") == epochs and (steps is None or row["step"] <= steps)
    ]
    if not chosen:
        first = recorded[0]["step"] if recorded else None
        raise DlsuiteError(
            "A run is compared by the hashes of its weights. Received: "
            + (f"steps={steps}, but '{run}' has its first at step {first}. Take more steps."
               if first else
               f"'{run}' without any: it ended before its first step, or another version of "
               "dlsuite wrote it. Train again.")
        )  # fmt: skip
    made, differences = plan_run(run, epochs=epochs, until=chosen[-1]["step"])
    from dlsuite.engine.device import repeats_itself
    from dlsuite.engine.digest import StopAfter

    if not repeats_itself(made.execution.device):
        differences.append("a GPU chooses and sums anew each time without train.deterministic")
    digests = StopAfter([row["step"] for row in chosen])
    with tempfile.TemporaryDirectory() as temporary:
        repeated = made.train(Path(temporary) / "run", callbacks=[digests])
        if repeated.status in ("interrupted", "paused"):
            raise KeyboardInterrupt
        again = repeated.folder
        losses = _losses(folder), _losses(again)
    rows = [
        {"step": row["step"], "recorded": row["weights"], "now": digests.found.get(row["step"])}
        for row in chosen
    ]
    last = chosen[-1]["step"]
    devices = made.execution.device, folder.read_info()["execution"]["device"]
    on_gpu = any(device.startswith("/GPU") for device in devices)
    compared = min(last, GPU_STEPS) if differences and on_gpu else last
    common = [key for key in losses[0].keys() & losses[1].keys() if key[0] <= compared]
    odd = [row["step"] for row in rows if row["recorded"] != row["now"]]
    odd += [key[0] for key in common if losses[0][key] != losses[1][key]]
    deviation = max(
        (abs(losses[1][key] / losses[0][key] - 1) for key in common if losses[0][key]),
        default=None,
    )
    is_close = deviation is not None and deviation <= LOSS_TOLERANCE
    return Verification(
        status="identical"
        if not odd
        else "reproduced"
        if differences and is_close
        else "different",
        steps=last,
        digests=rows,
        differences=differences,
        first_difference=min(odd, default=None),
        loss_deviation=deviation,
    )


def _losses(folder: RunFolder) -> dict[tuple[int, str], float]:
    """The losses, of which a GAN has two, by step and name, of the steps that were logged."""
    return {
        (row["step"], name): value
        for row in folder.read_rows("metrics.jsonl")
        for name, value in row.items()
        if name.endswith("loss") and value is not None
    }
