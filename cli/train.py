"""`dlsuite train`: train a network by a recipe."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from dlsuite.cli.console import completion, json_option, note
from dlsuite.cli.training_report import (
    heed_queue,
    max_hours_option,
    preparing,
    report_plan,
    train_and_report,
)
from dlsuite.environment import worker
from dlsuite.models import MODELS
from dlsuite.optimizers import OPTIMIZERS, SCHEDULES
from dlsuite.recipes.resolve import DEFAULT_RECIPE, parse_setting, recipe_names, resolve

_FIELDS = {
    "data": ("NAME", str, "Dataset, or folder:, idx:, npz:, npy:, h5:, csv:PATH."),
    "model": ("NAME", str, "Network, keras:NAME, or a .keras file."),
    "optimizer": ("NAME", str, "Optimizer."),
    "learning_rate": ("RATE", float, "Peak learning rate."),
    "weight_decay": ("LAMBDA", float, "Weight decay of kernels."),
    "schedule": ("NAME", str, "Learning rate over training."),
    "epochs": ("N", int, "Passes over the training split."),
    "batch_size": ("N", int, "Examples a step."),
    "seed": ("N", int, "Seed of weights, order and augmentation."),
    "precision": ("TYPE", str, "float32, bfloat16 or float16."),
    "device": ("DEVICE", str, "auto, cpu, gpu or gpu:N."),
    "devices": ("N", int, "Devices of this machine that share each batch."),
    "xla": ("MODE", str, "Compile with XLA: rule, auto (measured), on or off."),
    "threads": ("N", int, "Threads an operation may use."),
}
_NAMES = {"model": lambda: MODELS, "optimizer": lambda: OPTIMIZERS, "schedule": lambda: SCHEDULES}


def recipe_options(*, without: Sequence[str] = ()) -> Callable[[Callable], Callable]:
    """Returns what adds the options that override a recipe, given as keyword arguments.

    Args:
        without: those that mean nothing to the command.
    """

    def add(command: Callable) -> Callable:
        command = click.option(
            "--set",
            "settings",
            metavar="SECTION.KEY=VALUE",
            multiple=True,
            help="Any setting of the recipe; may be repeated.",
        )(command)
        for name, (metavar, kind, text) in reversed(_FIELDS.items()):
            if name in without:
                continue
            complete = completion(_NAMES[name]) if name in _NAMES else None
            command = click.option(
                f"--{name.replace('_', '-')}",
                name,
                metavar=metavar,
                type=kind,
                help=text,
                shell_complete=complete,
            )(command)
        return command

    return add


@click.command()
@click.argument("recipe", default=DEFAULT_RECIPE, shell_complete=completion(recipe_names))
@recipe_options()
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    help="The run's own folder, new or empty.  [default: runs/RECIPE-TIME]",
)
@max_hours_option
@click.option("--dry-run", is_flag=True, help="Resolve, check and print; train nothing.")
@json_option
def command(
    recipe: str,
    settings: tuple[str, ...],
    run_dir: Path | None,
    hours_left: Callable[[], float | None],
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network by a recipe.

    RECIPE is a built-in name (see `dlsuite recipes`) or a TOML file; without one, a small
    convolutional network learns real MNIST digits in about a minute.

    \b
    dlsuite train
    dlsuite train mnist-mlp --epochs 3 --optimizer adam --learning-rate 0.001
    dlsuite train cifar10-resnet20 --data folder:cifar10 --set data.augment.cutmix=1.0
    dlsuite train finetune-folder --data folder:photos --dry-run

    Exit codes: 0 done, 1 something to put right, 2 wrong usage, 3 the loss diverged, 75 stopped
    in time by --max-hours, SIGTERM or SIGUSR1, 130 interrupted by Ctrl-C; `dlsuite resume` goes
    on after 75 and 130.
    """
    heed_queue()
    resolved = resolve(recipe, options=options, settings=dict(map(parse_setting, settings)))
    is_chief = worker()[0] == 0
    for sentence in resolved.notes if is_chief else ():
        note(f"Note: {sentence}")
    from dlsuite import planning
    from dlsuite.runs.folder import RunFolder

    planning.check_names(resolved.recipe)
    if run_dir is not None and is_chief:
        RunFolder(run_dir).check_new()  # before the seconds that TensorFlow and the data take
    with preparing():
        planned = planning.without_download(resolved) if dry_run else resolved
        plan = planning.plan_resolved(planned)
    for sentence in plan.task.notes if is_chief else ():
        note(f"Note: {sentence}")
    if dry_run and not is_chief:
        return
    if dry_run:
        report_plan(plan, resolved, as_json=as_json)
        return
    train_and_report(
        plan,
        lambda observer: plan.train(run_dir, observer=observer, max_hours=hours_left()),
        as_json=as_json,
    )
