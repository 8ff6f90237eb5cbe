"""`dlsuite optimizers` and its `show`."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from dlsuite.cli.main import COMMANDS, cli
from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import OPTIMIZERS, SCHEDULES


def invoked(*arguments):
    done = CliRunner().invoke(cli, ["optimizers", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_lists_optimizers_and_schedules():
    said = invoked()
    for name in [*OPTIMIZERS, *SCHEDULES]:
        assert any(line.split()[:1] == [name] for line in said.splitlines()), name


def test_json_has_every_row_with_its_coupling():
    said = json.loads(invoked("--json"))
    rows = {row["name"]: row for row in said["optimizers"]}
    assert list(rows) == list(OPTIMIZERS)
    assert rows["adamw"]["coupling"] == "learning rate x lambda"
    assert rows["sgdw"]["coupling"] == "schedule multiplier x lambda"
    assert rows["adam"]["learning_rate"] == 0.001
    assert [row["name"] for row in said["schedules"]] == list(SCHEDULES)


def test_shows_an_optimizers_options():
    said = invoked("show", "muon")
    assert "arXiv:2502.16982" in said
    assert "optimizer.weight_decay" in said and "learning rate x lambda" in said
    assert 'optimizer.exclude_layers  ["logit"]' in said


def test_shows_a_schedules_options():
    said = json.loads(invoked("show", "cosine_restarts", "--json"))
    assert said["kind"] == "schedule"
    assert said["options"] == {
        "first_epochs": 10,
        "length_factor": 2.0,
        "peak_factor": 1.0,
        "final": 0.0,
    }


@pytest.mark.parametrize("name", [*OPTIMIZERS, *SCHEDULES])
def test_shows_everything_it_lists(name):
    assert invoked("show", name).startswith(f"{name}: ")


def test_an_unknown_name():
    with pytest.raises(DlsuiteError, match=r"'nestrov'.*Did you mean 'nesterov'"):
        CliRunner().invoke(cli, ["optimizers", "show", "nestrov"], catch_exceptions=False)


def test_help_line_is_the_listings():
    assert cli.get_command(None, "optimizers").help.splitlines()[0] == COMMANDS["optimizers"]


def test_imports_no_tensorflow():
    code = (
        "import sys; from dlsuite.cli.optimizers import command; "
        "command(['show', 'adamw'], standalone_mode=False); "
        "command(['--json'], standalone_mode=False); "
        "sys.exit(' '.join({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""
