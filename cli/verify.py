"""`dlsuite verify`: train a run's first steps again and compare the weights."""

from dataclasses import asdict
from pathlib import Path

import click

from dlsuite.cli.console import err, json_option, note, out, print_json, table
from dlsuite.wording import counted


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--steps",
    metavar="N",
    type=click.IntRange(min=1),
    help="At most so many steps.  [default: about a hundred]",
)
@json_option
def command(run: Path, steps: int | None, as_json: bool) -> None:
    """Train a run's first steps again and compare the weights.

    A run records a hash of its weights after its first, about its tenth and about its hundredth
    step. Repeated with the same versions, processor, device and threads they are the same bit for
    bit. Where one of these differs it is said, and the loss is compared instead, within 1 %; so it
    is on a GPU without train.deterministic, over the first 30 steps. The run stays as it is.

    \b
    dlsuite verify runs/mnist
    dlsuite verify runs/mnist --steps 20 --json

    Exit codes: 0 identical or reproduced, 1 different.
    """
    from dlsuite.verification import LOSS_TOLERANCE, verify

    with err.status("Loading TensorFlow and the data, then training again ..."):
        found = verify(run, steps=steps)
    if as_json:
        print_json({"run": str(run), **asdict(found)})
    else:
        shown = table("step", "weights recorded", "now", "", right=("step",))
        for row in found.digests:
            same = row["recorded"] == row["now"]
            mark = "[green]same[/green]" if same else "[yellow]other[/yellow]"
            shown.add_row(str(row["step"]), row["recorded"], row["now"], mark)
        out.print(shown)
        for difference in found.differences:
            note(f"Note: {difference}: bits may differ.")
    if found.status == "identical":
        said = counted(found.steps, "step")
        verb = "gives" if found.steps == 1 else "give"
        note(f"Identical: {said} {verb} the same weights bit for bit.")
        return
    loss = ""
    if found.loss_deviation is not None:
        loss = f"; the loss deviates by {found.loss_deviation:.1e} of itself at most"
    if found.status == "reproduced":
        note(
            f"Reproduced: not bit for bit from step {found.first_difference} on, as is to be "
            f"expected here{loss}."
        )
        return
    if found.differences and found.loss_deviation is None:
        remedy = "No loss was logged so early that could be compared instead: take more --steps."
    elif found.differences:
        others = "other data or another recipe.toml than the run had"
        if any(difference.startswith("replicas ") for difference in found.differences):
            others += ", or dropout, whose masks each replica draws for itself"
        remedy = f"Rounding explains {LOSS_TOLERANCE:.0%}; more is {others}."
    else:
        remedy = (
            "Nothing of versions, processor, device and threads differs: the data or recipe.toml "
            "changed, callbacks took part, or an operation is not deterministic."
        )
    note(f"Different: from step {found.first_difference} on{loss}. {remedy}")
    raise SystemExit(1)
