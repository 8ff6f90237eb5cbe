"""Signals wherever a command then is: an exit code and one line, never a traceback."""

import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import dlsuite
from dlsuite import planning
from dlsuite.cli import training_report
from dlsuite.cli.main import cli
from dlsuite.engine.recorder import Recorder
from dlsuite.runs.folder import RunFolder


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_ctrl_c_while_everything_loads(seconds, tmp_path):
    running = subprocess.Popen(
        [sys.executable, "-m", "dlsuite.cli", "train", "--run-dir", "run", "--epochs", "100000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a background job, as a test may be, has its Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        time.sleep(seconds)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("command", ["train", "resume"])
def test_queue_is_told_to_come_again_before_the_training(number, command, tmp_path, monkeypatch):
    def prepared(*args, **kwargs):
        os.kill(os.getpid(), number)
        pytest.fail("a plan was made all the same")

    monkeypatch.setattr("dlsuite.planning.plan_resolved", prepared)
    monkeypatch.setattr("dlsuite.resuming.plan_resume", prepared)
    where = ["--run-dir", "run"] if command == "train" else [str(tmp_path)]
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, [command, *where])
    assert result.exit_code == 75, result.output
    assert "Give the command again" in result.stderr
    assert not (tmp_path / "run").exists()


ENDLESS = ["--epochs", "100000", "--set", "train.steps_per_call=1"]


def sends(monkeypatch, owner, name, number):
    """Has a function send this process a signal before it does what it does."""
    function = getattr(owner, name)

    def sending(*args, **kwargs):
        os.kill(os.getpid(), number)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, sending)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(RunFolder, "create"), (planning, "describe"), (Recorder, "__init__")],
)
def test_a_signal_between_the_plan_and_the_first_step_pauses_the_run(
    owner, name, tmp_path, monkeypatch
):
    """And one that follows it, while the folder is told how the run ended, changes nothing."""
    sends(monkeypatch, owner, name, signal.SIGTERM)
    sends(monkeypatch, Recorder, "end", signal.SIGUSR1)
    run = tmp_path / "run"
    result = CliRunner().invoke(cli, ["train", "mnist-mlp", "--run-dir", str(run), *ENDLESS])
    assert result.exit_code == 75, result.output
    info = dlsuite.load(run).info
    assert (info["status"], info["steps_done"]) == ("paused", 1)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        assert signal.getsignal(number) is signal.SIG_IGN, "it would kill the process as it exits"


def test_a_signal_before_the_folder_is_made_leaves_nothing(tmp_path, monkeypatch):
    sends(monkeypatch, training_report, "plan_numbers", signal.SIGTERM)
    run = tmp_path / "run"
    result = CliRunner().invoke(cli, ["train", "mnist-mlp", "--run-dir", str(run), *ENDLESS])
    assert (result.exit_code, run.exists()) == (75, False), result.output
    assert "Give the command again" in result.stderr


@pytest.mark.parametrize(("owner", "name"), [(Recorder, "end"), (training_report, "_result")])
def test_a_signal_after_the_last_step_leaves_the_run_finished(owner, name, tmp_path, monkeypatch):
    sends(monkeypatch, owner, name, signal.SIGTERM)
    few = ["--epochs", "1", "--batch-size", "100", "--set", "data.train_limit=100"]
    run = tmp_path / "run"
    result = CliRunner().invoke(cli, ["train", "mnist-mlp", "--run-dir", str(run), *few])
    assert result.exit_code == 0, result.output
    assert dlsuite.load(run).status == "finished"


def test_time_limit_counts_the_preparing(tmp_path, monkeypatch):
    make_plan = planning.plan_resolved

    def make_plan_slowly(*args, **kwargs):
        time.sleep(6)
        return make_plan(*args, **kwargs)

    monkeypatch.setattr(planning, "plan_resolved", make_plan_slowly)
    # 5.4 s, gone before there is a plan: the first compiled call, of one step, is the last
    arguments = ["mnist-mlp", "--max-hours", "0.0015", "--epochs", "100000", "--run-dir", "run"]
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["train", *arguments, "--set", "train.steps_per_call=1"])
    assert result.exit_code == 75, result.output
    assert dlsuite.load("run").info["steps_done"] == 1
