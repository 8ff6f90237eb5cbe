"""The classification task: what reaches the loss, the optimizer and the saved model."""

import keras
import numpy as np
import pytest

import dlsuite
from dlsuite import planning
from dlsuite.recipes.classification import ClassificationRecipe, Loss
from dlsuite.recipes.schema import Data
from dlsuite.tasks.classification import (
    SoftmaxMeanSquaredError,
    class_weights,
    normalization,
)

TINY = {
    "data.train_limit": 200,
    "data.validation": 100,
    "model.hidden": [8],
    "train.batch_size": 50,
    "train.epochs": 1,
}


def plan(**settings):
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    return planning.plan("mnist-mlp", settings=TINY | dotted)


@pytest.fixture(scope="module")
def digits():
    return plan().task.dataset


def test_standardised_training_images_have_mean_0_and_deviation_1(digits):
    mean, std = normalization(Data(), digits)
    images = (digits.splits["train"].images - np.array(mean)) / np.array(std)
    # statistics in float64 over all 200 x 784 pixels
    assert abs(images.mean()) < 1e-6
    assert abs(images.std() - 1) < 1e-6


@pytest.mark.parametrize(("kind", "low", "high"), [("unit", 0, 1), ("none", 0, 255)])
def test_other_normalisations(digits, kind, low, high):
    mean, std = normalization(Data(normalize=kind), digits)
    scale = (0, 1) if mean is None else (mean[0], std[0])
    assert (0 - scale[0]) / scale[1] == low and (255 - scale[0]) / scale[1] == high


def test_balanced_class_weights_are_inverse_frequencies(digits):
    labels = digits.splits["train"].labels
    weights = class_weights(ClassificationRecipe(loss=Loss(class_weights="balanced")), digits)
    counts = np.bincount(labels)
    np.testing.assert_allclose(weights * counts, len(labels) / 10)
    # so the mean weight over the training examples is 1
    np.testing.assert_allclose(weights[labels].mean(), 1)


def test_class_weights_weigh_the_loss_and_nothing_else():
    weights = [float(k + 1) for k in range(10)]
    weighted, plain = plan(loss__class_weights=weights).task.model, plan().task.model
    random = np.random.default_rng(0)
    logits = random.normal(size=(6, 10)).astype("float32")
    classes = random.integers(0, 10, 6)
    label = np.eye(10, dtype="float32")[classes]
    losses = [plain.loss(label[[k]], logits[[k]]) * weights[classes[k]] for k in range(6)]
    # the mean of six float32 products
    np.testing.assert_allclose(weighted.loss(label, logits), np.mean(losses), rtol=1e-5)
    images = random.integers(0, 256, (50, 28, 28, 1)).astype("float32")
    label = np.eye(10, dtype="float32")[random.integers(0, 10, 50)]
    weighted.set_weights(plain.get_weights())
    accuracies = [
        model.test_on_batch(images, label, return_dict=True)["accuracy"]
        for model in (weighted, plain)
    ]
    assert accuracies[0] == accuracies[1]


def test_callbacks_set_a_constant_learning_rate(tmp_path):
    run = plan(schedule__name="constant", schedule__warmup_epochs=0.0, train__epochs=3).train(
        tmp_path / "run",
        callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1))],
    )
    # float32 rates
    np.testing.assert_allclose(
        [row["learning_rate"] for row in run.history], [0.01, 0.005, 0.01 / 3], rtol=1e-6
    )


def test_a_plateau_is_recorded_with_the_rate_that_trained_the_epoch(tmp_path):
    run = plan(
        schedule__name="plateau", schedule__patience=1, schedule__warmup_epochs=0.0,
        optimizer__name="sgd", optimizer__learning_rate=1e-9, train__epochs=3,
    ).train(tmp_path / "run")  # fmt: skip
    # nothing improves at such a rate: reduced after the second epoch, for the third
    rates = [row["learning_rate"] for row in run.history]
    np.testing.assert_allclose(rates, [1e-9, 1e-9, 1e-10], rtol=1e-6)


@pytest.mark.parametrize("monitor", ["val_accuracy", "val_loss"])
def test_an_exploded_validation_is_a_divergence_and_no_best_epoch(monitor, tmp_path):
    run = plan(
        train__monitor=monitor, train__batch_size=200, optimizer__name="sgd",
        optimizer__learning_rate=1e30, schedule__name="constant", schedule__warmup_epochs=0.0,
    ).train(tmp_path / "run")  # fmt: skip
    assert run.status == "diverged"
    assert run.info["best"] is None
    assert run.history[-1]["val_loss"] is None
    with pytest.raises(dlsuite.DlsuiteError, match=r"is missing.*lower --learning-rate") as error:
        _ = run.model
    assert "resume" not in str(error.value)


def test_a_callback_that_stops_within_an_epoch_loses_nothing(tmp_path):
    class Stop(keras.callbacks.Callback):
        every_step = True

        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    ended = []
    end = keras.callbacks.LambdaCallback(on_train_end=lambda logs: ended.append(True))
    run = plan().train(tmp_path / "run", callbacks=[Stop(), end])
    assert run.status == "stopped" and run.info["steps_done"] == 2
    assert run.model.count_params() > 0
    assert ended == [True]


