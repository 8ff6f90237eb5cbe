"""The display of a training run on a terminal."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from dlsuite.cli import progress
from dlsuite.cli.main import cli  # noqa: F401  the order of imports that users have
from dlsuite.engine.loop import Block, Progress
from dlsuite.recipes.resolve import resolve

ROW = {
    "epoch": 1, "step": 56, "accuracy": 0.5, "loss": 1.25, "val_accuracy": 0.75,
    "val_loss": 1.125, "learning_rate": 0.01,
}  # fmt: skip


class Plan:
    """As much of a plan as the display asks for."""

    resolved = resolve("mnist-cnn", options={"epochs": 20})
    task = type("Task", (), {"steps_per_epoch": 56, "step_size": 128})


@pytest.fixture
def show(monkeypatch):
    """Shows events on a terminal of a width; returns what it printed, line by line."""

    def shown(width, *events):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=True, width=width, color_system=None)
        monkeypatch.setattr(progress, "err", console)
        with progress.make_observer(Plan) as observer:
            for name, *arguments in events:
                getattr(observer, name)(*arguments)
            observer._bar.refresh()
        # where the cursor goes back, the bar is drawn over itself
        return re.sub(r"\x1b\[[0-9?]*[a-zA-Z]|\r", "\n", stream.getvalue())

    return shown


def block(step):
    return Block(
        step=step,
        count=1,
        metrics={"loss": np.array([1.25]), "accuracy": np.array([0.5])},
        is_finite=True,
        seconds=0.01,
        compiling=False,
    )


@pytest.mark.parametrize("width", [60, 80, 200])
def test_an_epoch_is_one_line_however_narrow_the_terminal(show, width):
    text = show(width, ("on_block", block(1), Progress(step=1)), ("on_epoch", ROW, True))
    lines = [line for line in text.splitlines() if "0.7500" in line]
    assert len(lines) == 1
    assert len(lines[0]) <= width
    header = next(line for line in text.splitlines() if "val_accuracy" in line)
    # numbers stand under the ends of their names
    assert header.index("val_accuracy") + len("val_accuracy") == lines[0].index("0.7500") + 6
    assert ("examples/s" in header) == (width > 60)


def test_of_many_metrics_the_one_that_chooses_stays(show):
    many = {f"val_number_{number}": 0.25 for number in range(12)}
    row = {name: ROW[name] for name in ROW if name != "val_loss"} | many
    text = show(70, ("on_epoch", row | {"val_loss": ROW["val_loss"]}, True))
    header, line = (line for line in text.splitlines() if "val_loss" in line or "1.1250" in line)
    assert header.split()[0] == "epoch" and header.split()[-1] == "val_loss"
    assert line.split()[-2:] == ["1.1250", "best"] and len(line) <= 70


@pytest.mark.parametrize("width", [60, 80])
def test_the_bar_is_one_line(show, width):
    text = show(width, ("on_block", block(600), Progress(step=600, epoch=10)))
    bar = next(line for line in text.splitlines() if "epoch 11/20" in line)
    assert "accuracy 0.500 loss 1.250" in bar
    assert len(bar) <= width


def test_the_bar_of_a_resumed_run_begins_where_it_stopped(show):
    text = show(80, ("on_start", Progress(step=560, epoch=10)))
    assert "epoch 11/20" in text
    assert "50%" in text and "compiling the first step" in text
