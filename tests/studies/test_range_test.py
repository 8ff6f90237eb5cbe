"""The range test on losses that are known, on a small network, and its messages."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError
from dlsuite.studies.range_test import judge, smooth

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
SMALL = ["--set", "model.hidden=[16]", "--set", "data.train_limit=500", "--threads", "1"]


def test_smoothing_by_hand():
    # (0.9 * 0.1 * 2 + 0.1 * 4) / (1 - 0.81)
    assert smooth(np.array([2.0, 4.0])) == pytest.approx([2, 0.58 / 0.19])
    assert smooth(np.full(50, 3.0)) == pytest.approx(np.full(50, 3.0))


def test_a_loss_that_falls_and_explodes_is_judged_at_both_places():
    rates = np.geomspace(1e-5, 10, 121)
    decades = np.log10(rates)
    # falls around 1e-2 in a third of a decade, and explodes from 1 on
    losses = 2 - 1.5 / (1 + np.exp(-(decades + 2) * 6)) + np.exp(8 * (decades - 0.2))
    test = judge(rates, losses)
    # smoothing over about ten steps, half a decade, moves both up
    assert 1e-2 <= test.steepest <= 4e-2
    assert 0.1 < test.largest < 2
    assert test.diverged


def test_a_loss_that_only_rises_suggests_nothing():
    test = judge(np.geomspace(1e-3, 1, 20), np.linspace(1, 3, 20))
    assert test.steepest is None and not test.diverged


def find(*arguments):
    return CliRunner().invoke(cli, ["lr-find", *map(str, arguments)])


def test_the_command_finds_a_rate_that_trains_and_draws_it(tmp_path):
    figure = tmp_path / "range.png"
    result = find("mnist-mlp", *SMALL, "--optimizer", "adam", "--figure", figure, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    # Adam's useful rates on a small MLP lie around 1e-2, within an order of magnitude
    assert 1e-3 < report["steepest"] < 1e-1
    assert report["largest"] > report["steepest"]
    assert report["rates"][0] == pytest.approx(1e-6)
    assert figure.stat().st_size > 1000
    section = PAGE.split("## dlsuite lr-find\n")[1].split("\n## ")[0]
    assert set(report) <= set(re.findall(r"`([\w]+)`", section))


def test_weights_that_overflow_are_an_explosion_though_the_loss_before_is_finite(tmp_path):
    result = find("mnist-mlp", *SMALL, "--optimizer", "sgd", "--steps", 10, "--low", 1e38,
                  "--high", 3e38, "--figure", tmp_path / "range.png", "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["diverged"]
    assert report["losses"][0] > 0 and report["losses"][1:] == [None]


def test_a_decay_by_the_schedule_alone_does_not_grow_with_the_rate(tmp_path):
    """SGDW's own decay, a share of the weights a step, is too small to be seen in 40 steps."""
    losses = []
    for optimizer in ("sgdw", "momentum"):
        result = find("mnist-mlp", *SMALL, "--optimizer", optimizer, "--steps", 40, "--high", 1,
                      "--figure", tmp_path / "range.png", "--json")  # fmt: skip
        assert result.exit_code == 0, result.output
        losses.append(json.loads(result.stdout)["losses"])
    # 40 steps at a few times 1e-4 take at most a percent of the weights
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--low", 1, "--high", 0.1], "Received: 1 to 0.1. Give --low less than --high"),
        (["--low", 0], "rises from a positive rate"),
        (["--steps", 9], "at least 10 steps. Received: --steps 9"),
        (["mnist-dcgan"], "looks at one loss, as a recipe of the task 'classification' has"),
        (["--figure", "nowhere/x.png"], "A figure is a PNG file"),
        (["--precision", "float16"], "float16's loss scale leaves steps out"),
    ],
)
def test_mistakes_are_one_sentence(arguments, words):
    recipe = () if "mnist-dcgan" in arguments else ("mnist-mlp",)
    result = find(*recipe, *arguments)
    assert isinstance(result.exception, DlsuiteError)
    assert words in str(result.exception)
