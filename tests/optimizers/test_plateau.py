"""The plateau schedule: what lowers the learning rate, when, and that it survives a restart."""

import keras
import numpy as np
import pytest

from dlsuite.optimizers.build import build_optimizer, learning_rate_at, schedule_callbacks
from dlsuite.recipes import schema


def prepared(monitor="val_loss", policy="float32", warmup_epochs=0.0, **options):
    """A model whose optimizer has a peak rate of 0.4, and the schedule's callback."""
    schedule = schema.Schedule(name="plateau", warmup_epochs=warmup_epochs, **options)
    optimizer = build_optimizer(
        schema.Optimizer(name="sgd", learning_rate=0.4), schedule, steps_per_epoch=4, epochs=5
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, dtype=policy)])
    model.compile(optimizer, "mse")
    model.optimizer.build(model.trainable_variables)
    (callback,) = schedule_callbacks(schedule, monitor, [model.optimizer])
    return model, callback


def rates(model, callback, values):
    """The learning rate after each epoch with such a value of the metric."""
    seen = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {callback.monitor: value})
        seen.append(learning_rate_at(model.optimizer, 100))
    return seen


def test_lowers_after_patience_epochs_without_improvement():
    model, callback = prepared(factor=0.5, patience=2)
    losses = [1.0, 0.9, 0.95, 0.9, 0.8, 0.81, 0.82, 0.83, 0.84]
    expected = [0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1, 0.1, 0.05]
    assert rates(model, callback, losses) == pytest.approx(expected, rel=1e-6)


def test_a_metric_that_is_to_rise():
    model, callback = prepared("val_accuracy", factor=0.5, patience=1)
    accuracies = [0.5, 0.6, 0.55, 0.7]
    assert rates(model, callback, accuracies) == pytest.approx([0.4, 0.4, 0.2, 0.2], rel=1e-6)


def test_changes_up_to_min_delta_are_none():
    model, callback = prepared(factor=0.5, patience=1, min_delta=0.1)
    losses = [1.0, 0.95, 0.85]
    assert rates(model, callback, losses) == pytest.approx([0.4, 0.2, 0.2], rel=1e-6)


def test_cooldown_epochs_do_not_count():
    model, callback = prepared(factor=0.5, patience=1, cooldown=2)
    losses = [1.0] * 7
    expected = [0.4, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05]
    assert rates(model, callback, losses) == pytest.approx(expected, rel=1e-6)


def test_never_below_final():
    model, callback = prepared(factor=0.1, patience=1, final=0.05)
    assert rates(model, callback, [1.0] * 4) == pytest.approx([0.4, 0.04, 0.02, 0.02], rel=1e-6)


def test_a_reduction_within_warmup_scales_what_follows():
    """Update n of 8 gets n/9 of the lowered peak."""
    model, callback = prepared(factor=0.5, patience=1, warmup_epochs=2.0)
    assert learning_rate_at(model.optimizer, 3) == pytest.approx(0.4 * 4 / 9, rel=1e-6)
    rates(model, callback, [1.0, 1.0])
    after = [learning_rate_at(model.optimizer, step) for step in (3, 8, 100)]
    assert after == pytest.approx([0.2 * 4 / 9, 0.2, 0.2], rel=1e-6)


def test_training_uses_the_lowered_rate():
    """One compiled step before and after: the slope is 2 throughout, the step 0.8, then 0.08."""
    model, callback = prepared(factor=0.1, patience=1)
    image, label = np.ones((1, 1), "float32"), np.zeros((1, 1), "float32")
    dense = model.layers[0]

    def change():
        dense.set_weights([np.ones((1, 1)), np.zeros(1)])
        model.train_on_batch(image, label)
        return 1.0 - float(dense.kernel.numpy()[0, 0])

    assert change() == pytest.approx(0.8, rel=1e-6)
    rates(model, callback, [1.0, 1.0])
    assert change() == pytest.approx(0.08, rel=1e-5)


def test_state_is_saved_with_the_optimizers_variables():
    """Restored one epoch before a reduction, it makes the reduction at the same epoch."""
    model, callback = prepared(factor=0.5, patience=3)
    rates(model, callback, [1.0, 1.0, 1.0])
    again, resumed = prepared(factor=0.5, patience=3)
    for variable, source in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        variable.assign(source)
    resumed.on_train_begin()
    assert rates(again, resumed, [1.0, 1.0]) == pytest.approx([0.2, 0.2], rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_decides_as_kerass_own_callback_does(seed):
    settings = {"factor": 0.5, "patience": 2, "min_delta": 0.05, "cooldown": 1}
    losses = np.random.default_rng(seed).uniform(size=40).cumsum()[::-1] / 10
    losses = losses + np.random.default_rng(seed + 9).uniform(size=40)
    model, callback = prepared(**settings)
    plain = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    plain.compile(keras.optimizers.SGD(0.4), "mse")
    theirs = keras.callbacks.ReduceLROnPlateau("val_loss", mode="min", **settings)
    theirs.set_model(plain)
    theirs.on_train_begin()
    expected = []
    for epoch, loss in enumerate(losses):
        theirs.on_epoch_end(epoch, {"val_loss": loss})
        expected.append(float(plain.optimizer.learning_rate))
    assert expected[-1] < 0.1
    assert rates(model, callback, losses) == pytest.approx(expected, rel=1e-5)


def test_under_a_loss_scale():
    model, _ = prepared(policy="mixed_float16")
    model.compile(keras.optimizers.LossScaleOptimizer(model.optimizer), "mse")
    schedule = schema.Schedule(name="plateau", factor=0.5, patience=1)
    (callback,) = schedule_callbacks(schedule, "val_loss", [model.optimizer])
    assert rates(model, callback, [1.0, 1.0]) == pytest.approx([0.4, 0.2], rel=1e-6)


def test_other_schedules_need_no_callback():
    assert schedule_callbacks(schema.Schedule(name="cosine"), "val_loss", []) == []