def test_a_plan_is_carried_out_once(tmp_path):
    class Stop(keras.callbacks.Callback):
        every_step = True

        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    # stopped after the first step of two an update: no optimizer has counted one
    made = plan(optimizer__accumulate=2)
    made.train(tmp_path / "run", callbacks=[Stop()])
    with pytest.raises(dlsuite.DlsuiteError, match="carried out once"):
        made.train(tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_mean_squared_error_is_of_the_probabilities():
    logits = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]], "float32")
    labels = np.array([[0, 1, 0], [1, 0, 0]], "float32")
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = ((p - labels) ** 2).mean(axis=1).mean()
    # float32 softmax
    np.testing.assert_allclose(SoftmaxMeanSquaredError()(labels, logits), expected, rtol=1e-6)
    smooth = labels * 0.9 + 0.1 / 3
    expected = ((p - smooth) ** 2).mean(axis=1).mean()
    loss = SoftmaxMeanSquaredError(label_smoothing=0.1)
    np.testing.assert_allclose(loss(labels, logits), expected, rtol=1e-6)


def test_label_smoothing_reaches_the_loss():
    model = plan(loss__label_smoothing=0.1).task.model
    logits = np.array([[1.0] + [0.0] * 9], "float32")
    label = np.eye(10, dtype="float32")[:1]
    log_p = logits - np.log(np.exp(logits).sum())
    expected = -((label * 0.9 + 0.01) * log_p).sum()
    np.testing.assert_allclose(model.loss(label, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_with_float32_weights_and_logits(precision, tmp_path):
    made = plan(train__precision=precision)
    hidden = next(layer for layer in made.task.model.layers if layer.compute_dtype == precision)
    assert hidden.variable_dtype == "float32"
    assert made.task.model.output.dtype == "float32"
    scaled = isinstance(made.task.model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (precision == "float16")
    run = made.train(tmp_path / "run")
    assert np.isfinite(run.history[0]["loss"])
    assert keras.config.dtype_policy().name == "float32"  # the user's own setting is put back


def test_the_saved_model_holds_the_averaged_weights(tmp_path):
    settings = {
        "optimizer__name": "sgd",
        "optimizer__learning_rate": 0.5,
        "schedule__name": "constant",
        "schedule__warmup_epochs": 0.0,
    }
    seen = []

    class Watch(keras.callbacks.Callback):
        every_step = True

        def on_train_batch_end(self, batch, logs=None):
            seen.append([weight.numpy() for weight in self.model.trainable_variables])

    decay = 0.5
    made = plan(optimizer__ema_decay=decay, **settings)
    initial = [weight.numpy() for weight in made.task.model.trainable_variables]
    run = made.train(tmp_path / "run", callbacks=[Watch()])
    # Keras starts the average at the first updated weights or at the initial ones; both are
    # checked against the formula a' = decay * a + (1 - decay) * w
    candidates = []
    for average in (initial, seen[0]):
        for weights in seen:
            average = [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
        candidates.append(average)
    saved = run.model.get_weights()
    errors = [
        max(np.abs(a - s).max() for a, s in zip(average, saved, strict=True))
        for average in candidates
    ]
    assert min(errors) < 1e-6  # float32 rounding of four steps
    raw = max(np.abs(w - s).max() for w, s in zip(seen[-1], saved, strict=True))
    assert raw > 1e-3


def test_early_stopping_ends_the_run(tmp_path):
    run = plan(
        train__epochs=50, train__early_stopping=2, train__monitor="val_loss",
        optimizer__name="sgd", optimizer__learning_rate=1e-12,
    ).train(tmp_path / "run")  # fmt: skip
    assert run.status == "stopped"
    assert 3 <= len(run.history) < 50


def test_the_best_epoch_is_the_saved_model(tmp_path):
    run = plan(train__epochs=4).train(tmp_path / "run")
    best = run.info["best"]
    assert best["value"] == min(row["val_loss"] for row in run.history)
    split = run.load_data().splits["validation"]
    logits = keras.ops.convert_to_numpy(run.model(split.images.astype("float32")))
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    nll = -log_p[np.arange(len(logits)), split.labels].mean()
    # one batch of 100 here against two of 50 in training
    np.testing.assert_allclose(nll, best["value"], rtol=1e-5)


def test_a_deleted_model_is_one_sentence(tmp_path):
    run = plan().train(tmp_path / "run")
    run.folder.model_path.unlink()
    run.folder.last_model_path.unlink()
    with pytest.raises(dlsuite.DlsuiteError, match="is missing: the file is gone"):
        _ = dlsuite.load(run.path).model
    run.folder.model_path.write_text("not a model")
    with pytest.raises(dlsuite.DlsuiteError, match=r"must be an undamaged \.keras file"):
        _ = dlsuite.load(run.path).model
