"""One compiled step with hyper-parameters as variables is the optimizer built with these values."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlsuite.optimizers import OPTIMIZERS
from dlsuite.optimizers.build import build_optimizer
from dlsuite.recipes import schema
from dlsuite.studies.plan import make_contenders
from dlsuite.studies.spaces import point, unit_points
from dlsuite.studies.tunable import TunableOptimizer

STEPS = 5


def variables():
    rng = np.random.default_rng(0)
    kernel = keras.Variable(rng.normal(size=(4, 3)).astype("float32"), name="kernel")
    return [kernel, keras.Variable(np.zeros(3, "float32"), name="bias")]


def gradients():
    rng = np.random.default_rng(1)
    return [
        [tf.constant(rng.normal(size=shape), tf.float32) for shape in ((4, 3), (3,))]
        for _ in range(STEPS)
    ]


@pytest.mark.parametrize("schedule", ["none", "cosine"])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_reset_optimizer_trains_as_a_new_one(name, schedule):
    contender = make_contenders([name], [schedule], [])[0]
    trained = variables()
    start = [variable.numpy() for variable in trained]
    tunable = TunableOptimizer(contender, trained, steps=STEPS)
    step = tf.function(tunable.optimizer.apply)
    for unit in unit_points(3, seed=(0,)):
        parameters = point(contender.space, unit)
        tunable.reset(parameters)
        for variable, value in zip(trained, start, strict=True):
            variable.assign(value)
        expected = variables()
        settings = schema.Optimizer.model_validate({"name": name, **parameters})
        rate = schema.Schedule(name="constant" if schedule == "none" else schedule)
        fresh = build_optimizer(settings, rate, steps_per_epoch=STEPS, epochs=1)
        fresh.build(expected)
        for gradient in gradients():
            step(gradient)
            fresh.apply(gradient)
        for one, other in zip(trained, expected, strict=True):
            # float32 rounds what was a Python number; updates are up to about 5 in size
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-6, atol=2e-6)


def test_what_is_kept_for_each_weight_is_counted():
    kept = {
        name: TunableOptimizer(
            make_contenders([name], ["none"], [])[0], variables(), steps=STEPS
        ).state_values
        for name in ("sgd", "momentum", "adam", "amsgrad")
    }
    assert kept == {"sgd": 0, "momentum": 1, "adam": 2, "amsgrad": 3}
