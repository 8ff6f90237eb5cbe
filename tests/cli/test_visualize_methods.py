"""Every method of `dlsuite visualize-filters`, on models of every kind, and the watcher."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import dlsuite
from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError
from dlsuite.reports.neurons.at_work import convolution_frames, convolved
from dlsuite.visualize import METHODS

DOCUMENTATION = Path(__file__).parents[2] / "docs"
QUICK = ["--steps", "3", "--limit", "40"]


def invoke(*arguments):
    return CliRunner().invoke(cli, ["visualize-filters", *map(str, arguments)])


@pytest.fixture(scope="module")
def network(tmp_path_factory, keras_ready):
    import keras

    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(3, 5, activation="relu", name="edges"),
            keras.layers.MaxPooling2D(4),
            keras.layers.Conv2D(4, 3, activation="relu", name="parts"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, name="digits"),
        ]
    )
    path = tmp_path_factory.mktemp("network") / "small.keras"
    model.save(path)
    return path


# those of whole images a channel or a mask take long, and are tested by their own numbers
SLOW = ("attribution", "rise", "score-cam")


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"page", *SLOW}))
def test_each_method_writes_its_files_and_numbers(network, tmp_path, method):
    common = ["--data", "mnist_5k", "--output", tmp_path, *QUICK, "--json"]
    result = invoke(network, "--method", method, *common)
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)["methods"][method]
    assert made["files"]
    for name in made["files"]:
        path = tmp_path / name
        assert path.stat().st_size > 100
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) >= 50
    documented = (DOCUMENTATION / "json.md").read_text().split("## dlsuite visualize-filters")[1]
    for key in set(made) - {"files"}:
        assert f"`{key}`" in documented, key


@pytest.mark.slow
def test_all_attributions_are_compared(network, tmp_path):
    common = ["--data", "mnist_5k", "--output", tmp_path, *QUICK, "--json"]
    result = invoke(network, "--method", "attribution", *common)
    assert result.exit_code == 0, result.output
    maps = json.loads(result.stdout)["methods"]["attribution"]["maps"]
    assert len(maps) == 12
    assert max(maps["integrated-gradients"]["completeness_errors"]) < 0.05


def test_every_method_is_documented():
    page = (DOCUMENTATION / "visualize-filters.md").read_text(encoding="utf-8")
    for name, entry in METHODS.items():
        assert f"`{name}`" in page, name
        assert entry.source


def test_a_method_that_needs_data_says_so(network, tmp_path):
    for method in ("exemplars", "embedding", "gradient"):
        result = invoke(network, "--method", method, "--output", tmp_path)
        assert isinstance(result.exception, DlsuiteError)
        assert re.search("Name some with --data", str(result.exception))


def test_image_files_are_explained(network, tmp_path):
    image = tmp_path / "digit.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)).save(image)
    options = ["--image", image, "--target", "7", "--output", tmp_path, "--json"]
    result = invoke(network, "--method", "gradient", *options)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["methods"]["gradient"]["images"]
    assert (row["image"], row["class"]) == ("digit.png", "7")
    for target, said in (("10", "its number from 0 to 9"), ("sevn", "Received: 'sevn'")):
        result = invoke(network, "--method", "gradient", *options[:2], "--target", target)
        assert isinstance(result.exception, DlsuiteError)
        assert said in str(result.exception)


def test_an_image_for_a_model_of_other_channels_is_refused(tmp_path, keras_ready):
    import keras

    path = tmp_path / "five.keras"
    keras.Sequential([keras.Input((8, 8, 5)), keras.layers.Conv2D(2, 3)]).save(path)
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(image)
    result = invoke(path, "--method", "activations", "--image", image)
    assert isinstance(result.exception, DlsuiteError)
    assert "Received: a model that takes 8x8x5" in str(result.exception)


def test_a_generator_shows_what_it_makes(tmp_path, keras_ready):
    import keras

    path = tmp_path / "generator.keras"
    keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(7 * 7 * 4, activation="relu", name="project"),
            keras.layers.Reshape((7, 7, 4)),
            keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", name="image"),
        ]
    ).save(path)
    methods = ["--method", "page", "--method", "maximisation", "--method", "activations"]
    result = invoke(path, *methods, "--output", tmp_path / "out", "--steps", "3", "--units", "0")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "out" / "layers" / "project.npz") as file:
        assert file["unit_pictures"].shape == (1, 14, 14, 1)
    result = invoke(path, "--method", "gradient")
    assert "takes vectors of 6 numbers" in str(result.exception)


def test_kernels_of_a_run_are_compared_with_their_beginning(small_run, tmp_path):
    result = invoke(small_run.path, "--method", "kernels", "--output", tmp_path, "--json")
    (row,) = json.loads(result.stdout)["methods"]["kernels"]["layers"]
    assert 0 < row["mean_change"] < 10
    with np.load(tmp_path / f"kernels-{row['layer']}.npz") as file:
        assert file["weights"].shape[1:] == (28, 28, 1)  # a dense layer on the image itself


def test_filters_are_watched_while_a_network_is_trained(tmp_path):
    from dlsuite.visualize.watching import FilterWatcher

    watcher = FilterWatcher(tmp_path / "watched", steps=2, units=[0, 1])
    run = dlsuite.train(
        "mnist-cnn",
        epochs=2,
        callbacks=[watcher],
        run_dir=tmp_path / "run",
        settings={
            "data.train_limit": 200,
            "data.validation": 100,
            "model.width": 4,
            "train.batch_size": 50,
        },
    )
    stored = sorted(path.name for path in (tmp_path / "watched").glob("*.npz"))
    assert stored == ["epoch-0000.npz", "epoch-0001.npz", "epoch-0002.npz"]
    kernels = [np.load(tmp_path / "watched" / name)["kernels"] for name in stored]
    assert np.abs(kernels[0] - kernels[2]).max() > 1e-4
    for name in ("kernels.gif", "pictures.gif"):
        with Image.open(tmp_path / "watched" / name) as image:
            assert image.n_frames == 3
    assert (tmp_path / "watched" / "kernels.mp4").exists() == bool(shutil.which("ffmpeg"))
    assert run.status == "finished"


def test_the_sliding_kernel_has_the_numbers_of_a_convolution():
    from scipy.signal import correlate2d

    image = np.arange(49).reshape(7, 7) % 5
    kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    np.testing.assert_array_equal(
        convolved(image, kernel), correlate2d(image, kernel, mode="valid")
    )
    frames = list(convolution_frames(image[:4, :4], kernel))
    assert len(frames) == 4
    assert len({frame.shape for frame in frames}) == 1
    assert all(frame.shape[0] % 2 == frame.shape[1] % 2 == 0 for frame in frames)
