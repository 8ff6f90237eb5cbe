"""`dlsuite lr-find`: the learning-rate range test."""

from pathlib import Path
from typing import Any

import click

from dlsuite.cli.console import completion, err, json_option, note, out, print_json
from dlsuite.cli.figures import check_figure, save_figure
from dlsuite.cli.train import recipe_options
from dlsuite.recipes.resolve import DEFAULT_RECIPE, parse_setting, recipe_names, resolve


@click.command()
@click.argument("recipe", default=DEFAULT_RECIPE, shell_complete=completion(recipe_names))
# a range test has a rate, a length and a device of its own
@recipe_options(without=("learning_rate", "schedule", "epochs", "devices"))
@click.option("--low", metavar="RATE", type=float, default=1e-6, show_default=True,
              help="First learning rate.")  # fmt: skip
@click.option("--high", metavar="RATE", type=float, default=10.0, show_default=True,
              help="Last learning rate.")  # fmt: skip
@click.option("--steps", metavar="N", type=int, default=150, show_default=True,
              help="Training steps in which the rate rises.")  # fmt: skip
@click.option("--figure", type=click.Path(path_type=Path, dir_okay=False),
              default=Path("lr-find.png"), show_default=True, help="PNG file to draw.")  # fmt: skip
@json_option
def command(
    recipe: str,
    settings: tuple[str, ...],
    low: float,
    high: float,
    steps: int,
    figure: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Find a learning rate by a range test.

    \b
    dlsuite lr-find
    dlsuite lr-find mnist-mlp --optimizer momentum --low 1e-4
    dlsuite lr-find cifar10-resnet20 --data folder:cifar10 --steps 300

    The rate rises in equal factors from step to step until the loss explodes. A rate for training
    lies where the loss falls steepest, well below the one at which it is lowest: the test sees a
    rate for a few steps only, and dropout and schedules change what is best. Trains nothing that
    is kept.
    """
    check_figure(figure)
    resolved = resolve(recipe, options=options, settings=dict(map(parse_setting, settings)))
    from dlsuite import planning

    planning.check_names(resolved.recipe)
    with err.status("Loading TensorFlow and the data ..."):
        from dlsuite.runtime import prepare

        prepare()
        from dlsuite.studies.range_test import range_test
    with err.status("Testing ..."):
        test = range_test(resolved.recipe, low=low, high=high, steps=steps)
    from dlsuite.reports.range_test import rate_range

    save_figure(rate_range(test), figure)
    report = {
        "recipe": resolved.name,
        "optimizer": resolved.recipe.optimizer.name,
        "steepest": test.steepest,
        "largest": test.largest,
        "diverged": test.diverged,
        "rates": test.rates.tolist(),
        "losses": test.losses.tolist(),
        "figure": str(figure),
    }
    if as_json:
        print_json(report)
        return
    if test.steepest is None:
        note("The loss never falls: start lower with --low, or take more --steps.")
    else:
        out.print(f"rate of the steepest fall  {test.steepest:.2g}, to train with")
    out.print(f"rate of the lowest loss    {test.largest:.2g}, too high to train with")
    if not test.diverged:
        note(f"The loss did not explode up to {high:g}: the range may go on with --high.")
    out.print(f"Figure: {figure}", markup=False, soft_wrap=True)
