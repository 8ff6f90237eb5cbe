"""What the two networks minimise, in closed form."""

import numpy as np
import pytest
import tensorflow as tf

from dlsuite.tasks.adversarial_losses import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    squared_gradient,
)

LOGITS = np.array([-3.0, -0.4, 0.0, 0.7, 2.5])


def log_sigmoid(x):
    return np.log(1 / (1 + np.exp(-x)))


# of the logits x and the label y: 1, or 1 - e, for what is called real, and 0 for the rest
JUDGED = {
    "non_saturating": lambda x, y: -y * log_sigmoid(x) - (1 - y) * log_sigmoid(-x),
    "least_squares": lambda x, y: (x - y) ** 2 / 2,
    "hinge": lambda x, y: np.maximum(0, 1 - x if y else 1 + x),
    "wasserstein": lambda x, y: -x if y else x,
}
GENERATED = {
    "non_saturating": lambda x: -log_sigmoid(x),
    "least_squares": lambda x: (x - 1) ** 2 / 2,
    "hinge": lambda x: -x,
    "wasserstein": lambda x: -x,
}


@pytest.mark.parametrize("is_real", [True, False], ids=["real", "fake"])
@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize(
    ("loss", "smoothing"),
    [*((loss, 0.0) for loss in JUDGED), ("non_saturating", 0.2), ("least_squares", 0.2)],
)
def test_the_discriminators_loss(loss, smoothing, flip, is_real):
    called_real = is_real != bool(flip)
    found = discriminator_loss(
        loss, tf.constant(LOGITS[:, None], tf.float32), is_real=is_real,
        flip=tf.fill([5], flip), smoothing=smoothing,
    )  # fmt: skip
    expected = JUDGED[loss](LOGITS, 1 - smoothing if called_real else 0.0).mean()
    # float32
    assert float(found) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_each_example_has_a_flip_of_its_own():
    flip = np.array([0.0, 1.0, 1.0, 0.0, 0.0], np.float32)
    found = discriminator_loss(
        "non_saturating", tf.constant(LOGITS[:, None], tf.float32), is_real=True, flip=flip
    )
    expected = JUDGED["non_saturating"](LOGITS, 1 - flip).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", GENERATED)
def test_the_generators_loss(loss):
    found = generator_loss(loss, tf.constant(LOGITS[:, None], tf.float32))
    assert float(found) == pytest.approx(GENERATED[loss](LOGITS).mean(), rel=1e-5)


def test_penalties_on_gradients_are_those_of_a_linear_discriminator():
    """D(x) = <w, x> has the gradient w everywhere."""
    w = np.random.default_rng(0).normal(size=(4, 4, 1)).astype("float32")
    x = np.random.default_rng(1).normal(size=(3, 4, 4, 1)).astype("float32")

    def linear(images):
        return tf.reduce_sum(images * w, axis=(1, 2, 3))[:, None]

    logits, squared = squared_gradient(linear, tf.constant(x))
    # float32 sums of 16 terms
    np.testing.assert_allclose(logits, linear(x), rtol=1e-5)
    np.testing.assert_allclose(squared, [np.sum(w**2)] * 3, rtol=1e-5)
    expected = (np.sqrt(np.sum(w**2)) - 1) ** 2
    np.testing.assert_allclose(gradient_penalty(squared), expected, rtol=1e-4)
