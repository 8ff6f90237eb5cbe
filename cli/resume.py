"""`dlsuite resume`: go on with a run where it stopped."""

from collections.abc import Callable
from pathlib import Path

import click

from dlsuite.cli.console import json_option, note
from dlsuite.cli.training_report import heed_queue, max_hours_option, preparing, train_and_report


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--epochs",
    metavar="N",
    type=click.IntRange(min=1),
    help="The epoch to train to.  [default: the recipe's]",
)
@click.option(
    "--devices",
    metavar="N",
    type=click.IntRange(min=1),
    help="Devices of this machine that share each batch.  [default: as before]",
)
@click.option(
    "--not-finite",
    type=click.Choice(["stop", "skip"]),
    help="What a step does whose numbers are not finite.  [default: as before]",
)
@max_hours_option
@json_option
def command(
    run: Path,
    epochs: int | None,
    devices: int | None,
    not_finite: str | None,
    hours_left: Callable[[], float | None],
    as_json: bool,
) -> None:
    """Go on with a run where it stopped.

    The run folder is all it needs. On a CPU, the run goes on bit for bit as if it had never
    stopped: weights, optimizer, metrics and the order of the data; where that can't be, it says
    so. A run that was killed before its first checkpoint begins at step 0.

    \b
    dlsuite resume runs/mnist-cnn-20260101-120000
    dlsuite resume runs/mnist-cnn-20260101-120000 --epochs 40

    dlsuite launch --workers 2 resume runs/mnist-cnn-20260101-120000

    Epochs, devices and the number of workers may change; with other devices or workers the run
    goes on, but not bit for bit. Exit codes are those of `dlsuite train`.
    """
    heed_queue()
    from dlsuite.resuming import plan_resume

    with preparing():
        plan, notes = plan_resume(run, epochs=epochs, devices=devices, not_finite=not_finite)
    for sentence in notes if plan.workers.is_chief else ():
        note(f"Note: {sentence}")
    from dlsuite.runs.folder import RunFolder

    train_and_report(
        plan,
        lambda observer: plan.resume(
            RunFolder.open(run), observer=observer, max_hours=hours_left()
        ),
        as_json=as_json,
    )
