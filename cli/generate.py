"""`dlsuite generate`: images, arrays and films from a trained generator."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.progress import Progress

from dlsuite.cli.console import err, json_option, note, out, print_json
from dlsuite.errors import DlsuiteError

if TYPE_CHECKING:
    from dlsuite.analysis.generation import Sampler
    from dlsuite.run import Run

_SUFFIXES = ("png", "npy", "h5", "gif", "mp4")
# A sheet of more is no picture any more.
_MOST_ON_A_SHEET = 1024
_MOST_IN_A_FILM = 64


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--num", metavar="N", type=click.IntRange(min=1), default=64, show_default=True,
    help="Images to generate.",
)  # fmt: skip
@click.option(
    "--seed", metavar="N", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
    help="Seed of the latents; image i of a seed is always the same.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(_SUFFIXES),
    help="A sheet (png), an array (npy, h5) or a film (gif, mp4).  "
    "[default: by --output, else png, or gif with --interpolate]",
)  # fmt: skip
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write.  [default: RUN/generated/seedN-numN.FORMAT]",
)
@click.option(
    "--truncation", metavar="T", type=click.FloatRange(min=0, min_open=True),
    help="Draw latents within T deviations: more typical, less varied.",
)  # fmt: skip
@click.option(
    "--interpolate", type=click.Choice(["circle", "loop"]), is_flag=False, flag_value="circle",
    help="Film a closed path: a great circle through two latents, or a smooth random loop.",
)  # fmt: skip
@click.option(
    "--frames", metavar="N", type=click.IntRange(min=2), default=120, show_default=True,
    help="Frames of the film.",
)  # fmt: skip
@click.option(
    "--fps", metavar="N", type=click.FloatRange(min=1, max=60), default=30, show_default=True,
    help="Frames a second.",
)  # fmt: skip
@json_option
def command(
    run: Path,
    num: int,
    seed: int,
    form: str | None,
    output: Path | None,
    truncation: float | None,
    interpolate: str | None,
    frames: int,
    fps: float,
    as_json: bool,
) -> None:
    """Generate images with a trained GAN.

    \b
    dlsuite generate runs/digits-gan
    dlsuite generate runs/maps --num 1000000 --seed 1 --format h5 --output maps.h5
    dlsuite generate runs/maps --num 16 --interpolate --frames 120 --format mp4

    Arrays hold images in the units of the training data, float32, (N, H, W, C), and are written
    as they are made: memory does not grow with their number, and the same command goes on where
    it was stopped.
    """
    import dlsuite

    loaded = dlsuite.load(run)
    loaded.require_task("gan", command="generate")
    form = _form(form, output, is_film=interpolate is not None)
    _check_film_options(interpolate)
    most = _MOST_IN_A_FILM if interpolate else _MOST_ON_A_SHEET if form == "png" else num
    if num > most:
        kind = "film" if interpolate else "sheet"
        raise DlsuiteError(
            f"A {kind} shows at most {most} images. Received: --num {num}. Lower it, or write "
            "an array with --format h5."
        )
    name = f"{_stem(seed, num, truncation, interpolate)}.{form}"
    path = output or loaded.path / "generated" / name
    with err.status("Loading the model ..."):
        model = loaded.model
        from dlsuite.analysis.generation import Sampler
    sampler = Sampler(model, seed=seed, truncation=truncation)
    about = _about(loaded, seed, truncation) if form in ("npy", "h5") else {}
    try:
        if interpolate:
            _film(sampler, loaded, path, num=num, frames=frames, fps=fps, kind=interpolate)
        elif form == "png":
            _sheet(sampler, loaded, path, num=num)
        else:
            _array(sampler, path, num=num, about=about)
    except OSError as error:
        raise DlsuiteError(
            f"What is generated needs a place that can be written. Received: '{path}' "
            f"({error.strerror or error}). Free space, or name another with --output."
        ) from error
    if as_json:
        print_json(
            {
                "run": str(loaded.path),
                "file": str(path),
                "format": form,
                "num": num,
                "seed": seed,
                "truncation": truncation,
                "frames": frames if interpolate else None,
            }
        )
    else:
        out.print(f"Written: {path}", markup=False, soft_wrap=True)


def _form(form: str | None, output: Path | None, *, is_film: bool) -> str:
    """The format that the options agree on."""
    suffix = output.suffix.lower().removeprefix(".") if output else None
    chosen = form or suffix or ("gif" if is_film else "png")
    if chosen not in _SUFFIXES or (suffix is not None and suffix != chosen):
        raise click.UsageError(
            f"--output ends in the format: {', '.join('.' + s for s in _SUFFIXES)}. "
            f"Received: '{output}'" + (f" with --format {form}." if form else ".")
        )
    if is_film != (chosen in ("gif", "mp4")):
        raise click.UsageError(
            "Films, gif or mp4, are made with --interpolate, and nothing else is. "
            f"Received: the format {chosen}."
        )
    return chosen


def _check_film_options(interpolate: str | None) -> None:
    given = click.get_current_context().get_parameter_source
    for name in ("frames", "fps"):
        if interpolate is None and given(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} is of a film: add --interpolate, or leave it out.")


def _stem(seed: int, num: int, truncation: float | None, interpolate: str | None) -> str:
    parts = [f"seed{seed}", f"num{num}"]
    parts += [] if truncation is None else [f"truncation{truncation:g}"]
    return "-".join([*parts, *([interpolate] if interpolate else [])])


def _about(loaded: "Run", seed: int, truncation: float | None) -> dict[str, Any]:
    """What decides the images of an array, besides their number."""
    from dlsuite.analysis.generated_arrays import digest

    return {"model": digest(loaded.model_file), "seed": seed, "truncation": truncation}


def _painter(images: Any, loaded: "Run") -> Any:
    from dlsuite.reports.sheets import Painter

    return Painter(images, tuple(loaded.folder.read("dataset.json")["value_range"]))


def _sheet(sampler: "Sampler", loaded: "Run", path: Path, *, num: int) -> None:
    from dlsuite.reports.sheets import save_sheet, sheet

    images = sampler.images(sampler.latents(0, num))
    save_sheet(sheet(_painter(images, loaded)(images)), path)


def _film(
    sampler: "Sampler",
    loaded: "Run",
    path: Path,
    *,
    num: int,
    frames: int,
    fps: float,
    kind: str,
) -> None:
    from dlsuite.analysis.generation import great_circle, smooth_loop
    from dlsuite.reports.sheets import save_film, sheet

    if kind == "circle":
        ends = sampler.normals(0, 2 * num)
        way = great_circle(ends[:num], ends[num:], frames)
    else:
        # a second's worth, but no more than an eighth of the loop
        width = min(fps, frames / 8)
        way = smooth_loop(num, sampler.latent_dim, frames, width=width, seed=sampler.seed)
    painter = _painter(sampler.images(sampler.latents(0, max(num, 64))), loaded)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        drawn = (sheet(painter(sampler.images(sampler.truncated(latent)))) for latent in way)
        save_film(bar.track(drawn, total=frames, description="Filming"), path, fps=fps)


def _array(sampler: "Sampler", path: Path, *, num: int, about: dict[str, Any]) -> None:
    from dlsuite.analysis.generated_arrays import ArrayFile

    with ArrayFile(path, shape=(num, *sampler.image_shape), about=about) as file:
        if 0 < file.done < num:
            note(f"Goes on after {file.done:,} images that are there already.")
        with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
            task = bar.add_task("Generating", total=num, completed=file.done)
            for images in sampler.batches(file.done, num):
                file.append(images)
                bar.advance(task, len(images))
