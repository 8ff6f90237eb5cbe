"""What a run keeps of its data, and how it finds it again."""

import os
import subprocess
import sys

import numpy as np
import pytest

import dlsuite
from dlsuite.errors import DlsuiteError
from dlsuite.planning import plan

SETTINGS = {"model.hidden": [4], "train.steps_per_call": 2, "train.device": "cpu"}


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    """A working folder with a small data.npz of random images."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(size=(40, 6, 6))
    halves = {"x_train": values[:30], "x_test": values[30:]}
    np.savez("data.npz", **halves, y_train=np.arange(30) % 2, y_test=np.arange(10) % 2)
    return tmp_path


def test_a_run_finds_its_data_from_any_working_folder(arrays, tmp_path_factory, monkeypatch):
    run = dlsuite.train(
        "mnist-mlp",
        data="npz:data.npz",
        epochs=1,
        batch_size=9,
        settings=SETTINGS,
        run_dir=arrays / "run",
    )
    assert run.recipe.data.name == f"npz:{arrays}/data.npz"
    before = run.evaluate().accuracy
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    # another file of the same name, which a relative path would find here
    np.savez(elsewhere / "data.npz", x_test=np.zeros((2, 6, 6)), y_test=[0, 1])
    monkeypatch.chdir(elsewhere)
    assert dlsuite.load(arrays / "run").evaluate().accuracy == before


def test_planning_keeps_where_a_path_came_from(arrays):
    made = plan("mnist-mlp", data="npz:data.npz", batch_size=9, settings=SETTINGS)
    assert made.resolved.recipe.data.name == f"npz:{arrays}/data.npz"
    assert made.resolved.origins["data.name"] == "--data"


@pytest.mark.usefixtures("arrays")
def test_the_path_of_a_model_file_is_kept_absolute(arrays):
    first = plan("mnist-mlp", data="npz:data.npz", batch_size=9, settings=SETTINGS)
    first.task.model.save("own.keras")
    made = plan("mnist-mlp", data="npz:data.npz", model="own.keras", batch_size=9)
    assert made.resolved.recipe.model.name == str(arrays / "own.keras")


@pytest.mark.usefixtures("arrays")
def test_augmentation_that_images_do_not_have_is_refused_when_planning():
    with pytest.raises(DlsuiteError, match=r"crop_padding=6 for images of 6x6"):
        plan(
            "mnist-mlp",
            data="npz:data.npz",
            batch_size=9,
            settings={**SETTINGS, "data.augment.crop_padding": 6},
        )


def test_the_first_training_says_nothing_of_preparing_the_digits(tmp_path):
    arguments = ["train", "mnist-mlp", "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-m", "dlsuite.cli", *arguments],
        env={**os.environ, "TFDS_DATA_DIR": str(tmp_path / "tfds")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for word in ("Downloading", "Generating", "Shuffling", "examples/s", "WARNING"):
        assert word not in done.stdout + done.stderr
