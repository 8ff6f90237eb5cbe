"""`dlsuite resume`: go on with a run where it stopped."""

from pathlib import Path

import click

from dlsuite.cli.console import err, json_option, note
from dlsuite.cli.training_report import max_hours_option, train_and_report


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--epochs",
    metavar="N",
    type=click.IntRange(min=1),
    help="The epoch to train to.  [default: the recipe's]",
)
@max_hours_option
@json_option
def command(run: Path, epochs: int | None, max_hours: float | None, as_json: bool) -> None:
    """Go on with a run where it stopped.

    The run folder is all it needs. On a CPU, the run goes on bit for bit as if it had never
    stopped: weights, optimizer, metrics and the order of the data; where that can't be, it says
    so. A run without a checkpoint begins at step 0.

    \b
    dlsuite resume runs/mnist-cnn-20260101-120000
    dlsuite resume runs/mnist-cnn-20260101-120000 --epochs 40

    Exit codes are those of `dlsuite train`.
    """
    from dlsuite.planning import plan_resume

    with err.status("Loading TensorFlow and the data ..."):
        plan, notes = plan_resume(run, epochs=epochs)
    for sentence in notes:
        note(f"Note: {sentence}")
    from dlsuite.runs.folder import RunFolder

    train_and_report(
        plan,
        lambda observer: plan.resume(RunFolder.open(run), observer=observer, max_hours=max_hours),
        as_json=as_json,
    )
