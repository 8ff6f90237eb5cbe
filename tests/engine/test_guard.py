"""Steps whose numbers are not finite: found, named, and left out where the recipe says so."""

import json
import os
import signal

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from replica_cases import SpoiltGradient

import dlsuite
from dlsuite.cli.main import cli
from dlsuite.engine.guard import MOST_SKIPPED_IN_A_ROW, Fault, Guard
from dlsuite.engine.loop import Block, Loop, Progress
from dlsuite.engine.reduction import reduce_once
from dlsuite.engine.state import State
from dlsuite.engine.training import Observer
from dlsuite.optimizers.build import learning_rate_at
from dlsuite.resuming import plan_run

BATCH, STEPS = 8, 10


def arrays(bad=None, steps=(6,)):
    """Ten batches; in those of the given steps, counted from 1, the first number is `bad`."""
    random = np.random.default_rng(0)
    images = random.normal(size=(BATCH * STEPS, 6)).astype("float32")
    labels = np.eye(3, dtype="float32")[random.integers(0, 3, BATCH * STEPS)]
    for step in steps if bad is not None else ():
        images[(step - 1) * BATCH, 0] = bad
    return images, labels


@keras.saving.register_keras_serializable("dlsuite-tests")
class Square(keras.layers.Layer):
    """x^2 / 1000: infinite in float32 for what is finite but beyond 6e20."""

    def call(self, inputs):
        return inputs * inputs * 1e-3


def small_model(middle=None, dropout=0.0):
    initial = keras.initializers.GlorotUniform
    image = keras.Input((6,))
    hidden = keras.layers.Dense(8, "tanh", kernel_initializer=initial(seed=1), name="first")(image)
    if dropout:
        hidden = keras.layers.Dropout(dropout, seed=5)(hidden)
    if middle is not None:
        # the image itself passes beside the first layer into the middle one
        hidden = keras.layers.Concatenate()([hidden, middle(image)])
    logits = keras.layers.Dense(3, kernel_initializer=initial(seed=2), name="last")(hidden)
    model = keras.Model(image, logits)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    model.optimizer.build(model.trainable_variables)
    model.compute_metrics(None, tf.zeros((1, 3)), tf.zeros((1, 3)), tf.ones(1))
    model.reset_metrics()
    return model


