"""What a classifier says of generated images during training: numbers, warnings, errors."""

import keras
import numpy as np
import pytest
import safetensors.numpy
from scipy.special import softmax

import dlsuite
from dlsuite import planning
from dlsuite.analysis.comparison import frechet_distance
from dlsuite.errors import DlsuiteError
from dlsuite.recipes import gan

TINY = {
    "data.train_limit": 200,
    "data.validation": 70,  # not a multiple of the batch: the last is filled in
    "model.width": 4,
    "model.latent_dim": 8,
    "train.batch_size": 20,
    "train.epochs": 1,
}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """Four classes told by the mean of each quarter of the image, on images as stored."""
    keras.utils.set_random_seed(3)
    image = keras.Input((28, 28, 1))
    x = keras.layers.AveragePooling2D(7)(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Dense(6, activation="relu")(keras.layers.Flatten()(x))
    x = keras.layers.Dropout(0.5)(x)
    probabilities = keras.layers.Softmax()(keras.layers.Dense(4)(x))
    path = tmp_path_factory.mktemp("classifier") / "quarters.keras"
    keras.Model(image, probabilities).save(path)
    return path


def planned(**settings):
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    return planning.plan("mnist-dcgan", settings=TINY | dotted)


def test_scores_are_those_of_the_images_themselves(classifier, tmp_path):
    plan = planned(gan__classifier=str(classifier))
    run = plan.train(tmp_path / "run")
    (row,) = run.history
    task, model = plan.task, keras.saving.load_model(classifier)
    real = task.dataset.splits["validation"].read(np.arange(70))
    latents = np.concatenate([batch["latent"].numpy() for batch in task.validation_data()])[:70]
    fake = task.exported(latents).numpy()
    dense = next(layer for layer in model.layers if getattr(layer, "units", 0) == 4)
    features = keras.Model(model.input, dense.input)
    logits = keras.Model(model.input, dense.output)
    classes = [logits(x.astype("float32")).numpy().argmax(1) for x in (real, fake)]
    seen, made = (np.bincount(labels, minlength=4) for labels in classes)
    assert row["val_coverage"] == pytest.approx((made[seen > 0] / seen[seen > 0]).min())
    confidence = softmax(logits(fake).numpy(), axis=1).max(axis=1).mean()
    # float32 sums of 70 numbers
    assert row["val_top_probability"] == pytest.approx(confidence, rel=1e-5)
    expected = frechet_distance(features(real.astype("float32")).numpy(), features(fake).numpy())
    # float32 eigenvalues of covariances near 0.01 against float64 ones
    assert row["val_frechet_distance"] == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_it_may_choose_the_epoch_and_a_resume_finds_it(classifier, tmp_path):
    settings = {
        "gan__classifier": str(classifier),
        "train__monitor": "val_frechet_distance",
        "train__epochs": 2,
        "schedule__name": "constant",  # the others end with the epochs, which the resume changes
    }
    whole = planned(**settings).train(tmp_path / "whole")
    distances = [row["val_frechet_distance"] for row in whole.history]
    assert whole.info["best"]["epoch"] == 1 + int(np.argmin(distances))
    planned(**settings | {"train__epochs": 1}).train(tmp_path / "run")
    resumed = dlsuite.resume(tmp_path / "run", epochs=2)
    assert resumed.history == whole.history
    # the classifier is no part of the training, and of no checkpoint
    (newest,) = sorted((tmp_path / "run" / "checkpoints").glob("*.safetensors"))[-1:]
    names = safetensors.numpy.load_file(newest)
    assert not [name for name in names if "dense" in name]


def test_a_class_left_out_is_said_once(classifier, tmp_path, recwarn):
    from dlsuite.reports.gan import watch

    (sheets,) = watch(planned().task, tmp_path)
    for epoch, coverage in enumerate((0.0, 0.3, 0.05, 0.0)):
        sheets.on_epoch_end(epoch, {"val_coverage": coverage, "val_diversity": 0.9})
    said = [str(warning.message) for warning in recwarn if "collapsing" in str(warning.message)]
    assert len(said) == 1 and "after epoch 3 a class has 0.05 times its share" in said[0]


def test_a_run_keeps_where_the_classifier_lies(classifier, monkeypatch):
    monkeypatch.chdir(classifier.parent)
    assert gan.Gan(classifier=classifier.name).classifier == str(classifier)


def saved(path, *, side=28, width=4):
    image = keras.Input((side, side, 1))
    x = keras.layers.Dense(width)(keras.layers.GlobalAveragePooling2D()(image))
    keras.Model(image, keras.layers.Dense(3)(x)).save(path)
    return str(path)


def test_bad_classifiers(tmp_path):
    def error(path):
        with pytest.raises(DlsuiteError) as raised:
            planned(gan__classifier=path)
        return str(raised.value)

    for name in ("none.keras", "run-of-last-week"):
        assert "which doesn't exist" in error(str(tmp_path / name))
    other = saved(tmp_path / "other.keras", side=32)
    assert "must take the images that are generated, 28x28x1" in error(other)
    image = keras.Input((28, 28, 1))
    keras.Model(image, keras.layers.Conv2D(3, 3)(image)).save(tmp_path / "maps.keras")
    assert "ends in a dense layer on one vector" in error(str(tmp_path / "maps.keras"))
    wide = saved(tmp_path / "wide.keras", width=1025)
    assert "1,024 features" in error(wide) and "1,025" in error(wide)
    with pytest.raises(DlsuiteError, match=r"'val_coverage' without gan\.classifier"):
        planned(train__monitor="val_coverage")
