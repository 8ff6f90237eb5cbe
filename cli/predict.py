"""`dlsuite predict`: classify image files."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import click
from rich.console import Console
from rich.markup import escape

from dlsuite.cli.console import err, json_option, note, table
from dlsuite.errors import DlsuiteError
from dlsuite.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from dlsuite.analysis.prediction import Failure, Prediction

_FORMATS = {".csv": "csv", ".json": "json", ".txt": "table"}
# Rows of one printed table: its columns fit these, and no more are held.
_TABLE_ROWS = 1000


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.argument(
    "images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    help="How to print.  [default: by the suffix of --output, else table]",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to a .csv, .json or .txt file instead of printing.",
)
@click.option(
    "--top",
    metavar="K",
    type=click.IntRange(min=1),
    help="Only the K most probable classes.  [default: 3 in a table, else all]",
)
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(min=1),
    help="Images at a time; changes no result.  [default: the training's]",
)
@json_option
def command(
    run: Path,
    images: tuple[Path, ...],
    form: str | None,
    output: Path | None,
    top: int | None,
    batch_size: int | None,
    as_json: bool,
) -> None:
    """Classify image files with a trained run.

    IMAGE is a file (PNG, JPEG, TIFF, ...), grey or colour, of any size, or a folder of them.

    \b
    dlsuite predict runs/mnist digit.png
    dlsuite predict runs/photos holiday/ --output holiday.csv
    dlsuite predict runs/photos a.jpg b.jpg --json --top 5

    A file that can't be read is named, the others are still classified, and the exit code is
    1. `--json` is short for `--format json`; docs/json.md lists its keys.
    """
    form = _choose_format(form, output, as_json=as_json)
    import dlsuite

    loaded = dlsuite.load(run)
    loaded.require_task("classification", command="predict")
    with err.status("Loading the model ..."):
        model = loaded.model
        from dlsuite.analysis.prediction import Prediction, stream_predictions
    outcomes = stream_predictions(
        model,
        images,
        class_names=loaded.class_names,
        image_shape=loaded.image_shape,
        value_range=loaded.folder.read("dataset.json")["value_range"],
        batch_size=batch_size or loaded.recipe.train.batch_size,
    )
    writer: Writer = {"table": TableWriter, "json": JsonWriter, "csv": CsvWriter}[form](
        str(loaded.path), loaded.class_names, top
    )
    failures: list[Failure] = []
    height, width = loaded.image_shape[:2]
    images_read = images_resized = 0

    def rows() -> Iterator[Prediction]:
        nonlocal images_read, images_resized
        for outcome in outcomes:
            if isinstance(outcome, Prediction):
                images_read += 1
                images_resized += outcome.size != (height, width)
                yield outcome
            else:
                failures.append(outcome)
                note(f"Error: {outcome.reason}")

    with _opened(output) as stream:
        writer.write(rows(), failures, stream)
    if output is not None:
        note(f"Written: {output}")
    if images_resized:
        note(
            f"Note: {images_resized} of {counted(images_read, 'image')} had another size and "
            f"became {height} x {width} pixels, as in training."
        )
    if failures:
        note(f"{len(failures)} could not be classified.")
        raise SystemExit(1)


def _choose_format(form: str | None, output: Path | None, *, as_json: bool) -> str:
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json is short for --format json. Received: --format {form}.")
    if output is None:
        return "json" if as_json else form or "table"
    suffix = output.suffix.lower()
    if suffix not in _FORMATS:
        # also what keeps a stray image name behind --output from being overwritten
        raise click.UsageError(
            f"--output takes a .csv, .json or .txt file. Received: '{output}'. Give it one of "
            "these suffixes."
        )
    return "json" if as_json else form or _FORMATS[suffix]


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """The stream to write to; a file appears under its name only when it is complete."""
    # surrogateescape: a file name that is not UTF-8 comes out as it went in
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        yield sys.stdout
        return
    from dlsuite.runs.folder import replacing

    try:
        with (
            replacing(output) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
        ):
            yield stream
    except OSError as error:
        raise DlsuiteError(
            f"The output file must be writable. Received: '{output}' ({error.strerror}). "
            "Free space, or name another file with --output."
        ) from error


class Writer(Protocol):
    """Writes predictions as they come, so that their number doesn't matter.

    Args:
        run: the run folder as the user named it.
        class_names: in the order of the probabilities.
        top: only the K most probable classes; None for the format's default.
    """

    def __init__(self, run: str, class_names: tuple[str, ...], top: int | None): ...

    def write(
        self, rows: Iterator["Prediction"], failures: list["Failure"], stream: TextIO
    ) -> None:
        """Writes them all; the failures are complete once the rows have ended."""


class TableWriter:
    """A Rich table of label, probability and the runners-up."""

    def __init__(self, run: str, class_names: tuple[str, ...], top: int | None):
        self._class_names = class_names
        self._top = min(top or 3, len(class_names))

    def write(
        self, rows: Iterator["Prediction"], failures: list["Failure"], stream: TextIO
    ) -> None:
        """Writes tables of a thousand rows at most."""
        # what is not a terminal has no width to fold long paths at
        console = Console(file=stream, highlight=False, width=None if stream.isatty() else 10_000)
        runners_up = self._top > 1
        while chunk := list(islice(rows, _TABLE_ROWS)):
            columns = ("image", "label", "probability") + ("next",) * runners_up
            made = table(*columns, right=("probability",))
            for row in chunk:
                best = most_probable(row.probabilities, self._top)
                following = ", ".join(
                    f"{self._class_names[k]} {row.probabilities[k]:.4f}" for k in best[1:]
                )
                cells = [escape(str(row.path)), escape(row.label), f"{row.probability:.4f}"]
                made.add_row(*cells, *([escape(following)] if runners_up else []))
            console.print(made)


class CsvWriter:
    """``path,label,probability`` and a column a class, or the runners-up where K is given."""

    def __init__(self, run: str, class_names: tuple[str, ...], top: int | None):
        self._class_names = class_names
        self._top = top and min(top, len(class_names))

    def write(
        self, rows: Iterator["Prediction"], failures: list["Failure"], stream: TextIO
    ) -> None:
        """Writes a header and a line an image."""
        writer = csv.writer(stream, lineterminator="\n")
        ranks = range(2, (self._top or 1) + 1)
        further = [name for k in ranks for name in (f"label_{k}", f"probability_{k}")]
        header = self._class_names if self._top is None else further
        writer.writerow(["path", "label", "probability", *header])
        for row in rows:
            if self._top is None:
                cells: list[Any] = [rounded(p) for p in row.probabilities]
            else:
                best = most_probable(row.probabilities, self._top)[1:]
                cells = [
                    cell
                    for k in best
                    for cell in (self._class_names[k], rounded(row.probabilities[k]))
                ]
            writer.writerow([row.path, row.label, rounded(row.probability), *cells])


class JsonWriter:
    """One JSON object, a line an image; docs/json.md lists its keys."""

    def __init__(self, run: str, class_names: tuple[str, ...], top: int | None):
        self._run = run
        self._class_names = class_names
        self._top = top

    def write(
        self, rows: Iterator["Prediction"], failures: list["Failure"], stream: TextIO
    ) -> None:
        """Writes the object piece by piece."""
        head = {"run": self._run, "class_names": list(self._class_names)}
        stream.write(json.dumps(head)[:-1] + ', "predictions": [')
        separator = "\n"
        for row in rows:
            stream.write(separator + json.dumps(self._row(row)))
            separator = ",\n"
        failed = [{"path": str(failure.path), "reason": failure.reason} for failure in failures]
        stream.write('\n], "failures": ' + json.dumps(failed) + "}\n")

    def _row(self, row: "Prediction") -> dict[str, Any]:
        shown = (
            range(len(self._class_names))
            if self._top is None
            else most_probable(row.probabilities, self._top)
        )
        return {
            "path": str(row.path),
            "size": list(row.size),
            "label": row.label,
            "probability": rounded(row.probability),
            "probabilities": {self._class_names[k]: rounded(row.probabilities[k]) for k in shown},
        }


def most_probable(probabilities: "np.ndarray", top: int) -> "np.ndarray":
    """Returns the indices of the most probable classes, most probable first."""
    return (-probabilities).argsort(kind="stable")[:top]


def rounded(probability: float) -> float:
    """Returns the probability to six digits, about what float32 logits carry."""
    return float(f"{probability:.6g}")
