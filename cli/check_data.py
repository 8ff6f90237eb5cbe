"""`dlsuite check-data`."""

import sys

import click

from dlsuite.cli import console
from dlsuite.data import DATASETS
from dlsuite.wording import counted

_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}
_MOST_CLASSES = 20


@click.command()
@click.argument("dataset", shell_complete=console.completion(lambda: DATASETS))
@click.option(
    "--image-size",
    metavar="N",
    type=click.IntRange(min=1),
    help="Side to which training will resize images; sizes then need not agree.",
)
@console.json_option
def command(dataset: str, image_size: int | None, as_json: bool) -> None:
    """Check a dataset for broken, duplicate and odd images.

    DATASET is a name or a reader and a path, as `dlsuite datasets` lists them. Ends with 1 if
    there are errors (what training would refuse), with 0 if there are warnings or nothing.

    \b
    dlsuite check-data mnist_5k
    dlsuite check-data folder:photos --json
    """
    from dlsuite.data.check import check_dataset
    from dlsuite.recipes.schema import Data

    if not dataset:
        raise click.UsageError("Name a dataset. Received: an empty name.")
    report = check_dataset(Data(name=dataset, image_size=image_size))
    if as_json:
        console.print_json(report.to_dict())
    else:
        _print(report)
    sys.exit(1 if report.num_errors else 0)


def _print(report) -> None:
    splits = list(report.class_counts)
    if splits:
        counts = console.table("class", *splits, title=report.name, right=tuple(splits))
        classes = sorted({label for found in report.class_counts.values() for label in found})
        for label in classes[:_MOST_CLASSES]:
            counts.add_row(
                label.replace("[", r"\["),
                *(str(report.class_counts[s].get(label, 0)) for s in splits),
            )
        if len(classes) > _MOST_CLASSES:
            counts.add_row(f"... {len(classes) - _MOST_CLASSES} more classes")
        totals = (str(sum(report.class_counts[split].values())) for split in splits)
        counts.add_row("all", *totals)
        console.out.print(counts)
    console.out.print(
        f"\nSizes: {_few(report.sizes)}\nPixels: {_few(report.modes)}\n", markup=False
    )
    for finding in report.findings:
        console.out.print(f"[{_STYLES[finding.severity]}]{finding.severity}[/]", end=": ")
        console.out.print(f"{finding.message} {finding.remedy}", markup=False)
        for example in finding.examples:
            console.out.print(f"    {example}", markup=False)
        if finding.count > len(finding.examples) > 0:
            console.out.print(f"    ... {finding.count - len(finding.examples)} more")
    errors, warnings = counted(report.num_errors, "error"), counted(report.num_warnings, "warning")
    console.out.print(f"{errors}, {warnings}.")


def _few(counts) -> str:
    listed = [f"{name} ({count})" for name, count in list(counts.items())[:3]]
    return ", ".join(listed) + (", ..." if len(counts) > 3 else "") if listed else "none"
