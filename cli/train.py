"""`dlsuite train`: train a network by a recipe."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dlsuite.cli.console import completion, err, in_units, json_option, note, out, print_json, table
from dlsuite.models import MODELS
from dlsuite.optimizers import OPTIMIZERS, SCHEDULES
from dlsuite.recipes.resolve import (
    DEFAULT_RECIPE,
    Resolved,
    parse_setting,
    recipe_names,
    resolve,
)
from dlsuite.recipes.schema import Recipe

EXIT_CODES = {"finished": 0, "stopped": 0, "diverged": 3, "interrupted": 130}


def recipe_options(command: Callable) -> Callable:
    """Adds the options that override a recipe; the command gets them as keyword arguments."""
    fields = {
        "data": ("NAME", str, "Dataset, or folder:, idx:, npz:, h5:, csv:PATH."),
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
        "xla": ("MODE", str, "Compile with XLA: auto, on or off."),
        "threads": ("N", int, "Threads an operation may use."),
    }
    names = {
        "model": lambda: MODELS,
        "optimizer": lambda: OPTIMIZERS,
        "schedule": lambda: SCHEDULES,
    }
    command = click.option(
        "--set",
        "settings",
        metavar="SECTION.KEY=VALUE",
        multiple=True,
        help="Any setting of the recipe; may be repeated.",
    )(command)
    for name, (metavar, kind, text) in reversed(fields.items()):
        complete = completion(names[name]) if name in names else None
        command = click.option(
            f"--{name.replace('_', '-')}",
            name,
            metavar=metavar,
            type=kind,
            help=text,
            shell_complete=complete,
        )(command)
    return command


@click.command()
@click.argument("recipe", default=DEFAULT_RECIPE, shell_complete=completion(recipe_names))
@recipe_options
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    help="The run's own folder, new or empty.  [default: runs/RECIPE-TIME]",
)
@click.option("--dry-run", is_flag=True, help="Resolve, check and print; train nothing.")
@json_option
def command(
    recipe: str,
    settings: tuple[str, ...],
    run_dir: Path | None,
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

    Exit codes: 0 done, 1 something to put right, 2 wrong usage, 3 the loss diverged, 130
    interrupted by Ctrl-C (the run stays usable).
    """
    resolved = resolve(recipe, options=options, settings=dict(map(parse_setting, settings)))
    for sentence in resolved.notes:
        note(f"Note: {sentence}")
    from dlsuite import api
    from dlsuite.runs.folder import RunFolder

    api.check_names(resolved.recipe)
    if run_dir is not None and not dry_run:
        RunFolder(run_dir).check_new()  # before the seconds that TensorFlow and the data take
    with err.status("Loading TensorFlow and the data ..."):
        plan = api.plan_resolved(resolved)
    for sentence in plan.task.dataset.notes:
        note(f"Note: {sentence}")
    numbers = plan_numbers(plan)
    if dry_run:
        if as_json:
            print_json(
                {"recipe": resolved.recipe.model_dump(), "origins": resolved.origins, **numbers}
            )
        else:
            _print_origins(resolved)
            _print_numbers(out, numbers)
        return
    _print_recipe(resolved)
    _print_numbers(err, numbers)
    from dlsuite.cli.progress import make_observer

    started = time.perf_counter()
    with make_observer(plan) as observer:
        run = plan.train(run_dir, observer=observer)
    result = _result(run, time.perf_counter() - started)
    if as_json:
        print_json(result)
    else:
        _print_result(result)
    raise SystemExit(EXIT_CODES[run.status])


def plan_numbers(plan: Any) -> dict[str, Any]:
    """Returns the numbers that catch mistakes before a run starts."""
    model, task = plan.task.model, plan.task
    trainable = sum(variable.shape.num_elements() for variable in model.trainable_variables)
    splits = {name: split.num_examples for name, split in task.dataset.splits.items()}
    epochs = task.recipe.train.epochs
    return {
        "model": model.name,
        "parameters": model.count_params(),
        "trainable_parameters": trainable,
        "flops_per_example": task.flops,
        "image_shape": list(task.dataset.image_shape),
        "classes": task.dataset.num_classes,
        "examples": splits,
        "steps_per_epoch": task.steps_per_epoch,
        "steps": task.steps_per_epoch * epochs,
        "examples_seen": task.steps_per_epoch * epochs * task.recipe.train.batch_size,
        "device": plan.execution.device,
        "threads": plan.execution.threads,
        "xla": plan.execution.use_xla,
        "xla_reason": plan.execution.xla_reason,
    }


