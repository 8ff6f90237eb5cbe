"""The prepared optimizer on one device: against Keras's own, and by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlsuite.engine.reduction import reduce_once
from dlsuite.optimizers import OPTIMIZERS
from dlsuite.optimizers.build import build_optimizer
from dlsuite.recipes import schema

STEPS = 8


def gradients():
    random = np.random.default_rng(0)
    return random.normal(size=(STEPS, 5)).astype("float32")


def updated(optimizer, *, accumulate=1, xla=False, steps=gradients):
    """The weights after a step with each gradient in turn."""
    variable = keras.Variable(np.ones(5, "float32"))
    optimizer.build([variable])
    if not getattr(optimizer, "gradient_accumulation_steps", None):  # Keras's own is on its own
        reduce_once(optimizer, [variable], accumulate=accumulate)
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]), jit_compile=xla)
    for gradient in steps():
        step(tf.constant(gradient))
    return variable.numpy()


def test_nothing_is_touched_on_one_device():
    optimizer = keras.optimizers.Adam(global_clipnorm=1.0, use_ema=True, ema_overwrite_frequency=2)
    variable = keras.Variable(1.0)
    optimizer.build([variable])
    before = dict(vars(optimizer))
    reduce_once(optimizer, [variable])
    assert vars(optimizer) == before
    assert optimizer.apply.__func__ is keras.optimizers.Adam.apply


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=0.5, **options),
        lambda **options: keras.optimizers.AdamW(0.1, weight_decay=0.1, **options),
    ],
)
def test_accumulation_equals_that_of_keras_bit_for_bit(make):
    ours = updated(make(), accumulate=4)
    assert (ours == updated(make(gradient_accumulation_steps=4))).all()
    assert (ours != updated(make())).all()


def test_accumulation_takes_the_mean_and_drops_nothing():
    # a learning rate of 1 with gradients 1, 3, 5, 7 in pairs: 1 - 2 - 6, and 9 waits
    values = np.array([1, 3, 5, 7, 9], "float32")[:, None] * np.ones(5, "float32")
    optimizer = keras.optimizers.SGD(1.0)
    assert (updated(optimizer, accumulate=2, steps=lambda: values) == 1 - 2 - 6).all()
    assert int(optimizer.iterations) == 2
    waiting, count = optimizer.variables[-2:]
    assert (waiting.numpy() == 9).all() and int(count) == 5


def test_accumulation_compiles_with_xla():
    make = lambda: keras.optimizers.Adam(0.1, global_clipnorm=0.5)  # noqa: E731
    compiled = updated(make(), accumulate=4, xla=True)
    # XLA contracts products and sums: some roundings of float32
    np.testing.assert_allclose(compiled, updated(make(), accumulate=4), rtol=1e-5)


def test_weights_are_overwritten_with_their_average_once_an_update():
    # rate 1, gradient 1, decay 1/2, overwritten every second update of two steps each:
    # update 1: w = 0, and the average begins there; update 2: w = -1, average -0.5, overwritten;
    # update 3: w = -1.5, average -1; update 4: w = -2.5, average -1.75, overwritten
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    ones = lambda: np.ones((STEPS, 5), "float32")  # noqa: E731
    assert (updated(optimizer, accumulate=2, steps=ones) == -1.75).all()


def test_an_overflow_in_any_step_skips_the_update_it_belongs_to():
    values = gradients()
    values[1, 3] = np.inf
    inner = keras.optimizers.SGD(1.0)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
    weights = updated(optimizer, accumulate=4, steps=lambda: values)
    assert int(optimizer.iterations) == 1 and float(optimizer.dynamic_scale) == 2.0
    # the scale has been halved when the second update divides by it
    np.testing.assert_allclose(weights, 1 - values[4:].mean(axis=0) / 2, rtol=1e-6)


@pytest.mark.parametrize("clipping", [{}, {"clip_value": 1.0}], ids=["unclipped", "clip_value"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_infinity_in_a_gradient_shows_with_every_optimizer(name, clipping):
    optimizer = build_optimizer(
        schema.Optimizer(name=name, **clipping), schema.Schedule(), steps_per_epoch=9, epochs=9
    )
    variable = keras.Variable(np.ones((2, 2), "float32"), name="kernel")
    optimizer.build([variable])
    reduce_once(optimizer, [variable])
    for corner, is_finite in ((1.0, True), (np.inf, False)):
        optimizer.apply([tf.constant([[0.1, 0.2], [0.3, corner]])], [variable])
        values = [v.numpy() for v in (variable, *optimizer.variables)]
        assert all(np.isfinite(value).all() for value in values) == is_finite


def test_a_variable_without_gradient_is_left_alone():
    first, second = keras.Variable(1.0), keras.Variable(1.0)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([first, second])
    reduce_once(optimizer, [first, second], accumulate=2)
    optimizer.apply_gradients([(None, first), (tf.constant(0.5), second)])
    with pytest.warns(UserWarning, match="Gradients do not exist"):  # Keras's own, at the update
        optimizer.apply_gradients([(None, first), (tf.constant(0.5), second)])
    assert (float(first), float(second)) == (1.0, 0.5)


def test_what_cannot_be_prepared_is_refused():
    variable = keras.Variable(1.0)
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=3)
    with pytest.raises(ValueError, match="must be built"):
        reduce_once(optimizer, [variable])
    optimizer.build([variable])
    with pytest.raises(ValueError, match="gradient_accumulation_steps=3"):
        reduce_once(optimizer, [variable], accumulate=2)
    twice = keras.optimizers.SGD(1.0)
    twice.build([variable])
    reduce_once(twice, [variable], accumulate=2)
    with pytest.raises(ValueError, match="prepared already"):
        reduce_once(twice, [variable], accumulate=2)
