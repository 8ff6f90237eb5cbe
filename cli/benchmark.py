"""`dlsuite benchmark`: measure the speed of networks on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from dlsuite.cli.console import (
    check_nothing_before,
    completion,
    err,
    in_units,
    json_option,
    note,
    out,
    print_json,
    table,
)
from dlsuite.cli.figures import check_figure, save_figure
from dlsuite.models import MODELS
from dlsuite.studies.benchmark import (
    DEFAULT_MODELS,
    MODES,
    PRECISIONS,
    SLIDE_BATCH,
    SLIDE_MODELS,
    Variant,
    measure_passes,
    measure_speed,
    primitives,
    variants,
    visible_devices,
    with_plain_primitives,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_figure_option = click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the result into this PNG file.",
)
_seconds_option = click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Time measured for each number, after warming up.",
)


def _many(name: str, kind: Any, text: str, metavar: str, **more: Any) -> Callable:
    return click.option(f"--{name}", multiple=True, type=kind, metavar=metavar, help=text, **more)


def _setting_options(command: Callable) -> Callable:
    """Adds the options that every measurement of networks has."""
    for option in reversed(
        (
            _many(
                "model",
                str,
                "Network; may be repeated, as may all options up to --batch-size.",
                "NAME",
                shell_complete=completion(lambda: MODELS),
            ),
            _many("device", str, "cpu or gpu:N.  [default: all there are]", "DEVICE"),
            _many("precision", click.Choice(PRECISIONS), ", ".join(PRECISIONS) + ".", "TYPE"),
            _many("threads", click.IntRange(min=1), "Threads of an operation.", "N"),
            _many("batch-size", click.IntRange(min=1), "Images a step.", "N"),
            click.option(
                "--image-size",
                type=click.IntRange(min=1),
                metavar="PIXELS",
                help="Height and width.  [default: each network's own; of keras:NAME 224]",
            ),
        )
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@_setting_options
@_many(
    "xla", click.Choice(["rule", "on", "off"]), "Compile with XLA: by the rule, on or off.", "MODE"
)
@_many("mode", click.Choice(MODES), "training or inference.  [default: both]", "MODE")
@_seconds_option
@_figure_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    mode: tuple[str, ...],
    seconds: float,
    figure: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Measure the speed of networks on this machine.

    Training and inference of every combination of the settings, each in a process of its own:
    images/s, the step's time (median and 95th percentile), the time to the first step, peak
    memory, and FLOP/s as a fraction of what a matrix product reaches. Without options an MLP, a
    small convolutional network and ResNet-20 at batch 128, in about a minute.

    \b
    dlsuite benchmark
    dlsuite benchmark --model resnet20 --threads 1 --threads 2 --figure threads.png
    dlsuite benchmark --model vgg11 --image-size 32 --precision float32 --precision bfloat16
    dlsuite benchmark hardware
    """
    if ctx.invoked_subcommand is not None:
        check_nothing_before(ctx)
        return
    chosen = _chosen(DEFAULT_MODELS, 128, **settings)
    rows = _measure(
        lambda before: measure_speed(chosen, modes=mode or MODES, seconds=seconds, before=before),
        figure,
    )
    if as_json:
        print_json({"rows": rows})
    else:
        _print_speed(rows)
    _finish(rows, figure, "speed_figure")


@command.command()
@_setting_options
@_seconds_option
@_figure_option
@json_option
def networks(seconds: float, figure: Path | None, as_json: bool, **settings: Any) -> None:
    """Time a forward and backward pass of VGG-16, VGG-19, ResNet-18 and ResNet-50.

    At batch 16 of 224x224 images, as on the lecture slides, on every device there is: about
    three minutes on two cores. The batch lies in the device's memory; neither input nor
    optimizer counts.

    \b
    dlsuite benchmark networks --figure networks.png
    dlsuite benchmark networks --image-size 64 --model resnet18 --model resnet50
    """
    chosen = _chosen(SLIDE_MODELS, SLIDE_BATCH, **settings)
    rows = _measure(lambda before: measure_passes(chosen, seconds=seconds, before=before), figure)
    if as_json:
        print_json({"rows": rows})
    else:
        _print_passes(rows)
    _finish(rows, figure, "passes_figure")


@command.command(name="primitives")
@_setting_options
@_seconds_option
@_figure_option
@json_option
def compare_primitives(seconds: float, figure: Path | None, as_json: bool, **settings: Any) -> None:
    """Compare optimised primitives with plain ones.

    A forward and backward pass as in `networks`: on a CPU with oneDNN and with TensorFlow's own
    primitives, on a GPU with XLA and cuDNN, with cuDNN alone, and with cuDNN that doesn't try out
    its algorithms. About ten minutes on two cores; --image-size 64 takes two.

    \b
    dlsuite benchmark primitives --figure primitives.png
    dlsuite benchmark primitives --image-size 64 --model resnet18
    """
    chosen = [
        one
        for variant in _chosen(SLIDE_MODELS, SLIDE_BATCH, **settings)
        for one in with_plain_primitives(variant)
    ]
    words = [primitives(variant) for variant in chosen]
    rows = _measure(lambda before: measure_passes(chosen, seconds=seconds, before=before), figure)
    rows = [row | {"primitives": word} for row, word in zip(rows, words, strict=True)]
    if as_json:
        print_json({"rows": rows})
    else:
        _print_passes(rows)
    _finish(rows, figure, "primitives_figure")


