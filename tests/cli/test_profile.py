"""`dlsuite profile`: shares that add up, a trace on request, a run that stays as it is."""

import json
import re
from pathlib import Path

from click.testing import CliRunner

import dlsuite
from dlsuite.cli.main import COMMANDS, cli
from dlsuite.errors import DlsuiteError

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_shares_operations_and_the_untouched_run(small_run, tmp_path):
    before = content(small_run.path)
    words = ["profile", str(small_run.path), "--steps", "8", "--top", "5", "--json"]
    done = CliRunner().invoke(cli, [*words, "--trace", str(tmp_path / "trace")])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert content(small_run.path) == before
    assert said["traced_steps"] >= 8
    assert 0 < said["step_s"] < said["traced_s"]
    assert 0 <= said["input_fraction"] < 1
    assert 0 <= said["host_fraction"] < 1
    assert said["device_busy_fraction"] is None
    operations = said["operations"]
    assert len(operations) == 5
    shares = [row["fraction"] for row in operations]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1 + 1e-9
    # an MLP on a CPU runs under XLA, and multiplies matrices: two layers forward, and backward
    assert said["xla"] is True
    assert any(row["name"].startswith("XLA MatMul") for row in operations)
    assert list((tmp_path / "trace").glob("plugins/profile/*/*.xplane.pb")), "for TensorBoard"
    section = PAGE.split("## dlsuite profile\n")[1].split("\n## ")[0]
    assert set(said) | set(operations[0]) <= set(re.findall(r"`([\w]+)`", section))


def test_the_table(small_run):
    done = CliRunner().invoke(cli, ["profile", str(small_run.path), "--steps", "4"])
    assert done.exit_code == 0, done.output
    for words in ("waiting for input", "host, between compiled calls", "XLA on"):
        assert words in done.stdout


def test_a_run_that_diverged_has_a_profile_too(tmp_path):
    settings = {"data.train_limit": 300, "data.validation": 100, "model.hidden": [16]}
    settings |= {"schedule.warmup_epochs": 0.0}
    options = {"optimizer": "sgd", "learning_rate": 1e30, "batch_size": 25, "epochs": 1}
    run = dlsuite.train("mnist-mlp", run_dir=tmp_path / "run", settings=settings, **options)
    assert run.status == "diverged"
    done = CliRunner().invoke(cli, ["profile", str(run.path), "--steps", "4"])
    assert done.exit_code == 0, done.output


def test_a_trace_that_cannot_be_kept_is_one_sentence(small_run, tmp_path):
    (tmp_path / "file").write_text("")
    trace = tmp_path / "file" / "trace"
    done = CliRunner().invoke(cli, ["profile", str(small_run.path), "--trace", str(trace)])
    assert isinstance(done.exception, DlsuiteError)
    assert f"A trace needs a folder that can be written. Received: '{trace}'" in str(done.exception)


def test_there_must_be_a_run(tmp_path):
    done = CliRunner().invoke(cli, ["profile", str(tmp_path)])
    assert isinstance(done.exception, DlsuiteError)
    assert "A run folder holds run.json" in str(done.exception)


def test_help_line_is_the_listings():
    from dlsuite.cli import profile

    assert profile.command.help.splitlines()[0] == COMMANDS["profile"]
