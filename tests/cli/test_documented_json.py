"""Every top-level key that a command's --json prints stands in docs/json.md."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from dlsuite.cli.main import cli

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
TINY = ["--set", "data.train_limit=200", "--set", "data.validation=100", "--epochs", "1"]


def section(verb):
    return PAGE.split(f"## dlsuite {verb}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("recipes", []),
        ("recipes", ["show", "mnist-mlp"]),
        ("models", []),
        ("models", ["show", "mlp"]),
        ("datasets", []),
        ("optimizers", []),
        ("optimizers", ["show", "adamw"]),
        ("optimizers", ["show", "cosine"]),
        ("check-data", ["mnist_5k"]),
        ("train", ["mnist-mlp", *TINY, "--dry-run"]),
    ],
)
def test_every_key_is_documented(verb, arguments):
    result = CliRunner().invoke(cli, [verb, *arguments, "--json"])
    assert result.exit_code == 0, result.output
    documented = set(re.findall(r"`([\w]+)`", section(verb)))
    assert set(json.loads(result.stdout)) <= documented


def test_training_is_documented(tmp_path):
    arguments = ["train", "mnist-mlp", *TINY, "--run-dir", str(tmp_path / "run"), "--json"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    documented = set(re.findall(r"`([\w]+)`", section("train")))
    assert set(report) | set(report["last_epoch"]) | set(report["best"]) <= documented
