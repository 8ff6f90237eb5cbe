"""`dlsuite runs`: the listing and one run, from hand-made folders."""

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "json.md"
HISTORY = [
    {"epoch": 1, "loss": 2.0, "val_loss": 1.5, "val_accuracy": 0.75, "learning_rate": 0.1},
    {"epoch": 2, "loss": 1.0, "val_loss": 1.25, "val_accuracy": 0.875, "learning_rate": 0.05},
    {"epoch": 3, "loss": 0.5, "val_loss": 1.75, "val_accuracy": 0.5, "learning_rate": 0.025},
]
DATASET = {
    "name": "mnist_5k",
    "class_names": ["cat", "dog"],
    "image_shape": [28, 20, 3],
    "mean": [0.0] * 3,
    "std": [1.0] * 3,
    "value_range": [0, 255],
    "splits": {"train": 3600, "validation": 400},
    "notes": [],
}


def write(path, files):
    path.mkdir(parents=True)
    for name, value in files.items():
        (path / name).write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three runs: a finished one, a newer one without an epoch, and a damaged one."""
    monkeypatch.chdir(tmp_path)
    finished = {
        "recipe": "mnist-mlp",
        "model": "mlp",
        "data": "mnist_5k",
        "status": "finished",
        "created": "2026-03-01T10:00:00+00:00",
        "ended": "2026-03-01T10:01:00+00:00",
        "epochs_done": 3,
        "parameters": 535818,
        "best": {"epoch": 2, "monitor": "val_accuracy", "value": 0.875},
    }
    files = {"run.json": finished, "history.json": HISTORY, "dataset.json": DATASET}
    write(tmp_path / "runs" / "first", files)
    started = {"status": "running", "created": "2026-03-02T10:00:00+00:00", "epochs_done": 0}
    write(tmp_path / "runs" / "second", {"run.json": {**started, "best": None}})
    write(tmp_path / "runs" / "broken", {"run.json": "{"})
    write(tmp_path / "runs" / "no-run", {"notes.txt": "none"})
    return Path("runs")


def invoke(*arguments):
    return CliRunner().invoke(cli, ["runs", *map(str, arguments)])


def test_runs_are_listed_newest_first_with_their_best_epoch(folder, monkeypatch):
    monkeypatch.setattr("dlsuite.cli.console.out.width", 120)
    result = invoke()
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [words[0] for words in lines] == ["run", "second", "first", "broken"]
    assert lines[2][1:7] == ["finished", "3", "0.875", "1.25", "mlp", "mnist_5k"]
    assert lines[1][1:5] == ["running", "0", "-", "-"]
    assert lines[3][1] == "damaged"


def test_a_run_whose_process_was_killed_is_known(folder):
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = socket.gethostname()
    for host, pid, status in (
        (here, ended.pid, "broken off"), (here, os.getpid(), "running"), ("other", 1, "running"),
    ):  # fmt: skip
        text = json.dumps({"host": host, "pid": pid, "since": "2026-03-02T10:00:00+00:00"})
        (folder / "second" / "lock").write_text(text)
        assert re.search(rf"status +{status}", invoke("show", "second").stdout)
        assert status in invoke().stdout
    (folder / "second" / "lock").write_text("")  # as it is let go of
    assert "running" in invoke().stdout


def test_json_of_the_listing(folder):
    value = json.loads(invoke("--json").stdout)
    assert value["folder"] == "runs"
    assert [run["name"] for run in value["runs"]] == ["second", "first", "broken"]
    assert value["runs"][1]["metrics"] == HISTORY[1]
    assert value["runs"][0]["metrics"] is None
    assert value["runs"][2]["status"] == "damaged"


def test_another_folder_is_named_before_or_after_the_option(folder, tmp_path):
    other = tmp_path / "runs"
    first = invoke(other, "--json")
    assert json.loads(first.stdout)["folder"] == str(other)
    assert invoke("--json", other).stdout == first.stdout


def test_no_runs_say_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke()
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no runs in 'runs'. `dlsuite train` makes one." in result.stderr


def test_a_run_in_the_folders_place_leads_to_show(folder):
    assert "dlsuite runs show runs/first" in invoke(folder / "first").stderr


def test_a_folder_that_is_not_there_is_refused(folder):
    result = invoke("rnus")
    assert isinstance(result.exception, DlsuiteError)
    assert re.search("'rnus', which doesn't exist", str(result.exception))


def test_show_takes_the_name_that_the_listing_prints(folder):
    assert invoke("show", "first").stdout == invoke("show", "runs/first").stdout
    result = invoke("show", "third")
    assert re.search("Received: 'third', which is no folder", str(result.exception))


def test_show_prints_settings_and_epochs(folder):
    result = invoke("show", folder / "first")
    assert result.exit_code == 0, result.output
    for words in (
        "535,818",
        "28 x 20 x 3",
        "3,600 train, 400 validation",
        "val_accuracy 0.875 (epoch 2)",
    ):
        assert words in result.stdout
    assert result.stdout.splitlines()[-1].split() == ["3", "0.5", "1.75", "0.5", "0.025"]


def test_show_on_a_narrow_terminal_keeps_what_chose_the_epoch(folder, monkeypatch):
    monkeypatch.setattr("dlsuite.cli.runs.out.width", 35)
    result = invoke("show", folder / "first")
    assert result.exit_code == 0, result.output
    # 5, 4, 8 and 12 characters and gaps of two are 35: the learning rate has no room
    assert result.stdout.splitlines()[-1].split() == ["3", "0.5", "1.75", "0.5"]
    assert "Left out, as they don't fit 35 columns: learning_rate." in result.stderr
    monkeypatch.setattr("dlsuite.cli.runs.out.width", 20)
    assert invoke("show", folder / "first").stdout.splitlines()[-1].split() == ["3", "0.5"]


def test_show_as_json(folder):
    value = json.loads(invoke("show", folder / "first", "--json").stdout)
    assert value["history"] == HISTORY
    assert value["dataset"] == DATASET
    assert value["best"]["epoch"] == 2
    assert value["name"] == "first"


def test_a_run_that_has_just_begun_can_be_shown(folder):
    result = invoke("show", folder / "second")
    assert result.exit_code == 0, result.output
    assert "running" in result.stdout
    assert json.loads(invoke("show", folder / "second", "--json").stdout)["dataset"] is None


def test_the_figure_lies_in_the_run_folder(folder):
    result = invoke("show", folder / "first", "--figure")
    assert result.exit_code == 0, result.output
    assert (folder / "first" / "training.png").read_bytes().startswith(b"\x89PNG")
    assert "training.png" in result.stderr
    result = invoke("show", folder / "second", "--figure")
    assert "at least one epoch" in str(result.exception)


@pytest.mark.parametrize(
    ("name", "words"), [("absent", "no folder"), ("no-run", "none"), ("broken", "no JSON")]
)
def test_what_is_no_run_is_refused(folder, name, words):
    result = invoke("show", folder / name)
    assert isinstance(result.exception, DlsuiteError)
    assert re.search(f"Received: '.*{name}.*{words}", str(result.exception))


def test_completion_offers_the_verb_and_folders(folder):
    completer = ShellComplete(cli, {}, "dlsuite", "_DLSUITE_COMPLETE")
    assert [(item.value, item.type) for item in completer.get_completions(["runs"], "sh")] == [
        ("show", "plain"),
        ("sh", "dir"),
    ]
    for words in (["runs", "show"], ["evaluate"], ["predict"]):
        assert [item.type for item in completer.get_completions(words, "ru")] == ["dir"]


def test_every_key_of_the_json_is_documented(folder):
    section = DOCUMENTATION.read_text().split("## dlsuite runs")[1].split("\n## ")[0]
    value = json.loads(invoke("--json").stdout)
    shown = json.loads(invoke("show", folder / "first", "--json").stdout)
    documented = set(re.findall(r"^\| `([\w.\[\]]+)`", section, re.MULTILINE))
    keys = set(value) | {f"runs[].{key}" for key in value["runs"][0]}
    assert documented == keys | {"dataset", "history"}
    assert set(value["runs"][0]) <= set(shown)
