"""The `dlsuite` command: verbs loaded when used."""

import importlib
import sys
import warnings
from typing import Any

import click

import dlsuite
from dlsuite.errors import DlsuiteError, DlsuiteWarning

# Verb to its one line of help. The line stands here so that `dlsuite --help` imports no verb;
# a test holds it equal to the verb's own.
COMMANDS = {
    "train": "Train a network by a recipe.",
    "resume": "Go on with a run where it stopped.",
    "launch": "Train by several worker processes of this machine.",
    "evaluate": "Measure a trained run on a dataset's test split.",
    "generate": "Generate images with a trained GAN.",
    "predict": "Classify image files with a trained run.",
    "visualize-filters": "See what each neuron of any Keras model responds to.",
    "compare-optimizers": "Race optimizers on a problem by a fair protocol.",
    "loss-landscape": "Draw the loss around trained networks.",
    "lr-find": "Find a learning rate by a range test.",
    "recipes": "List recipes, or show one as TOML.",
    "models": "List networks, or show one's layers.",
    "datasets": "List datasets and the readers of one's own files.",
    "optimizers": "List optimizers and learning-rate schedules.",
    "runs": "List run folders, or show one.",
    "check-data": "Check a dataset for broken, duplicate and odd images.",
    "verify": "Train a run's first steps again and compare the weights.",
    "profile": "Show where a training step's time goes.",
    "benchmark": "Measure the speed of networks on this machine.",
    "doctor": "Check this machine and installation.",
}


class VerbGroup(click.Group):
    """Loads `dlsuite.cli.VERB` when the verb is used; each module holds one `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"dlsuite.cli.{name.replace('-', '_')}").command

    def resolve_command(self, ctx: click.Context, args: list[str]):
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from dlsuite.errors import suggestions

            close = suggestions(args[0], COMMANDS) if args else []
            if close:
                error.message += " Did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(dlsuite.__version__, prog_name="dlsuite")
def cli() -> None:
    """Deep-learning applications on TensorFlow and Keras 3.

    \b
    dlsuite train                 train on real MNIST digits, in about a minute
    dlsuite recipes               what else there is to train
    dlsuite train --help          every option, with examples
    """


def _format_warning(message: Any, category: type, filename: str, *rest: Any) -> str:
    if issubclass(category, DlsuiteWarning):
        return f"Note: {message}\n"
    return _python_format(message, category, filename, *rest)


_python_format = warnings.formatwarning


def main() -> None:
    """Runs the command line; a user's mistake ends in one sentence and exit code 1."""
    warnings.formatwarning = _format_warning
    try:
        # not standalone: Click would turn Ctrl-C into exit code 1
        status = cli(prog_name="dlsuite", standalone_mode=False)
    except DlsuiteError as error:
        click.echo(f"Error: {error}", err=True)
        status = 1
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        status = 130
    sys.exit(status)
