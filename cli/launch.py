"""`dlsuite launch`: train by several worker processes of this machine."""

import os

import click

from dlsuite.errors import DlsuiteError


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--workers", type=click.IntRange(min=1), required=True, metavar="N", help="How many processes."
)
@click.argument("arguments", nargs=-1, required=True, metavar="COMMAND [ARGS]...")
def command(workers: int, arguments: tuple[str, ...]) -> None:
    """Train by several worker processes of this machine.

    COMMAND is `train` or `resume` with its own options. The workers share each batch; but for
    dropout's masks and batch normalization's statistics, of which each has its own, they train the
    weights that one process would, up to rounding. The first one writes the run and speaks. Each
    takes an equal part of the cores, and of the GPUs where there are any.

    \b
    dlsuite launch --workers 2 train mnist-mlp --epochs 2
    dlsuite launch --workers 4 resume runs/mnist-mlp-20260101-120000

    On several machines a queue starts the workers: see "Several machines" in docs/running.md.
    Exit codes are those of `dlsuite train`; where a worker is lost, 1.
    """
    from dlsuite.engine.launch import launch

    if arguments[0] not in ("train", "resume"):
        raise click.UsageError(
            f"Workers share a training. Received: {arguments[0]!r}. Give train or resume."
        )
    if os.environ.get("TF_CONFIG"):
        raise DlsuiteError(
            "launch starts workers of its own. Received: TF_CONFIG is set, as if this were one "
            "already. Unset it, or run `dlsuite train` without launch."
        )
    code, said = launch(arguments, workers)
    if said:
        click.echo(said, err=True, nl=False)
    raise SystemExit(code)
