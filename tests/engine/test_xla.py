"""XLA by measurement: what is chosen is said, and trying leaves no trace in the run."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import dlsuite
from dlsuite.engine import xla
from dlsuite.errors import DlsuiteError

SETTINGS = {
    "data.train_limit": 200,
    "data.validation": 90,
    "model.hidden": [8],
    "model.dropout": 0.2,
    "optimizer.accumulate": 2,
    "train.batch_size": 20,
    "train.epochs": 1,
    "train.checkpoint_steps": 4,
}


@pytest.mark.slow
def test_a_measured_run_is_the_run_that_asks_for_what_was_chosen(tmp_path):
    measured = dlsuite.train(
        "mnist-mlp", settings={**SETTINGS, "train.xla": "auto"}, run_dir=tmp_path / "measured"
    )
    execution = measured.info["execution"]
    assert execution["xla_reason"].startswith("measured: ")
    assert "ms a step with XLA" in execution["xla_reason"]
    chosen = "on" if execution["use_xla"] else "off"
    asked = dlsuite.train(
        "mnist-mlp", settings={**SETTINGS, "train.xla": chosen}, run_dir=tmp_path / "asked"
    )
    assert asked.info["execution"]["xla_reason"] == "asked for"
    assert measured.history == asked.history


@pytest.mark.slow
def test_steps_that_diverge_are_measured_like_others():
    settings = {**SETTINGS, "train.xla": "auto", "schedule.warmup_epochs": 0.0}
    plan = dlsuite.plan("mnist-mlp", settings=settings, optimizer="sgd", learning_rate=1e30)
    assert "ms a step with XLA" in plan.execution.xla_reason


def test_the_rule_measures_nothing(tmp_path):
    plan = dlsuite.plan("mnist-mlp", settings=SETTINGS)
    assert (plan.execution.use_xla, plan.execution.xla_reason) == (True, "CPU, no convolutions")


def test_a_layer_that_xla_does_not_know_is_not_compiled(tmp_path):
    image = keras.Input((28, 28, 1))
    x = keras.layers.Flatten()(keras.layers.RandomRotation(0.1, name="turned")(image))
    keras.Model(image, keras.layers.Dense(10)(x)).save(tmp_path / "mine.keras")
    settings = {key: SETTINGS[key] for key in ("data.train_limit", "data.validation")}
    plan = dlsuite.plan("mnist-mlp", model=str(tmp_path / "mine.keras"), settings=settings)
    assert not plan.execution.use_xla
    assert "turned has operations that XLA doesn't know" in plan.execution.xla_reason
    with pytest.raises(DlsuiteError, match=r"train.xla='on' with the layer 'turned'"):
        dlsuite.plan("mnist-mlp", model=str(tmp_path / "mine.keras"), settings=settings, xla="on")


@pytest.mark.parametrize("always", [True, False])
def test_a_step_without_memory_ends_in_a_sentence_or_without_xla(monkeypatch, always):
    """Memory runs out with XLA alone, or without it too."""
    measured = xla._step_time

    def without_memory(task, *, use_xla):
        if use_xla or always:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return measured(task, use_xla=use_xla)

    monkeypatch.setattr(xla, "_step_time", without_memory)
    settings = {**SETTINGS, "train.xla": "auto"}
    if always:
        with pytest.raises(DlsuiteError, match=r"with train\.batch_size=20\. Try --ba"):
            dlsuite.plan("mnist-mlp", settings=settings)
        return
    execution = dlsuite.plan("mnist-mlp", settings=settings).execution
    assert not execution.use_xla
    assert execution.xla_reason == "measured: with XLA the step doesn't fit into memory"


def test_a_gan_compiles_with_all_that_chooses_its_epoch(tmp_path):
    """As it does on a GPU by the rule."""
    run = dlsuite.train(
        "mnist-dcgan",
        epochs=1,
        batch_size=20,
        run_dir=tmp_path / "run",
        settings={
            "data.train_limit": 60,
            "data.validation": 40,
            "model.width": 2,
            "model.latent_dim": 4,
            "train.xla": "on",
        },
    )
    assert np.isfinite(run.history[-1]["val_distance"])
