"""What goes wrong outside of the numbers: full disks, folders that vanish, faults of precision."""

import errno
import json
import math
import os
import shutil
import subprocess
import sys

import keras
import pytest

import dlsuite

SETTINGS = {
    "data.train_limit": 200,
    "data.validation": 100,
    "model.hidden": [16],
    "train.batch_size": 20,
    "train.epochs": 3,
    "train.log_every": 1,
}


class At(keras.callbacks.Callback):
    """Does something after a training step."""

    every_step = True

    def __init__(self, step, action):
        super().__init__()
        self._left, self._action = step, action

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if self._left == 0:
            self._action()


def train(folder, *, callbacks=(), **settings):
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    return dlsuite.train(
        "mnist-mlp", settings=SETTINGS | dotted, run_dir=folder, callbacks=list(callbacks)
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("faults") / "whole")


# each with what the system then refuses; it meets the next history, or the next checkpoint
LOST = {
    "full": (errno.ENOSPC, ["fsync"], {}),
    "read-only": (errno.EROFS, ["fsync", "ftruncate"], {"train__checkpoint_steps": 2}),
}


@pytest.mark.parametrize("disk", LOST)
def test_a_disk_that_is_lost_ends_the_run_with_what_it_has(whole, tmp_path, monkeypatch, disk):
    """As the system says it: every write from the middle of the second epoch on fails."""
    folder = tmp_path / "run"
    number, calls, settings = LOST[disk]

    def lose():
        def refuse(*arguments):
            raise OSError(number, os.strerror(number))

        for call in calls:
            monkeypatch.setattr(os, call, refuse)

    with pytest.raises(dlsuite.DlsuiteError, match=rf"writable.*{os.strerror(number)}.*is kept"):
        train(folder, callbacks=[At(15, lose)], **settings)
    monkeypatch.undo()
    run = dlsuite.load(folder)
    assert [row["epoch"] for row in run.history] == [1]
    assert run.evaluate().num_examples == 1000  # the first epoch's model
    # and with room again it goes on to the end, as if nothing had been
    assert dlsuite.resume(folder).status == "finished"
    mine, its = dlsuite.load(folder).model.get_weights(), whole.model.get_weights()
    assert all((one == other).all() for one, other in zip(mine, its, strict=True))
    assert (folder / "metrics.jsonl").read_text() == (whole.path / "metrics.jsonl").read_text()


def test_a_folder_that_goes_away_is_said_in_a_sentence(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(dlsuite.DlsuiteError, match=r"stay where it is.*gone"):
        train(folder, callbacks=[At(15, lambda: shutil.rmtree(folder))])
    assert not folder.exists()  # nothing is written where it was


def test_a_real_full_disk_is_one_sentence_and_exit_code_1(tmp_path):
    """A file system of four megabytes, where the system lets one be mounted."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        settings = SETTINGS | {"model.hidden": [512], "train.epochs": 20}
        pairs = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        done = subprocess.run(
            [sys.executable, "-m", "dlsuite.cli", "train", "mnist-mlp", "--run-dir", small / "run"]
            + [part for pair in pairs for part in ("--set", pair)],
            capture_output=True,
            text=True,
        )
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr.splitlines()[-1]


def test_under_float16_the_loss_scale_is_in_the_history(tmp_path):
    run = train(tmp_path / "run", train__precision="float16", train__epochs=1)
    # Keras begins at 2^15 and halves at each overflow
    scale = run.history[0]["loss_scale"]
    assert scale == 2.0 ** round(math.log2(scale)) and 1 <= scale <= 2**15
    assert "loss_scale" in (run.path / "history.csv").read_text().splitlines()[0]


@pytest.mark.slow
def test_statistics_are_synchronized_where_the_recipe_says_so(tmp_path):
    """In a process of its own, whose CPU is two devices."""
    program = """
import sys, dlsuite
from dlsuite import planning
settings = {"data.train_limit": 32, "data.validation": 80, "model.width": 4,
            "model.dropout": 0.0, "train.batch_size": 16, "train.epochs": 1,
            "optimizer.name": "momentum", "optimizer.learning_rate": 0.002,
            "train.devices": int(sys.argv[2]), "train.synchronize_statistics": True}
settings |= {f"data.augment.{name}": 0.0 for name in ("translation", "rotation", "zoom")}
dlsuite.train("mnist-cnn", settings=settings, run_dir=sys.argv[1])
"""
    for devices in (1, 2):
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / str(devices)), str(devices)],
            check=True,
            capture_output=True,
        )
    one, two = (dlsuite.load(tmp_path / name) for name in ("1", "2"))
    # float32 sums over a batch in two halves; two steps only, since whole backgrounds of one value
    # lie near a ReLU's bend, and rounding soon decides on which side
    for mine, its in zip(two.model.get_weights(), one.model.get_weights(), strict=True):
        assert abs(mine - its).max() < 1e-5 * max(1.0, abs(its).max())
