"""`dlsuite evaluate`: measure a trained run on a split."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.progress import Progress

from dlsuite.cli.console import err, json_option, note, out, print_json, table
from dlsuite.errors import DlsuiteError

if TYPE_CHECKING:
    from dlsuite.analysis.classification import Evaluation

# Past this many classes the table shows only the worst.
_MOST_CLASSES = 20
_NUM_WORST = 10


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
@json_option
def command(
    run: Path,
    data: str | None,
    split: str,
    batch_size: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure a trained run on a dataset's test split.

    \b
    dlsuite evaluate runs/mnist
    dlsuite evaluate runs/mnist --split validation --json
    dlsuite evaluate runs/photos --data folder:other-photos --output report

    Accuracy with its 95 % Wilson interval, negative log-likelihood, calibration, per-class
    numbers, the confused pairs, and figures of them all. `--json` has accuracy and nll at top
    level; docs/json.md lists its keys.
    """
    import dlsuite

    loaded = dlsuite.load(run)
    own = loaded.recipe.data.name
    about = {"run": str(run), "data": data or own, "split": split}
    is_default = split == "test" and about["data"] == own
    folder = output or _default_folder(run, about, is_default=is_default)
    _check_folder(folder, about, named=output is not None)
    with err.status("Loading the model and the data ..."):
        model = loaded.model
        from dlsuite.analysis.evaluation import choose_split, evaluate_split

        dataset = loaded.load_data(data)
        chosen = choose_split(dataset, split)
    if data is not None:
        for sentence in dataset.notes:
            note(f"Note: {sentence}")
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("Evaluating", total=chosen.num_examples)
        evaluation = evaluate_split(
            model,
            chosen,
            class_names=loaded.class_names,
            batch_size=batch_size or loaded.recipe.train.batch_size,
            progress=lambda count: bar.advance(task, count),
        )
    if not as_json:
        _print(evaluation, about)
    with err.status("Drawing ..."):
        from dlsuite.reports.classification import write_evaluation

        try:
            files = write_evaluation(evaluation, chosen.read, folder, about=about)
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


def _default_folder(run: Path, about: dict[str, str], *, is_default: bool) -> Path:
    folder = run / "evaluation"
    if is_default:
        return folder
    name = about["data"]
    short = re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.")[-40:]
    if short != name:
        # two names may shorten to the same
        short += "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return folder / f"{short}-{about['split']}"


def _check_folder(folder: Path, about: dict[str, str], *, named: bool) -> None:
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


def _print(evaluation: "Evaluation", about: dict[str, Any]) -> None:
    low, high = evaluation.accuracy_interval
    title = escape(f"{about['data']}, {about['split']} split")
    headline = table("quantity", "value", title=title, right=("value",))
    headline.show_header = False
    for name, value in (
        ("examples", f"{evaluation.num_examples:,}"),
        ("accuracy", _percent(evaluation.accuracy)),
        ("  95 % interval", f"{100 * low:.2f} to {_percent(high)}"),
        ("top-5 accuracy", _percent(evaluation.top5_accuracy)),
        ("negative log-likelihood", f"{evaluation.nll:.4f}"),
        ("macro F1", f"{evaluation.macro_f1:.4f}"),
        ("expected calibration error", _percent(evaluation.expected_calibration_error)),
    ):
        if value is not None:
            headline.add_row(name, value)
    out.print(headline)
    out.print()
    out.print(_class_table(evaluation))
    confusions = evaluation.confusions(_NUM_WORST)
    if confusions:
        out.print()
        out.print(_confusion_table(evaluation, confusions))


def _class_table(evaluation: "Evaluation") -> Any:
    rows = evaluation.to_json()["classes"]
    title = None
    if len(rows) > _MOST_CLASSES:
        title = f"The {_NUM_WORST} classes of lowest F1, of {len(rows):,}"
        defined = [row for row in rows if row["f1"] is not None]
        rows = sorted(defined, key=lambda row: row["f1"])[:_NUM_WORST]
    columns = {
        "examples": "support",
        "precision": "precision",
        "recall": "recall",
        "F1": "f1",
        "ROC AUC": "roc_auc",
        "average precision": "average_precision",
    }
    made = table("class", *columns, title=title, right=tuple(columns))
    for row in rows:
        numbers = (_decimal(row[key]) for key in list(columns.values())[1:])
        made.add_row(escape(row["name"]), f"{row['support']:,}", *numbers)
    return made


def _confusion_table(evaluation: "Evaluation", confusions: list[tuple[int, int, int]]) -> Any:
    made = table(
        "true",
        "taken for",
        "times",
        "of the class",
        title="Most frequent confusions",
        right=("times", "of the class"),
    )
    for true, predicted, count in confusions:
        made.add_row(
            escape(evaluation.class_names[true]),
            escape(evaluation.class_names[predicted]),
            f"{count:,}",
            _percent(count / evaluation.support[true]),
        )
    return made


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2f} %"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
