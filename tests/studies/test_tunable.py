"""One compiled step with hyper-parameters as variables is the optimizer built with these values."""

import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import OPTIMIZERS
from dlsuite.optimizers.build import build_optimizer
from dlsuite.optimizers.plugin import register_optimizers
from dlsuite.recipes import schema
from dlsuite.studies.plan import make_contenders
from dlsuite.studies.spaces import point, unit_points
from dlsuite.studies.tunable import TunableOptimizer, check_contenders

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


def test_muons_decay_is_that_of_all_its_kernels():
    (contender,) = make_contenders(["muon"], ["none"], ["muon.weight_decay=1e-4:1"])
    moved = []
    for decay in (1e-4, 1.0):
        kernel, convolution = (
            keras.Variable(np.ones(shape, "float32"), name="kernel")
            for shape in ((4, 3), (1, 1, 4, 3))
        )
        tunable = TunableOptimizer(contender, [kernel, convolution], steps=STEPS)
        tunable.reset({"learning_rate": 0.1, "weight_decay": decay})
        tunable.optimizer.apply([tf.zeros(v.shape) for v in (kernel, convolution)])
        moved.append([1 - float(v.numpy().max()) for v in (kernel, convolution)])
    # of gradients of zero the decay alone is left: 0.1 of the weight times the decay
    np.testing.assert_allclose(moved, [[1e-5, 1e-5], [0.1, 0.1]], rtol=0.02)


def test_what_varies_must_be_the_optimizers_own(monkeypatch):
    """A plug-in that does not hand on what it is given."""

    def forgetful(*, learning_rate, weight_decay, strength=0.5):
        return keras.optimizers.SGD(learning_rate)

    module = types.ModuleType("forgetful_module")
    module.forgetful = forgetful
    module.ENTRIES = [
        {"name": "forgetful", "learning_rate": 0.1, "options": {"strength": 0.5}},
        {"name": "broken", "learning_rate": 0.1},
        {"name": "clumsy", "learning_rate": 0.1},
    ]

    class Clumsy(keras.optimizers.Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, learning_rate * slope)  # noqa: F821

    module.clumsy = Clumsy
    module.broken = lambda **settings: {}["missing"]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(OPTIMIZERS, "_entries", dict(OPTIMIZERS._entries))
    register_optimizers(module.__name__)
    contenders = make_contenders(["forgetful"], ["none"], ["forgetful.strength=0.1:1"])
    with pytest.raises(DlsuiteError, match=r"attribute.*forgetful\.strength.*SGD has none"):
        check_contenders(contenders, steps=STEPS)
    fixed = make_contenders(["forgetful"], ["none"], ["forgetful.strength=0.3"])
    check_contenders(fixed, steps=STEPS)
    broken = make_contenders(["broken"], ["none"], [])
    with pytest.raises(DlsuiteError, match=r"before the race.*broken.*KeyError: 'missing'"):
        check_contenders(broken, steps=STEPS)
    clumsy = make_contenders(["clumsy"], ["none"], [])
    with pytest.raises(DlsuiteError, match=r"make an update before the race.*clumsy.*NameError"):
        check_contenders(clumsy, steps=STEPS)
    too_much = make_contenders(["sgdw"], ["none"], ["sgdw.weight_decay=1"])
    with pytest.raises(DlsuiteError, match="weight_decay"):
        check_contenders(too_much, steps=STEPS)


def test_a_plug_in_clips_and_averages_without_knowing_of_it(monkeypatch):
    """Its function takes what it promises: the rate, the decay and its own options."""

    def plain(*, learning_rate, weight_decay):
        return keras.optimizers.SGD(learning_rate)

    module = types.ModuleType("plain_module")
    module.plain = plain
    module.ENTRIES = [{"name": "plain", "learning_rate": 1}]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(OPTIMIZERS, "_entries", dict(OPTIMIZERS._entries))
    register_optimizers(module.__name__)
    settings = schema.Optimizer(name="plain", clip_value=0.5, ema_decay=0.9)
    constant = schema.Schedule(name="constant")
    optimizer = build_optimizer(settings, constant, steps_per_epoch=STEPS, epochs=1)
    weight = keras.Variable(np.zeros(2, "float32"))
    optimizer.build([weight])
    optimizer.apply([tf.constant([4.0, 0.25])])
    np.testing.assert_array_equal(weight.numpy(), [-0.5, -0.25])
    (average,) = optimizer._model_variables_moving_average
    # Keras corrects no bias: the first update of an average that is 0 takes it as it is
    np.testing.assert_allclose(average.numpy(), weight.numpy(), rtol=1e-6)