@command.command()
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="DEVICE=PRICE",
    help="Shown beside a device, as typed; may be repeated.",
)
@json_option
def hardware(prices: tuple[str, ...], as_json: bool) -> None:
    """Show cores, clock, memory, bandwidth and peak of CPU and GPU.

    Bandwidth is measured by a copy, the peak by a matrix product, both in float32, which newer
    GPUs multiply in TensorFloat-32.

    \b
    dlsuite benchmark hardware
    dlsuite benchmark hardware --price "cpu=385 USD" --price "gpu:0=1499 USD"
    """
    from dlsuite.studies.hardware import hardware_table

    for price in prices:
        if "=" not in price:
            raise click.BadParameter(f"{price!r} is not DEVICE=PRICE", param_hint="--price")
    typed = dict(price.split("=", 1) for price in prices)
    with err.status("Measuring ..."):
        rows = hardware_table(_devices(()), prices=typed)
    if as_json:
        print_json({"devices": rows})
        return
    columns = ["", *(row["device"] for row in rows)]
    shown = table(*columns, right=tuple(columns[1:]))
    shown.add_row("name", *(escape(row["name"]) for row in rows))
    for key, title, unit in (
        ("cores", "cores", ""),
        ("clock_hz", "clock", "Hz"),
        ("memory_bytes", "memory", "B"),
        ("bandwidth_bytes_per_s", "bandwidth, copy", "B/s"),
        ("peak_flops_per_s", "peak, matrix product", "FLOP/s"),
    ):
        shown.add_row(title, *(_number(row[key], unit) for row in rows))
    if typed:
        shown.add_row("price", *(escape(row["price"] or "") for row in rows))
    out.print(shown)


def _chosen(
    models: tuple[str, ...],
    batch: int,
    *,
    model: tuple[str, ...],
    device: tuple[str, ...],
    precision: tuple[str, ...],
    threads: tuple[int, ...],
    batch_size: tuple[int, ...],
    image_size: int | None,
    xla: tuple[str, ...] = (),
) -> list[Variant]:
    return variants(
        model or models,
        devices=_devices(device),
        precisions=precision or ("float32",),
        xla=xla or ("rule",),
        threads=threads,
        batch_sizes=batch_size or (batch,),
        image_size=image_size,
    )


def _devices(asked: tuple[str, ...]) -> list[str]:
    """The devices to measure; without a GPU that is said, never passed over."""
    if asked:
        return ["gpu:0" if device == "gpu" else device for device in asked]
    found = visible_devices()
    if len(found) == 1:
        note("TensorFlow sees no GPU here: only the CPU is measured. `dlsuite doctor` says why.")
    return found


def _measure(measure: Callable[[Callable], Any], figure: Path | None) -> list[dict[str, Any]]:
    if figure is not None:
        check_figure(figure)
    with err.status("Measuring ...") as status:
        return list(measure(lambda variant: status.update(f"Measuring {_named(variant)} ...")))


def _named(variant: Variant) -> str:
    return escape(
        f"{variant.model}, {variant.device}, {variant.precision}, XLA {variant.xla}, "
        f"{variant.threads} thread(s), batch {variant.batch_size}"
    )


def _finish(rows: list[dict[str, Any]], figure: Path | None, draw: str) -> None:
    """Draws the figure and ends with 1 where a variant failed."""
    for reason in dict.fromkeys(row["reason"] for row in rows if row["status"] != "ok"):
        note(f"Failed: {reason}")
    if figure is not None:
        from dlsuite.reports import benchmark

        make: Callable[..., Figure] = getattr(benchmark, draw)
        save_figure(make(rows), figure)
        note(f"Figure: {figure}")
    if any(row["status"] != "ok" for row in rows):
        raise SystemExit(1)


_SETTINGS = ("model", "device", "precision", "XLA", "threads", "batch")


def _settings(row: dict[str, Any]) -> list[str]:
    used = row.get("xla_used")
    return [
        escape(row["model"]),
        row["device"],
        row["precision"],
        row["xla"] if used is None else "on" if used else "off",
        str(row["threads"]),
        str(row["batch_size"]),
    ]


def _print_speed(rows: list[dict[str, Any]]) -> None:
    numbers = ("images/s", "step p50", "p95", "first step", "memory", "FLOP/s", "of peak")
    shown = table(*_SETTINGS, "", *numbers, right=("threads", "batch", *numbers))
    for row in rows:
        if row["status"] != "ok":
            shown.add_row(*_settings(row), row["mode"], "[red]failed[/red]")
            continue
        shown.add_row(
            *_settings(row),
            row["mode"],
            f"{row['images_per_s']:,.0f}",
            _time(row["step_p50_s"]),
            _time(row["step_p95_s"]),
            _time(row["first_step_s"]),
            _number(row["peak_memory_bytes"], "B"),
            _number(row["flops_per_s"], "FLOP/s"),
            f"{row['flops_per_s'] / row['peak_flops_per_s']:.0%}",
        )
    out.print(shown)


def _print_passes(rows: list[dict[str, Any]]) -> None:
    numbers = ("forward", "forward and backward")
    with_words = "primitives" in rows[0]
    shown = table(*_SETTINGS, *(["computed by"] * with_words), *numbers, right=numbers)
    for row in rows:
        words = [row["primitives"]] if with_words else []
        if row["status"] == "ok":
            times = [_time(row["forward_s"]), _time(row["forward_backward_s"])]
        else:
            times = ["[red]failed[/red]"]
        shown.add_row(*_settings(row), *words, *times)
    out.print(shown)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "unknown"
    return in_units(value, unit) if unit else f"{value:,}"
