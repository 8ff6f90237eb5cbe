"""`dlsuite evaluate`: measure a trained run on a split."""

import hashlib
import importlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import Progress

from dlsuite.cli.console import err, json_option, note, out, print_json
from dlsuite.errors import DlsuiteError

if TYPE_CHECKING:
    from dlsuite.recipes.gan import GanRecipe


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--data",
    metavar="NAME",
    help="Another dataset with the same classes.  [default: the run's own]",
)
@click.option("--split", default="test", show_default=True, help="train, validation or test.")
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(min=1),
    help="Images at a time; changes no result.  [default: the training's]",
)
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write figures and numbers.  [default: RUN/evaluation]",
)
@click.option(
    "--classifier",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Run or .keras file of a classifier that judges generated images.  [default: the run's "
    "own gan.classifier]",
)
@json_option
def command(
    run: Path,
    data: str | None,
    split: str,
    batch_size: int | None,
    classifier: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure a trained run on a dataset's test split.

    \b
    dlsuite evaluate runs/mnist
    dlsuite evaluate runs/mnist --split validation --json
    dlsuite evaluate runs/photos --data folder:other-photos --output report
    dlsuite evaluate runs/digits-gan --classifier runs/mnist

    Accuracy with its 95 % Wilson interval, negative log-likelihood, calibration, per-class
    numbers, the confused pairs, and figures of them all. `--json` has accuracy and nll at top
    level; docs/json.md lists its keys. A generator's images are compared with the split's, each
    statistic beside that of real against real images.
    """
    import dlsuite

    loaded = dlsuite.load(run)
    options = {}
    if classifier is not None:
        loaded.require_task("gan", command="evaluate --classifier")
        if classifier.suffix != ".keras":
            judge = dlsuite.load(classifier)
            judge.require_task("classification", command="evaluate --classifier")
            classifier = judge.model_file
    elif loaded.recipe.task == "gan":
        classifier = _own_classifier(loaded.recipe)
    if classifier is not None:
        options["classifier"] = classifier
    own = loaded.recipe.data.name
    if data is not None and loaded.is_own_data(data):
        data = None  # its splits, and not all of it as one
    about = {"run": str(loaded.path), "data": data or own, "split": split}
    is_default = split == "test" and about["data"] == own
    folder = output or _default_folder(loaded.path, about, is_default=is_default)
    _check_folder(folder, about, named=output is not None)
    is_best = loaded.model_file == loaded.folder.model_path
    about |= {"best": loaded.info["best"] if is_best else None}
    with err.status("Loading the model and the data ..."):
        _ = loaded.model
        from dlsuite.analysis.evaluation import choose_split

        dataset = loaded.load_data(data)
        chosen = choose_split(dataset, split)
    if data is not None:
        for sentence in dataset.notes:
            note(f"Note: {sentence}")
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("Evaluating", total=chosen.num_examples)
        evaluation = loaded.evaluate(
            dataset,
            split=split,
            batch_size=batch_size,
            progress=lambda count: bar.advance(task, count),
            **options,
        )
    reports = importlib.import_module(f"dlsuite.reports.{loaded.recipe.task}")
    if not as_json:
        tables = importlib.import_module(f"dlsuite.cli.evaluation_{loaded.recipe.task}")
        tables.print_evaluation(evaluation, about)
    with err.status("Drawing ..."):
        try:
            files = reports.write_evaluation(evaluation, chosen.read, folder, about=about)
        except OSError as error:
            # the numbers are dear: they reach the user even so
            if as_json:
                print_json({**about, "folder": None, "files": [], **evaluation.to_json()})
            raise _unwritable(folder, error.strerror) from error
    if as_json:
        names = [file.name for file in files]
        print_json({**about, "folder": str(folder), "files": names, **evaluation.to_json()})
    else:
        out.print(f"\nFigures and numbers: {folder}", markup=False, soft_wrap=True)


def _own_classifier(recipe: "GanRecipe") -> Path | None:
    """The classifier that judged the training, where it still is."""
    if recipe.gan.classifier is None:
        return None
    path = Path(recipe.gan.classifier)
    if path.exists():
        return path
    note(f"Note: the run's classifier is gone: {path}. Name another with --classifier.")
    return None


def _default_folder(run: Path, about: dict[str, Any], *, is_default: bool) -> Path:
    folder = run / "evaluation"
    if is_default:
        return folder
    name = about["data"]
    # of a reader's path the last part: what stands before it says less and takes more room
    shortened = re.sub(r"(?<=:)[^#]*/(?=[^/#])", "", name.rstrip("/"))
    short = re.sub(r"[^A-Za-z0-9_.]+", "-", shortened)[:60].strip("-.")
    if short != name:
        # two names may shorten to the same
        short += "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return folder / f"{short}-{about['split']}"


def _check_folder(folder: Path, about: dict[str, Any], *, named: bool) -> None:
    """Checks, before the work is done, that its results can be written."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise _unwritable(folder, f"'{place}' is a file")
    if not os.access(place, os.W_OK):
        raise _unwritable(folder, "Permission denied")
    if not named:
        return
    try:
        before = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        held = {key: before[key] for key in about}
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError, KeyError):
        held = None
    if held != about:
        raise DlsuiteError(
            "An evaluation is not overwritten by another one. Received: --output "
            f"'{folder}', which holds the evaluation of {held or 'something unknown'}. "
            "Name another folder, or remove it."
        )


def _unwritable(folder: Path, reason: str | None) -> DlsuiteError:
    return DlsuiteError(
        f"The evaluation's folder must be writable. Received: '{folder}' ({reason}). "
        "Free space, or name another one with --output."
    )
