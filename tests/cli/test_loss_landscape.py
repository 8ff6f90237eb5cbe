"""`dlsuite loss-landscape` on a small run: files, the same numbers twice, messages."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")


def run(*arguments):
    return CliRunner().invoke(cli, ["loss-landscape", *map(str, arguments)])


def values(folder):
    with np.load(next(folder.glob("*.npz"))) as stored:
        return stored["values"]


@pytest.mark.parametrize("mode", ["line", "plane"])
def test_the_same_command_gives_the_same_numbers_twice(mode, small_run, tmp_path):
    reports = []
    for name in ("one", "two"):
        result = run(small_run.path, "--mode", mode, "--resolution", 3, "--samples", 50,
                     "--output", tmp_path / name, "--json")  # fmt: skip
        assert result.exit_code == 0, result.output
        reports.append(json.loads(result.stdout))
    assert np.array_equal(values(tmp_path / "one"), values(tmp_path / "two"))
    assert reports[0]["runs"] == reports[1]["runs"]
    assert all((tmp_path / "one" / name).stat().st_size for name in reports[0]["files"])
    section = PAGE.split("## dlsuite loss-landscape\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"`([\w]+)`", section))
    assert set(reports[0]) | set(reports[0]["runs"][0]) <= documented


def test_the_middle_is_the_loss_that_the_run_has(small_run, tmp_path):
    result = run(small_run.path, "--mode", "line", "--resolution", 3, "--samples", 1000,
                 "--output", tmp_path, "--json")  # fmt: skip
    assert json.loads(result.stdout)["runs"][0]["points"] == 5 * 3
    with np.load(next(tmp_path.glob("*.npz"))) as stored:
        middle = stored["values"][0, 1, 1]
    evaluated = small_run.evaluate(split="test")
    # 896 of the 1,000 test digits: whole batches
    assert middle[1] == pytest.approx(evaluated.accuracy, abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--resolution", 2], "at least 3 places"), ([], "")],
)
def test_mistakes_are_one_sentence(arguments, words, small_run, tmp_path):
    place = small_run.path if arguments else tmp_path / "nothing"
    result = run(place, *arguments, "--output", tmp_path / "out")
    assert isinstance(result.exception, DlsuiteError)
    assert words in str(result.exception)
