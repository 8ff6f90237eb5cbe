"""`dlsuite visualize-filters`: what each neuron of a model responds to."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, Progress, TextColumn

from dlsuite.cli.console import (
    completion,
    err,
    json_option,
    note,
    number_option,
    out,
    print_json,
    table,
)
from dlsuite.errors import DlsuiteError
from dlsuite.visualize import METHODS

if TYPE_CHECKING:
    from dlsuite.visualize.study import Study


def _methods() -> str:
    """The methods as the last part of the help."""
    width = max(map(len, METHODS))
    rows = [f"  {name:<{width}}  {entry.description}" for name, entry in METHODS.items()]
    return "\b\nMethods:\n" + "\n".join(rows)


@click.command(epilog=_methods())
@click.argument("model", metavar="RUN_OR_MODEL")
@click.option("--list", "as_list", is_flag=True, help="List the layers and stop.")
@click.option(
    "--method",
    "methods",
    metavar="NAME",
    multiple=True,
    shell_complete=completion(METHODS.keys),
    help="One of the methods below; may be given several times.  [default: page]",
)
@click.option("--layer", metavar="NAME", help="A layer of --list, first or all.")
@click.option("--unit", "--units", "units", metavar="N-M", help="Units as 0-15 or 3,8; or all.")
@click.option("--data", metavar="NAME", help="Where exemplars come from.  [default: the run's own]")
@click.option("--split", help="Of the data.  [default: test, if it has one]")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="An image to look at; may be given several times.  [default: some of the data]",
)
@click.option("--target", metavar="CLASS", help="Class to explain.  [default: the predicted one]")
@click.option(
    "--preprocessing",
    type=click.Choice(["none", "unit", "tf", "torch", "caffe"]),
    help="What a model file's images went through: 0..1, -1..1, ImageNet's mean and deviation.",
)
@click.option(
    "--class-names",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A model file's classes, one a line.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps of an optimisation.")
@click.option("--size", type=click.IntRange(min=8), help="Side of an optimised picture [pixel].")
@click.option(
    "--parametrisation",
    type=click.Choice(["fourier", "pixel", "maco"]),
    default="fourier",
    show_default=True,
    help="What is optimised: Fourier coefficients, pixels, or phases alone.",
)
@click.option(
    "--objective",
    type=click.Choice(["channel", "neuron", "layer"]),
    default="channel",
    show_default=True,
    help="Maximise a unit's whole map, its middle, or the whole layer.",
)
@number_option("copies", 1, "Pictures a unit, pushed to differ.")
@number_option("limit", 2000, "Most images of the data to look at.")
@number_option("batch-size", 16, "Pictures at a time; bounds the memory.")
@number_option("seed", 0, "Of all that is random.", least=0)
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write.  [default: RUN/filters, or filters/MODEL]",
)
@json_option
def command(
    model: str,
    as_list: bool,
    methods: tuple[str, ...],
    data: str | None,
    split: str | None,
    preprocessing: str | None,
    class_names: Path | None,
    parametrisation: str,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """See what each neuron of any Keras model responds to.

    \b
    dlsuite visualize-filters runs/mnist
    dlsuite visualize-filters model.keras --list
    dlsuite visualize-filters model.keras --preprocessing torch --data folder:photos
    dlsuite visualize-filters runs/mnist --method maximisation --layer stage2_conv --units 0-15

    The model is a run, a .keras file of anyone's, or keras:NAME of keras.applications; it is never
    changed. By default a page to browse offline is written. docs/visualize-filters.md describes
    the methods and their results.
    """
    for method in methods:
        METHODS[method]  # the name is checked before the seconds that loading takes
    from dlsuite.visualize.opening import open_study
    from dlsuite.visualize.study import Options

    with _Display() as progress:
        progress("loading", 0, 1)
        study = open_study(
            model,
            options=Options(parametrised=parametrisation, **options),
            data=data,
            split=split,
            output=output,
            preprocessing=preprocessing,
            class_names=_lines(class_names),
            progress=progress,
        )
        if class_names is not None:
            study.command += f" --class-names {shlex.quote(str(class_names))}"
        for sentence in study.notes:
            note(f"Note: {sentence}")
        if as_list:
            study.anatomy  # noqa: B018  computed under the display
    if as_list:
        _list(study, model, as_json)
        return
    _check_folder(study.folder)
    results = {}
    with _Display() as progress:
        study.progress = progress
        for method in methods or ("page",):
            try:
                results[method] = METHODS.load(method)(study)
            except OSError as error:
                raise DlsuiteError(
                    f"The folder for the pictures must be writable. Received: '{study.folder}' "
                    f"({error.strerror or error}). What is there is kept. Free space, or name "
                    "another one with --output."
                ) from error
    if as_json:
        print_json(
            {
                "model": model,
                "folder": str(study.folder),
                "data": study.data,
                "methods": {
                    name: {"files": [file.name for file in made.files], **made.numbers}
                    for name, made in results.items()
                },
            }
        )
        return
    for name, made in results.items():
        for sentence in made.said:
            out.print(f"{name}: {sentence}", markup=False, soft_wrap=True)
        for file in made.files:
            out.print(str(file), markup=False, soft_wrap=True)


def _lines(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DlsuiteError(
            f"A file of class names is UTF-8 text, a name a line. Received: '{path}' "
            f"({getattr(error, 'strerror', None) or 'not UTF-8'}). Save it as UTF-8."
        ) from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _check_folder(folder: Path) -> None:
    """Checks, before the work is done, that its results can be written."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    reason = None
    if not place.is_dir():
        reason = f"'{place}' is a file"
    elif not os.access(place, os.W_OK):
        reason = "Permission denied"
    if reason:
        raise DlsuiteError(
            f"The folder for the pictures must be writable. Received: '{folder}' ({reason}). "
            "Name another one with --output."
        )


def _list(study: "Study", model: str, as_json: bool) -> None:
    from dlsuite.analysis.neurons.receptive_field import receptive_fields

    fields = receptive_fields(study.anatomy)
    shown = {layer.name for layer in study.anatomy.neuron_layers}
    rows = [
        {
            "name": place.name,
            "type": place.kind,
            "output_shape": list(place.shape),
            "receptive_field": None
            if fields[place.name] is None
            else list(fields[place.name].size),
            "has_units": place.name in shown,
        }
        for place in study.anatomy.places.values()
    ]
    if as_json:
        print_json({"model": model, "layers": rows})
        return
    made = table("layer", "type", "output", "sees", "", right=("output", "sees"))
    for row in rows:
        sees = row["receptive_field"]
        made.add_row(
            row["name"],
            row["type"],
            "x".join(map(str, row["output_shape"])),
            "all" if sees is None else "x".join(map(str, sees)),
            "units" if row["has_units"] else "",
        )
    out.print(made)


class _Display:
    """A bar on stderr for the stages of the work; nothing where it is no terminal."""

    def __enter__(self):
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=1)
        return self

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._bar.update(self._task, description=stage, completed=done, total=total)

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