def _print_numbers(console: Any, numbers: dict[str, Any]) -> None:
    shape = " x ".join(str(side) for side in numbers["image_shape"])
    splits = ", ".join(f"{count:,} {name}" for name, count in numbers["examples"].items())
    rows = {
        "network": f"{numbers['model']}: {numbers['parameters']:,} parameters, "
        f"{numbers['trainable_parameters']:,} trainable, "
        f"{in_units(numbers['flops_per_example'], 'FLOPs')} an example forward",
        "images": f"{shape}, {numbers['classes']} classes; {splits}",
        "training": f"{numbers['steps_per_epoch']:,} steps an epoch, {numbers['steps']:,} in all, "
        f"{numbers['examples_seen']:,} examples seen",
        "computing": f"{numbers['device']}, {numbers['threads']} threads, "
        f"XLA {'on' if numbers['xla'] else 'off'} ({numbers['xla_reason']})",
    }
    for name, text in rows.items():
        console.print(f"[bold]{name:<10}[/] {text}", soft_wrap=not console.is_terminal)


def _settings(recipe: Recipe) -> list[tuple[str, str, Any]]:
    """Returns (section, key, value) of each setting but the descriptive ones."""
    rows = []
    for section, values in recipe.model_dump().items():
        if section == "about":
            continue
        if not isinstance(values, dict):
            rows.append(("", section, values))
            continue
        for key, value in values.items():
            nested = value.items() if isinstance(value, dict) else [(None, value)]
            for inner, leaf in nested:
                rows.append((section, key if inner is None else f"{key}.{inner}", leaf))
    return rows


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value)


def _print_recipe(resolved: Resolved) -> None:
    err.print(f"[bold]recipe {resolved.name}[/]  (dim: the defaults)")
    lines: dict[str, list[str]] = {}
    for section, key, value in _settings(resolved.recipe):
        default = resolved.origins.get(f"{section}.{key}".lstrip("."), "default") == "default"
        if default and key.startswith("augment."):
            continue  # an augmentation left off is no news
        text = f"{key} {_shown(value)}"
        lines.setdefault(section, []).append(f"[dim]{text}[/]" if default else text)
    for section, texts in lines.items():
        text = f"[bold]{section or 'task':<10}[/] " + ", ".join(texts)
        err.print(text, soft_wrap=not err.is_terminal)


def _print_origins(resolved: Resolved) -> None:
    settings = table("setting", "value", "from", title=f"recipe {resolved.name}")
    for section, key, value in _settings(resolved.recipe):
        path = f"{section}.{key}".lstrip(".")
        settings.add_row(path, _shown(value), resolved.origins.get(path, "default"))
    out.print(settings)


def _result(run: Any, seconds: float) -> dict[str, Any]:
    info = run.info
    history = run.history
    best = info["best"]
    return {
        "run": str(run.path),
        "status": info["status"],
        "epochs": info["epochs_done"],
        "steps": info["steps_done"],
        "seconds": seconds,
        "diverged_at": info.get("diverged_at"),
        "best": best,
        "best_epoch": history[best["epoch"] - 1] if best else None,
        "last_epoch": history[-1] if history else None,
    }


def _print_result(result: dict[str, Any]) -> None:
    verdict = {
        "finished": "Finished",
        "stopped": "Stopped early, without further improvement,",
        "interrupted": "Interrupted; the run is usable,",
        "diverged": f"Diverged: no finite loss from step {result['diverged_at']} on;"
        " lower --learning-rate;",
    }[result["status"]]
    out.print(
        f"{verdict} after {result['epochs']} epochs, {result['steps']:,} steps, "
        f"{result['seconds']:.1f} s."
    )
    if result["best_epoch"]:
        names = [name for name in result["best_epoch"] if name not in ("epoch", "step")]
        results = table("", "epoch", *names, right=("epoch", *names))
        for title, row in (("best", result["best_epoch"]), ("last", result["last_epoch"])):
            values = [f"{row[name]:.4g}" if row[name] is not None else "-" for name in names]
            results.add_row(f"{title}", str(row["epoch"]), *values)
        out.print(results)
    out.print(f"Run folder: {result['run']}", soft_wrap=True)
    if result["best_epoch"] or result["status"] == "interrupted":
        out.print(f"Next: dlsuite evaluate {result['run']}", soft_wrap=True)