def deep_gradient(optimizer=None, bad=np.nan):
    """A network whose loss is always finite and whose first gradient is sometimes not."""
    initial = keras.initializers.GlorotUniform(seed=3)
    image = keras.Input((6,))
    hidden = keras.layers.Dense(6, kernel_initializer=initial, name="early")(image)
    hidden = SpoiltGradient(bad)(keras.layers.Rescaling(10)(hidden))
    model = keras.Model(
        image, keras.layers.Dense(3, name="late")(keras.layers.Rescaling(0.01)(hidden))
    )
    model.compile(
        optimizer or keras.optimizers.SGD(1e-3),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    model.optimizer.build(model.trainable_variables)
    reduce_once(model.optimizer, model.trainable_variables)
    model.compute_metrics(None, tf.zeros((1, 3)), tf.zeros((1, 3)), tf.ones(1))
    return model


def train(model, data, *, skips=False, guarded=True):
    """The events, the progress and the weights of one epoch."""
    whole = tf.data.Dataset.from_tensor_slices(data).batch(BATCH)
    optimizers = [(model.optimizer, model.trainable_variables)]
    state = State(model, [model.optimizer])
    guard = Guard(model, optimizers, state, lambda step: whole.skip(step).repeat(), skips=skips)
    progress = Progress()
    events = list(
        Loop(model, steps_per_call=32, slots=model.optimizer.variables).train(
            whole.repeat(),
            steps_per_epoch=STEPS,
            epochs=1,
            progress=progress,
            guard=guard if guarded else None,
        )
    )
    weights = np.concatenate([value.ravel() for value in model.get_weights()])
    return events, progress, weights


def test_a_run_stops_before_the_faulty_step_and_names_the_layer():
    """The first layer's tanh saturates; the square beside it overflows."""
    events, progress, weights = train(small_model(Square(name="overflowing")), arrays(1e25))
    fault = events[-1]
    assert fault == Fault(6, "the output of the layer overflowing", is_skipped=False)
    assert (progress.step, progress.diverged_at, progress.epoch) == (5, 6, 0)
    assert progress.diverged_in == fault.place
    # the state is that of five steps: those of a run that had no sixth
    five, labels = arrays()
    expected = small_model(Square())
    for step in range(5):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        expected.train_on_batch(five[rows], labels[rows])
    # eager or compiled, float32 sums of eight terms may be ordered otherwise
    theirs = np.concatenate([value.ravel() for value in expected.get_weights()])
    np.testing.assert_allclose(weights, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_wrong_with_a_batch_is_said_of_the_batch(bad):
    events, _, _ = train(small_model(), arrays(bad, steps=(1,)))
    assert [event.place for event in events if isinstance(event, Fault)] == ["the batch itself"]


def test_a_gradient_that_is_no_number_is_found_though_the_loss_is_finite():
    events, progress, weights = train(deep_gradient(), arrays(1e4))
    assert progress.diverged_at == 6
    assert events[-1].place == "the gradient of early/bias"
    assert np.isfinite(weights).all()


@pytest.mark.parametrize(
    "optimizer",
    [
        # clips infinity to 1, and its sign is 1
        lambda: keras.optimizers.SGD(1e-3, clipvalue=1.0),
        lambda: keras.optimizers.Lion(1e-4),
    ],
    ids=["clip_value", "lion"],
)
def test_an_infinite_gradient_is_found_though_it_would_leave_the_weights_finite(optimizer):
    model = deep_gradient(optimizer(), np.inf)
    events, progress, weights = train(model, arrays(1e4))
    assert (progress.step, progress.diverged_at) == (5, 6)
    assert events[-1].place == "the gradient of early/bias"
    state = [variable.numpy() for variable in model.optimizer.variables]
    assert all(np.isfinite(values).all() for values in (weights, *state))


def test_an_optimizer_whose_state_overflows_is_found():
    """The square of a gradient does: Adam would never move those weights again."""
    model = deep_gradient(keras.optimizers.Adam(1e-3), 1e20)
    events, progress, _ = train(model, arrays(1e4))
    assert (progress.step, progress.diverged_at) == (5, 6)
    assert events[-1].place == "the loss, or a weight or the optimizer's state after the update"


def test_weights_spoilt_by_the_last_step_of_a_block_are_found_in_that_block():
    """Its own metrics are finite: no later loss would have told."""
    events, progress, weights = train(deep_gradient(), arrays(1e4, steps=(STEPS,)))
    assert (progress.step, progress.diverged_at) == (STEPS - 1, STEPS)
    assert np.isfinite(weights).all()
    events, progress, weights = train(deep_gradient(), arrays(1e4, steps=(STEPS,)), guarded=False)
    assert np.isfinite(events[-1].metrics["loss"]).all()
    assert progress.diverged_at == STEPS
    assert not np.isfinite(weights).all()


def test_skipped_steps_are_counted_and_change_nothing():
    data = arrays(np.nan, steps=(4, 5, 9))
    events, progress, weights = train(small_model(dropout=0.5), data, skips=True)
    assert (progress.step, progress.skipped, progress.epoch) == (STEPS, 3, 1)
    assert [e.step for e in events if isinstance(e, Fault)] == [4, 5, 9]
    assert np.isfinite(weights).all()
    # as if the other seven batches had been all there is: dropout's draws too
    images, labels = (
        np.delete(a.reshape(STEPS, BATCH, -1), [3, 4, 8], axis=0).reshape(-1, a.shape[1])
        for a in data
    )
    model = small_model(dropout=0.5)
    whole = tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH).repeat()
    other = Progress()
    for _ in Loop(model).train(whole, steps_per_epoch=7, epochs=1, progress=other):
        pass
    assert (np.concatenate([v.ravel() for v in model.get_weights()]) == weights).all()
    row, expected = progress.history[0], other.history[0]
    assert (row["loss"], row["accuracy"]) == (expected["loss"], expected["accuracy"])


def test_too_many_skipped_in_a_row_end_the_run():
    data = arrays(np.nan, steps=range(1, STEPS + 1))
    model = small_model()
    whole = tf.data.Dataset.from_tensor_slices(data).batch(BATCH).repeat()
    optimizers = [(model.optimizer, model.trainable_variables)]
    guard = Guard(model, optimizers, State(model, [model.optimizer]), lambda _: whole, skips=True)
    progress = Progress()
    events = list(
        Loop(model).train(whole, steps_per_epoch=50, epochs=1, progress=progress, guard=guard)
    )
    assert progress.skipped == MOST_SKIPPED_IN_A_ROW
    assert progress.diverged_at == MOST_SKIPPED_IN_A_ROW + 1
    assert not any(isinstance(event, Block) for event in events)


@pytest.mark.slow
def test_a_pause_does_not_begin_the_count_of_skipped_steps_anew(tmp_path):
    class Pause(Observer):
        """Asks the run to stop at the fourth step that is left out."""

        said = 0

        def on_note(self, message):
            self.said += "is left out" in message
            if self.said == 4:
                os.kill(os.getpid(), signal.SIGTERM)

    with h5py.File(tmp_path / "spoilt.h5", "w") as file:
        file["images"] = np.linspace(1e38, 3e38, 90 * 16).reshape(90, 4, 4, 1).astype("float32")
        file["labels"] = np.arange(90) % 3
    settings = {"data.normalize": "none", "model.hidden": [8], "train.not_finite": "skip"}
    settings |= {f"data.augment.{name}": 0.0 for name in ("rotation", "zoom", "translation")}
    paused = dlsuite.train(
        "mnist-mlp",
        data=f"h5:{tmp_path / 'spoilt.h5'}#images,labels",
        batch_size=1,
        epochs=1,
        settings=settings,
        run_dir=tmp_path / "run",
        observer=Pause(),
    )
    assert (paused.status, paused.info["skipped_steps"]) == ("paused", 4)
    resumed = dlsuite.resume(paused.path)
    assert resumed.status == "diverged"
    assert resumed.info["skipped_steps"] == MOST_SKIPPED_IN_A_ROW


@pytest.fixture
def spoilt_images(tmp_path):
    """240 small images of finite numbers, of which one overflows in the network."""
    random = np.random.default_rng(0)
    images = random.normal(size=(240, 4, 4, 1)).astype("float32")
    labels = np.arange(240) % 3
    images[labels == 1] += 1.0
    images[103] = 3e38
    with h5py.File(tmp_path / "spoilt.h5", "w") as file:
        file["images"], file["labels"] = images, labels
    return f"h5:{tmp_path / 'spoilt.h5'}#images,labels"


def invoke(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_command_says_where_it_diverged_and_goes_on_without_such_steps(spoilt_images, tmp_path):
    folder = tmp_path / "run"
    options = ["--data", spoilt_images, "--batch-size", 12, "--epochs", 2]
    options += ["--set", "data.normalize=none", "--set", "model.hidden=[8]"]
    options += ["--set", "data.augment.rotation=0.0", "--set", "data.augment.zoom=0.0"]
    options += ["--set", "data.augment.translation=0.0", "--set", "train.log_every=1"]
    stopped = invoke("train", "mnist-mlp", *options, "--run-dir", folder, "--json")
    assert stopped.exit_code == 3, stopped.output
    result = json.loads(stopped.stdout)
    step = result["diverged_at"]
    assert result["diverged_in"].startswith(("the output of the layer", "the gradient of"))
    assert result["steps"] == step - 1
    # the newest checkpoint is the state before that step, with nothing beyond it recorded
    newest = max((folder / "checkpoints").glob("step-*"))
    assert newest.name == f"step-{step - 1:010d}.safetensors"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, step))
    refused = invoke("resume", folder)
    assert refused.exit_code == 1
    assert f"diverged at step {step}. Train anew" in str(refused.exception)
    assert "--not-finite skip" in str(refused.exception)
    resumed = invoke("resume", folder, "--not-finite", "skip", "--json")
    assert resumed.exit_code == 0, resumed.output
    result = json.loads(resumed.stdout)
    assert result["status"] == "finished"
    assert (result["diverged_at"], result["diverged_in"]) == (None, None)
    assert result["skipped_steps"] == 2  # the example comes once an epoch
    assert f"Step {step} is left out" in resumed.stderr
    assert "rand_augment" not in resumed.stderr  # what is off is no news, in a run's recipe either
    run = dlsuite.load(folder)
    assert run.recipe.train.not_finite == "skip"
    # the schedule counts updates, of which two are missing
    optimizer = plan_run(folder)[0].task.model.optimizer
    expected = learning_rate_at(optimizer, result["steps"] - 1 - 2)
    assert expected != learning_rate_at(optimizer, result["steps"] - 1)
    assert run.history[-1]["learning_rate"] == pytest.approx(expected, rel=1e-6)  # float32
    repeated = dlsuite.verify(folder)
    assert repeated.status == "identical"
    assert repeated.steps > step  # a step that was left out is still counted


def test_out_of_memory_names_the_batch_and_half_of_it(tmp_path):
    class Full(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    # from accumulating two steps to four of half the size
    words = r"memory of CPU:0.*batch_size=50.*size 25 .*optimizer\.accumulate=4 "
    with pytest.raises(dlsuite.DlsuiteError, match=words):
        dlsuite.train(
            "mnist-mlp",
            batch_size=50,
            epochs=1,
            settings={
                "data.train_limit": 200,
                "data.validation": 100,
                "optimizer.accumulate": 2,
            },
            run_dir=tmp_path / "run",
            callbacks=[Full()],
        )
    assert dlsuite.load(tmp_path / "run").status == "failed"
