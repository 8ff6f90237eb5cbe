"""The GAN task in half precision: near float32, each optimizer with a scale of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.gans import first_batch, moved, plan, values


def test_bfloat16_trains_near_float32(tmp_path):
    rows = [
        plan(train__precision=precision, optimizer__learning_rate=2e-4)
        .train(tmp_path / precision)
        .history[0]
        for precision in ("float32", "bfloat16")
    ]
    # ten steps; three digits of a bfloat16 are in the convolutions alone
    for name in ("d_loss", "g_loss"):
        assert rows[1][name] == pytest.approx(rows[0][name], rel=0.02)


def test_each_optimizer_has_a_loss_scale_that_grows_and_halves():
    task = plan(train__precision="float16").task
    scales = [optimizer for optimizer, _ in task.optimizers]
    assert all(isinstance(o, keras.optimizers.LossScaleOptimizer) for o in scales)
    start = 2.0**10  # low enough that no overflow comes but those planted
    for optimizer in scales:
        optimizer.dynamic_scale.assign(start)
        optimizer.dynamic_growth_steps = 2
    batch = first_batch(task)
    for _ in range(2):
        logs = task.model.train_step(batch)
    assert [float(o.dynamic_scale) for o in scales] == [2 * start, 2 * start]
    assert np.isfinite(float(logs["g_gradient"])) and np.isfinite(float(logs["d_gradient"]))
    # an overflow planted in one network leaves the other's step as it is
    for number, optimizer in enumerate(scales):
        before = [float(o.dynamic_scale) for o in scales]
        weights = [values(variables) for _, variables in task.optimizers]
        gradients = [tf.fill(v.shape, np.inf) for v in task.optimizers[number][1]]
        apply, optimizer.apply = (
            optimizer.apply,
            lambda g, v, a=optimizer, p=gradients: type(a).apply(a, p, v),
        )
        task.model.train_step(batch)
        optimizer.apply = apply
        after = [float(o.dynamic_scale) for o in scales]
        assert after[number] == before[number] / 2
        assert not any(moved(weights[number], values(task.optimizers[number][1])))
        assert after[1 - number] >= before[1 - number]
        assert all(moved(weights[1 - number], values(task.optimizers[1 - number][1])))


class Scales(keras.callbacks.Callback):
    """Notes each optimizer's loss scale after each step."""

    every_step = True

    def __init__(self, optimizers):
        super().__init__()
        self._optimizers, self.rows = optimizers, []

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append([float(optimizer.dynamic_scale) for optimizer in self._optimizers])


def plant_overflow(optimizer, step):
    """Makes the gradients of one update infinite, counted from 1."""
    apply, number = optimizer.apply, tf.Variable(0)

    def applying(gradients, variables):
        planted = tf.where(number.assign_add(1) == step, np.inf, 0.0)
        apply([gradient + planted for gradient in gradients], variables)

    optimizer.apply = applying


# R1 and what else `TINY` takes out of mnist-dcgan
RECIPE = {
    "model__normalization": "none",
    "model__latent_dim": 64,
    "gan__r1": 0.1,
    "gan__label_smoothing": 0.0,
}


@pytest.mark.slow
@pytest.mark.parametrize("own", [{}, RECIPE], ids=["batch normalization", "the recipe's own"])
def test_float16_trains_near_float32_with_an_overflow_in_either_network(own, tmp_path):
    """200 steps, scales that grow every 40 instead of Keras's 2,000."""
    settings = own | {
        "model__width": 16, "data__train_limit": 1280, "train__batch_size": 32, "train__epochs": 5,
        "optimizer__learning_rate": 2e-4, "schedule__name": "constant",
    }  # fmt: skip
    single = plan(**settings).train(tmp_path / "float32").history
    made = plan(train__precision="float16", **settings)
    optimizers = [optimizer for optimizer, _ in made.task.optimizers]
    planted = (100, 150)
    for optimizer, step in zip(optimizers, planted, strict=True):
        optimizer.dynamic_growth_steps = 40
        plant_overflow(optimizer, step)
    scales = Scales(optimizers)
    half = made.train(tmp_path / "float16", callbacks=[scales]).history
    rows = np.array(scales.rows)
    assert len(rows) == 200
    for number, step in enumerate(planted):
        after, before = rows[step - 1], rows[step - 2]
        assert after[number] == before[number] / 2
        assert after[1 - number] >= before[1 - number]
        # from 2^15, at least once before and once after
        assert (np.diff(rows[: step - 1, number]) > 0).any()
        assert (np.diff(rows[step:, number]) > 0).any()
        # the history has each network's at the end of its epochs of 40 steps
        column = [row[f"loss_scale_{optimizers[number].name}"] for row in half]
        assert column == list(rows[39::40, number])
    for ours, theirs in zip(half, single, strict=True):
        # two updates are left out, and those in which the scales first found their level; another
        # seed of float32 is up to 60 % away
        for name in ("d_loss", "g_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=0.3)
        # of the averaged generator, from the same latents; another seed's is 3 to 8 % away
        assert ours["val_distance"] == pytest.approx(theirs["val_distance"], rel=0.02)
