"""`dlsuite models`: list networks, or show one's layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlsuite.cli.console import (
    check_nothing_before,
    completion,
    json_option,
    note,
    out,
    print_json,
    table,
)
from dlsuite.cli.figures import check_figure, save_figure
from dlsuite.models import FORMS, MODELS
from dlsuite.models.arithmetic import evaluate
from dlsuite.recipes.resolve import parse_setting
from dlsuite.registry import Entry

if TYPE_CHECKING:
    from dlsuite.models.build import Network


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List networks, or show one's layers.

    Parameters are the trainable ones, for the image and the classes of the network's source.

    \b
    dlsuite models
    dlsuite models show resnet20 --figure resnet20.png
    dlsuite train --model lenet5
    """
    if ctx.invoked_subcommand is not None:
        check_nothing_before(ctx)
        return
    rows = [_row(entry) for entry in (*MODELS.values(), *FORMS)]
    if as_json:
        print_json({"models": rows})
        return
    listing = table("model", "parameters", "image", "what it is", right=("parameters",))
    for row in rows:
        listing.add_row(
            row["name"],
            "" if row["parameters"] is None else f"{row['parameters']:,}",
            _shape(row["image_shape"] or ()),
            f"{row['description']}\n[dim]{row['source']}[/dim]",
        )
    out.print(listing)


@command.command()
@click.argument("name", shell_complete=completion(lambda: MODELS))
@click.option(
    "--image-size", type=click.IntRange(min=1), help="Height and width of the image [pixel]."
)
@click.option("--channels", type=click.IntRange(min=1), help="Channels of the image.")
@click.option("--classes", type=click.IntRange(min=1), help="Number of classes.")
@click.option(
    "--set",
    "settings",
    metavar="OPTION=VALUE",
    multiple=True,
    help="An option of the network; may be repeated.",
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the network's block schematic into this PNG file.",
)
@json_option
def show(
    name: str,
    image_size: int | None,
    channels: int | None,
    classes: int | None,
    settings: tuple[str, ...],
    figure: Path | None,
    as_json: bool,
) -> None:
    """Show the layers, shapes, parameters and FLOPs of a network.

    NAME is a model, keras:NAME of keras.applications, or a .keras file. Image and classes are
    those of the network's source unless given. FLOPs are for one image: two for each
    multiplication with a weight in convolutions and dense layers.

    \b
    dlsuite models show vgg16 --figure vgg16.png
    dlsuite models show mlp --set hidden=[512,512] --set activation=maxout
    """
    options = dict(map(parse_setting, settings))
    MODELS.check_options(name, options, "model")
    if figure is not None:
        check_figure(figure)
    from dlsuite.runtime import prepare

    prepare()
    from dlsuite.models.build import outline_network

    image_shape, num_classes = _sizes(name, image_size, channels, classes)
    network = outline_network(
        name, image_shape=image_shape, num_classes=num_classes, options=options
    )
    entry = MODELS[name]
    shown = _shown(entry, network, options, image_shape, num_classes)
    if figure is not None:
        _draw(network, figure, title=name)
    if as_json:
        print_json({**shown, "figure": None if figure is None else str(figure)})
        return
    out.print(f"[bold]{name}[/bold]: {entry.description}")
    out.print(f"[dim]{entry.source}[/dim]")
    _print_layers(shown)
    if figure is not None:
        note(f"Drawn into {figure}.")


def _row(entry: Entry) -> dict[str, Any]:
    arithmetic = entry.details.get("parameters")
    return {
        "name": entry.name,
        "description": entry.description,
        "source": entry.source,
        "parameters": None if arithmetic is None else evaluate(arithmetic),
        "image_shape": entry.details.get("image_shape"),
        "smallest_image": entry.details.get("smallest_image"),
        "num_classes": entry.details.get("num_classes"),
        "options": dict(entry.options),
    }


def _sizes(
    name: str, image_size: int | None, channels: int | None, classes: int | None
) -> tuple[tuple[int, int, int], int]:
    """Image shape and number of classes: as given, else the network's own."""
    details = MODELS[name].details
    own_shape = details.get("image_shape") or (None, None, None)
    own_classes = details.get("num_classes")
    if name.endswith(".keras"):
        from dlsuite.models.saved import own_sizes

        own_shape, own_classes = own_sizes(Path(name))
    asked = (image_size, image_size, channels)
    height, width, depth = (
        choice or own or usual
        for choice, own, usual in zip(asked, own_shape, (224, 224, 3), strict=True)
    )
    return (height, width, depth), classes or own_classes or 1000


def _shown(
    entry: Entry,
    network: "Network",
    options: dict[str, Any],
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> dict[str, Any]:
    from dlsuite.models.summary import layer_table

    rows = layer_table(network.model)
    trainable = sum(row.trainable for row in rows)
    return {
        "name": entry.name,
        "description": entry.description,
        "source": entry.source,
        "image_shape": image_shape,
        "smallest_image": entry.details.get("smallest_image"),
        "num_classes": None if "task" in entry.details else num_classes,
        "options": {**entry.options, **options},
        "parameters": trainable,
        "non_trainable_parameters": sum(row.parameters for row in rows) - trainable,
        "flops": sum(row.flops for row in rows),
        "features": dict(network.features),
        "layers": [
            {
                "name": row.name,
                "type": row.kind,
                "output_shape": row.output_shape,
                "parameters": row.parameters,
                "flops": row.flops,
            }
            for row in rows
        ],
    }


def _print_layers(shown: dict[str, Any]) -> None:
    numbers = ("parameters", "FLOPs")
    listing = table("layer", "type", "output", *numbers, right=numbers)
    for row in shown["layers"]:
        listing.add_row(
            row["name"],
            row["type"],
            _shape(row["output_shape"]),
            f"{row['parameters']:,}" if row["parameters"] else "",
            f"{row['flops']:,}" if row["flops"] else "",
        )
    out.print()
    out.print(listing)
    out.print()
    totals = table("total", "", right=("",))
    totals.add_row("trainable parameters", f"{shown['parameters']:,}")
    totals.add_row("other parameters", f"{shown['non_trainable_parameters']:,}")
    totals.add_row("FLOPs an image", f"{shown['flops']:,}")
    out.print(totals)
    out.print(f"\nFeatures: {', '.join(shown['features'])}", markup=False)
    settings = ", ".join(f"{option}={value!r}" for option, value in shown["options"].items())
    if settings:
        out.print(f"Options: {settings}", markup=False)


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)


def _draw(network: "Network", path: Path, *, title: str) -> None:
    from dlsuite.reports.schematic import schematic

    save_figure(schematic(network.model, title=title), path)
