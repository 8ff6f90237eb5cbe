"""What a run keeps of its data, and how it finds it again."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import dlsuite
from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError, DlsuiteWarning
from dlsuite.planning import plan
from dlsuite.resuming import plan_resume

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


def train(arrays, **settings):
    return dlsuite.train(
        "mnist-mlp", data="npz:data.npz", epochs=1, batch_size=9, run_dir=arrays / "run",
        settings=SETTINGS | settings,
    )  # fmt: skip


def changed(arrays, **changes):
    with np.load("data.npz") as stored:
        np.savez("data.npz", **dict(stored) | changes)


def test_a_resume_says_where_the_data_are_not_what_they_were(arrays):
    run = train(arrays)
    with np.load("data.npz") as stored:
        images, labels = stored["x_train"], stored["y_train"]
    _, notes = plan_resume(run.path, epochs=2)
    assert not any("data" in note for note in notes)
    changed(arrays, x_train=images + 1)
    _, notes = plan_resume(run.path, epochs=2)
    assert any(re.search("not what they were: training's mean was", note) for note in notes)
    with pytest.warns(DlsuiteWarning, match="What it trained on may lie in another split now"):
        run.load_data()
    changed(arrays, x_train=images, y_train=1 - labels)
    _, notes = plan_resume(run.path, epochs=2)
    assert any("the labels of train are others" in note for note in notes)
    changed(arrays, x_train=images[:25], y_train=labels[:25])
    with pytest.raises(DlsuiteError, match=r"number of training examples was 27 and is 2"):
        plan_resume(run.path, epochs=2)
    changed(arrays, x_train=images, y_train=np.arange(30) % 3)
    with pytest.raises(
        DlsuiteError, match=r"class_names was \['0', '1'\] and is \('0', '1', '2'\)"
    ):
        plan_resume(run.path, epochs=2)


def test_other_data_have_the_runs_range(arrays):
    run = train(arrays)
    with np.load("data.npz") as stored:
        images = {name: stored[name] for name in ("x_train", "x_test")}
        as_bytes = {name: (30 * values + 128).astype(np.uint8) for name, values in images.items()}
        np.savez("bytes.npz", **dict(stored) | as_bytes)
        np.savez("wide.npz", **dict(stored) | {name: 2 * values for name, values in images.items()})
    # that of the floats themselves differs, and with it a generator's smallest and largest value
    assert run.load_data("npz:wide.npz").value_range == run.load_data().value_range
    with pytest.raises(DlsuiteError, match=r"from 0 to 255 for a run on -\d"):
        run.load_data("npz:bytes.npz")


def test_the_runs_own_data_by_name_are_its_own_splits(arrays):
    """A folder without a test split: evaluated whole, it would hold what was trained on."""
    with np.load("data.npz") as stored:
        np.savez("data.npz", x_train=stored["x_train"], y_train=stored["y_train"])
    run = train(arrays, **{"data.validation": 6})
    done = CliRunner().invoke(cli, ["evaluate", str(run.path), "--data", "npz:data.npz"])
    assert "Unknown split" in str(done.exception)
    assert run.load_data("npz:data.npz").splits["validation"].num_examples == 6


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


@pytest.mark.slow
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
