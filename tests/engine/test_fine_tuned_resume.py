"""A fine-tuned run goes on, and is verified, without what it was fine-tuned from."""

import shutil

import keras
import numpy as np
import pytest

import dlsuite
from dlsuite.errors import DlsuiteError
from dlsuite.runs.folder import RunFolder

SETTINGS = {
    "data.train_limit": 60,
    "data.validation": 50,
    "train.batch_size": 20,
    "train.checkpoint_steps": 2,
    "train.steps_per_call": 1,
    "train.epochs": 2,
}


class Copy(keras.callbacks.Callback):
    """Copies the run folder at given steps: what a kill at that instant would leave."""

    every_step = True

    def __init__(self, folder, copies):
        super().__init__()
        self._folder, self._copies = folder, copies

    def on_train_begin(self, logs=None):
        self.on_train_batch_end(0)

    def on_train_batch_end(self, batch, logs=None):
        copy = self._copies.get(int(self.model.optimizer.iterations))
        if copy is not None:
            shutil.copytree(self._folder, copy, ignore=shutil.ignore_patterns(".*"))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A run from a file that is gone since, and copies of its folder at some of its six steps."""
    place = tmp_path_factory.mktemp("tuned")
    file = place / "pretrained.keras"
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Conv2D(4, 3, strides=2),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(7),
    ]
    keras.Sequential([keras.Input((28, 28, 1)), *layers]).save(file)
    copies = {step: place / f"step{step}" for step in (0, 4)}
    run = dlsuite.train(
        "mnist-cnn",
        model=str(file),
        settings=SETTINGS,
        run_dir=place / "whole",
        callbacks=[Copy(place / "whole", copies)],
    )
    file.unlink()
    return run, copies, file


@pytest.mark.parametrize("step", [0, 4])
def test_it_goes_on_bit_for_bit_after_the_file_is_gone(tuned, step):
    whole, copies, file = tuned
    run = dlsuite.resume(copies[step])
    for mine, theirs in zip(run.model.get_weights(), whole.model.get_weights(), strict=True):
        assert (mine == theirs).all()
    assert run.history == whole.history
    assert run.recipe.model.name == str(file), "the recipe says where the network came from"


def test_it_is_verified_after_the_file_is_gone(tuned):
    assert dlsuite.verify(tuned[0].path).status == "identical"


def test_a_run_that_kept_no_copy_says_which_file_it_needs(tuned, tmp_path):
    whole, _, file = tuned
    older = shutil.copytree(whole.path, tmp_path / "older", ignore=lambda *_: ["base"])
    with pytest.raises(DlsuiteError, match=rf"Received: {file}, which does not exist"):
        dlsuite.resume(older, epochs=3)


def test_a_folder_killed_as_it_was_begun_may_be_begun_again(tuned, tmp_path):
    begun = tmp_path / "begun"
    (begun / "checkpoints").mkdir(parents=True)
    shutil.copytree(tuned[0].path / "base", begun / "base")
    (begun / "lock").touch()
    RunFolder(begun).check_new()


def test_a_network_of_keras_goes_on_without_a_download(tmp_path, monkeypatch):
    """Its checkpoint holds all values; of Keras only the layers are needed."""
    made = []

    def network(*, weights, input_tensor, **options):
        made.append(weights)
        layer = keras.layers.Conv2D(4, 3, strides=2, name="conv")
        x = layer(input_tensor)
        if weights == "imagenet":
            layer.set_weights([np.full(v.shape, 0.01, "float32") for v in layer.get_weights()])
        return keras.Model(keras.utils.get_source_inputs(input_tensor), x)

    network.__module__ = "keras.src.applications.vgg16"
    monkeypatch.setattr(keras.applications, "VGG16", network)
    whole, half = (
        dlsuite.train(
            "mnist-cnn",
            model="keras:VGG16",
            settings=SETTINGS | {"schedule.name": "constant", "train.epochs": epochs},
            run_dir=tmp_path / str(epochs),
        )
        for epochs in (2, 1)
    )
    made.clear()
    resumed = dlsuite.resume(half.path, epochs=2)
    assert made == [None]
    assert resumed.history == whole.history
    assert resumed.recipe == whole.recipe, "which asks for the same weights"
    # the first steps begin with the weights that were downloaded
    assert dlsuite.verify(half.path).status == "identical"
    assert made == [None, "imagenet"]
