"""SIGKILL at random instants, wherever the process then is, and a resume after each."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest
import safetensors.numpy

from dlsuite.runs.folder import RunFolder

# all that has a state of its own; a checkpoint every second step, so that many kills meet a write
OFTEN = {
    "data.validation": 100,
    "train.batch_size": 20,
    "train.log_every": 1,
    "train.checkpoint_steps": 2,
    "train.steps_per_call": 4,
}
CLASSIFIER = OFTEN | {
    "data.train_limit": 200,
    "data.augment.mixup": 0.2,
    "model.hidden": [16],
    "optimizer.ema_decay": 0.9,
    "optimizer.accumulate": 3,
    "train.precision": "bfloat16",
    "train.epochs": 60,  # of a tenth of a second each: longer than all kills together take
}
# two networks and two optimizers
GAN = OFTEN | {
    "data.train_limit": 100,
    "model.width": 4,
    "model.latent_dim": 8,
    "train.epochs": 40,
}
CASES = {
    "classifier": ("mnist-mlp", CLASSIFIER),
    "classifier on two devices": ("mnist-mlp", CLASSIFIER | {"train.devices": 2}),
    "two optimizers": ("mnist-dcgan", GAN),
    "two optimizers on two devices": ("mnist-dcgan", GAN | {"train.devices": 2}),
}
# training steps at which each case is killed, all of them different: 28 in all
KILLS = 7


def process(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "dlsuite.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(running):
    try:
        _, said = running.communicate(timeout=900)
    finally:
        running.kill()
    assert running.returncode == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_killed_at_random_instants_ends_bit_for_bit_as_one_that_was_not(case, tmp_path):
    recipe, settings = CASES[case]
    pairs = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    options = [part for pair in pairs for part in ("--set", pair)]
    whole, folder = tmp_path / "whole", tmp_path / "run"
    finish(process("train", recipe, "--run-dir", whole, *options))
    instants = random.Random(case)
    killed_at = set()
    running = process("train", recipe, "--run-dir", folder, *options)
    while len(killed_at) < KILLS:
        try:
            # killed after each first step, a run of slow ones would hardly reach a checkpoint
            _wait_for_steps(instants.randint(1, 4), folder, running)
            time.sleep(instants.uniform(0, 0.5))
            assert running.poll() is None, "it ended before the last kill: give it more epochs"
        finally:
            running.send_signal(signal.SIGKILL)
            running.communicate()
        killed_at.add(_last_step(folder))
        running = process("resume", folder)
    finish(running)
    mine, theirs = (
        safetensors.numpy.load_file(max((path / "checkpoints").glob("step-*")))
        for path in (folder, whole)
    )
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        assert value.tobytes() == mine[name].tobytes(), name
    for name in ("metrics.jsonl", "history.json", "history.csv"):
        assert (folder / name).read_text() == (whole / name).read_text()
    timed = [row["epoch"] for row in RunFolder(folder).read_rows("timing.jsonl")]
    assert timed == list(range(1, settings["train.epochs"] + 1))


def _last_step(folder):
    rows = RunFolder(folder).read_rows("metrics.jsonl")
    return rows[-1]["step"] if rows else 0


def _wait_for_steps(count, folder, running, seconds=300):
    """Until this process, too, has trained so many.

    A resume first puts a file in the metrics' place that ends with the checkpoint's step.
    """
    metrics = folder / "metrics.jsonl"
    before = metrics.stat().st_ino if metrics.exists() else None
    goal = RunFolder(folder).checkpoint_step + count
    deadline = time.monotonic() + seconds
    while not metrics.exists() or metrics.stat().st_ino == before or _last_step(folder) < goal:
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
