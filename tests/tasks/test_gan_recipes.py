"""Shipped GAN recipes, trained for a few steps at a very small width, and put to use."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import dlsuite
from dlsuite.cli.main import cli
from tests.data.test_data_arrays import write_idx

SMALL = {"model.width": 4, "model.latent_dim": 4}


def trained_and_used(recipe, folder, *, steps, shape, settings=None, **options):
    """Trains for an epoch, and returns its numbers, 40 generated images and their statistics."""
    run = dlsuite.train(
        recipe, epochs=1, batch_size=16, run_dir=folder / "run",
        settings=SMALL | (settings or {}), **options,
    )  # fmt: skip
    (row,) = run.history
    assert run.status == "finished" and row["step"] == steps
    assert all(np.isfinite(value) for value in row.values())
    runner, path = CliRunner(), str(folder / "images.npy")
    done = runner.invoke(cli, ["generate", str(run.path), "--num", "40", "--output", path])
    assert done.exit_code == 0, done.output
    images = np.load(path)
    assert images.shape == (40, *shape) and len(np.unique(images, axis=0)) > 1
    done = runner.invoke(cli, ["evaluate", str(run.path), "--json"])
    assert done.exit_code == 0, done.output
    rows = {row["name"]: row for row in json.loads(done.stdout)["statistics"]}
    assert all(np.isfinite(row["generated"]) for row in rows.values())
    return row, images, rows


@pytest.mark.parametrize(
    "recipe", [pytest.param("cosmogan-64", marks=pytest.mark.slow), "cosmogan-64-spectral"]
)
def test_convergence_maps(few_parents, recipe, tmp_path):
    row, images, rows = trained_and_used(recipe, tmp_path, steps=3, shape=(64, 64, 1))
    assert ("spectral" in row) == recipe.endswith("spectral")
    # tanh's limits, in units of the convergence
    assert 0 < np.abs(images).max() <= 1 / 11.03
    # real maps of one cosmology: 2 parents against 2 others
    assert rows["pixel deviation ratio"]["floor"] == pytest.approx(1, abs=0.25)


@pytest.mark.slow
def test_fashion_from_idx_files(tmp_path):
    random = np.random.default_rng(0)
    for prefix, count in (("train", 48), ("t10k", 40)):
        labels = np.arange(count) % 10
        images = 20 * labels[:, None, None] + random.integers(0, 60, (count, 28, 28))
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", labels)
    row, images, _ = trained_and_used(
        "fashion-dcgan", tmp_path, steps=2, shape=(28, 28, 1), data=f"idx:{tmp_path}",
        settings={"data.validation": 16},
    )  # fmt: skip
    assert row["r1"] > 0
    assert 0 <= images.min() < images.max() <= 255


@pytest.mark.slow
def test_images_in_colour(tmp_path):
    random = np.random.default_rng(0)
    # red of 150 to 250, green of 0 to 100, no blue
    images = random.integers(0, 100, (72, 32, 32, 3)) * [1, 1, 0] + [150, 0, 0]
    images, labels, path = images.astype(np.uint8), np.arange(72) % 2, tmp_path / "red.npz"
    parts = {"x_train": images[:32], "y_train": labels[:32]}
    np.savez(path, **parts, x_test=images[32:], y_test=labels[32:])
    _, made, rows = trained_and_used(
        "mnist-dcgan", tmp_path, steps=1, shape=(32, 32, 3), data=f"npz:{path}",
        settings={"data.validation": 16},
    )  # fmt: skip
    assert 0 <= made.min() < made.max() <= 255
    assert rows["pixel KS D"]["floor"] < rows["pixel KS D"]["generated"]
