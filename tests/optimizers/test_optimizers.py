"""What every row of the optimizer table must do, and its updates against NumPy."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy_updates import UPDATES

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import OPTIMIZERS
from dlsuite.optimizers.build import build_optimizer
from dlsuite.recipes import schema

CONSTANT = schema.Schedule(name="constant")
# Peak rates that move weights of order 1 to a minimum within 300 steps. Plain gradient
# descent is stable below 2 over the largest curvature: 100 in the quadratic, about 1,300 at
# the start of Rosenbrock's valley.
QUADRATIC_RATES = {
    "sgd": 0.015,
    "momentum": 0.01,
    "nesterov": 0.01,
    "sgdw": 0.01,
    "adagrad": 0.5,
    "adadelta": 20.0,
    "lion": 0.05,
    "adafactor": 0.3,
}
VALLEY_RATES = {
    **QUADRATIC_RATES,
    "sgd": 0.001,
    "momentum": 0.0005,
    "nesterov": 0.0005,
    "sgdw": 0.0005,
}


def built(name="sgd", schedule=CONSTANT, *, steps_per_epoch=10, epochs=2, **settings):
    return build_optimizer(
        schema.Optimizer(name=name, **settings),
        schedule,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
    )


def minimised(name, loss, start, learning_rate, steps=300):
    """The loss at the start, after so many steps of a cosine schedule, and the weight."""
    optimizer = built(
        name,
        schema.Schedule(name="cosine"),
        steps_per_epoch=steps,
        epochs=1,
        learning_rate=learning_rate,
        weight_decay=0.0,
    )
    kernel = keras.Variable(np.array(start, "float32"), name="kernel")
    optimizer.build([kernel])

    @tf.function
    def descend():
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                value = loss(kernel.value)
            optimizer.apply([tape.gradient(value, kernel.value)], [kernel])

    first = float(loss(kernel.value))
    descend()
    return first, float(loss(kernel.value)), kernel.numpy()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_finds_the_minimum_of_an_ill_conditioned_quadratic(name):
    """Curvatures 1, 10 and 100; every weight starts at distance 1 from the minimum."""
    target = np.array([[1.0, -2.0], [0.5, 1.5], [-1.0, 2.0]], "float32")
    curvature = np.array([[1.0, 100.0], [10.0, 1.0], [100.0, 10.0]], "float32")

    def loss(weight):
        return 0.5 * tf.reduce_sum(curvature * tf.square(weight - target))

    rate = QUADRATIC_RATES.get(name, 0.1)
    first, last, weight = minimised(name, loss, target + 1, rate)
    assert first == pytest.approx(111.0)
    # Plain gradient descent is the slowest: along curvature 1 the rates, 300 of mean 0.0075,
    # leave exp(-2.25) = 0.105 of the distance.
    assert np.abs(weight - target).max() < 0.11
    assert last < 1e-3 * first


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_goes_down_rosenbrocks_valley(name):
    """From the usual start (-1.2, 1), where the value is 24.2, past the valley's edge at 4."""

    def loss(weight):
        x, y = weight[0, 0], weight[0, 1]
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2

    first, last, _ = minimised(name, loss, [[-1.2, 1.0]], VALLEY_RATES.get(name, 0.1))
    assert first == pytest.approx(24.2, rel=1e-5)
    assert last < 4.0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_equal_numpy_over_a_changing_schedule(name):
    """12 updates with weight decay, float32 against float64, at a peak rate of 0.02.

    Weights of order 1 round at 6e-8 in each of 12 updates. Newton-Schulz's five iterations
    stretch Muon's rounding by up to 3.4 each.
    """
    rng = np.random.default_rng(4)
    weight = rng.normal(size=(3, 2))
    schedule = schema.Schedule(name="cosine", warmup_epochs=1.0)
    optimizer = built(
        name, schedule, steps_per_epoch=3, epochs=4, learning_rate=0.02, weight_decay=0.1
    )
    kernel = keras.Variable(weight.astype("float32"), name="kernel")
    state = {}
    for t in range(1, 13):
        gradient = np.cos(t) + rng.normal(size=(3, 2))
        # 3 updates of warm-up at 1/4, 2/4 and 3/4, then half a cosine over 9
        multiplier = t / 4 if t <= 3 else 0.5 * (1 + np.cos(np.pi * (t - 4) / 9))
        by_schedule = name in ("sgdw", "adamw-paper")
        decay = 0.1 * weight * multiplier * (1 if by_schedule else 0.02)
        # these two scale their step to the weight, which Keras has decayed by then
        looked_at = weight - decay if name in ("lamb", "adafactor") else weight
        step = UPDATES[name](gradient, t, 0.02 * multiplier, state, looked_at)
        weight = weight - decay - step
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [kernel])
    tolerance = 1e-5 if name == "muon" else 1e-6
    np.testing.assert_allclose(kernel.numpy(), weight, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_documented_defaults_are_what_is_built(name):
    row = OPTIMIZERS[name]
    config = built(name).get_config()
    assert type(built(name)).__name__ == row.details["keras_class"]
    expected = {**row.details["fixed"], **row.options}
    expected.pop("normalized", None)
    assert {key: config[key] for key in expected} == expected
    optimizer = built(name)
    assert float(optimizer.learning_rate) == pytest.approx(row.details["learning_rate"])
    decay = row.details["weight_decay"]
    if row.details["coupling"] == "schedule":
        decay /= row.details["learning_rate"]
    assert (config["weight_decay"] or 0.0) == pytest.approx(decay, rel=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_are_complete(name):
    row = OPTIMIZERS[name]
    assert row.description and row.source
    assert row.details["coupling"] in ("learning rate", "schedule")
    assert name in UPDATES


def test_normalized_decay_is_over_the_root_of_the_updates():
    """arXiv:1711.05101: lambda = lambda_norm sqrt(b / (B T)); here B/b = 50 and T = 8."""
    optimizer = built(
        "sgdw",
        steps_per_epoch=50,
        epochs=8,
        learning_rate=0.5,
        weight_decay=0.04,
        normalized=True,
    )
    kernel = keras.Variable(np.ones((2, 2), "float32"), name="kernel")
    optimizer.apply([keras.ops.zeros((2, 2))], [kernel])
    # 0.04 / sqrt(400) = 0.002, whatever the learning rate; float32 rounds at 6e-8
    np.testing.assert_allclose(kernel.numpy(), 0.998, atol=2e-7)


class Scale(keras.layers.Layer):
    """A layer with a weight that is neither kernel nor bias."""

    def build(self, shape):
        self.token = self.add_weight(shape=(shape[-1],), name="kernel_scale", initializer="ones")

    def call(self, x):
        return x * self.token


@pytest.fixture(scope="module")
def network():
    """Kernels of all kinds, in layers whose names mislead."""
    layers = keras.layers
    x = image = keras.Input((6, 6, 2))
    x = layers.Conv2D(3, 3, name="bias_beta_conv", bias_initializer="ones")(x)
    x = layers.BatchNormalization(name="kernel", beta_initializer="ones")(x)
    x = layers.DepthwiseConv2D(2, bias_initializer="ones", name="depthwise_conv2d")(x)
    x = layers.SeparableConv2D(4, 2, bias_initializer="ones", name="separable_conv2d")(x)
    x = layers.PReLU(alpha_initializer="ones")(x)
    x = layers.LayerNormalization(beta_initializer="ones")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(4, name="gamma", bias_initializer="ones")(x)
    x = Scale(name="dense_kernel")(x)
    return keras.Model(image, layers.Dense(2, bias_initializer="ones", name="logits")(x))


@pytest.mark.parametrize("name", ["momentum", "adamw", "adamw-paper", "muon"])
def test_only_kernels_decay(name, network):
    """Gradients of 0 leave decay alone to move the weights: by 1 - 0.5 x 0.1, or 1 - 0.1."""
    optimizer = built(name, learning_rate=0.5, weight_decay=0.1)
    model = keras.models.clone_model(network)
    model.set_weights([np.ones(weight.shape) for weight in network.weights])
    variables = model.trainable_variables
    optimizer.build(variables)
    tf.function(lambda: optimizer.apply([tf.zeros(v.shape) for v in variables]))()
    factor = 0.9 if name == "adamw-paper" else 0.95
    kernels = {
        "bias_beta_conv/kernel",
        "depthwise_conv2d/kernel",
        "separable_conv2d/depthwise_kernel",
        "separable_conv2d/pointwise_kernel",
        "gamma/kernel",
        "logits/kernel",
    }
    assert kernels < {variable.path for variable in variables}
    for variable in variables:
        expected = factor if variable.path in kernels else 1.0
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6, err_msg=variable.path)


@pytest.mark.slow
def test_only_kernels_decay_on_two_replicas():
    """In a process of its own, since devices are set before TensorFlow starts."""
    script = Path(__file__).with_name("two_replicas.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    # decayed by 1 - 0.5 x 0.1; after the plateau's reduction by 1 - 0.05 x 0.1
    assert json.loads(done.stdout) == {
        name: {
            "kernel": [pytest.approx(0.95), pytest.approx(0.95 * 0.995)],
            "bias": [1.0, 1.0],
            "gamma": [1.0, 1.0],
            "beta": [1.0, 1.0],
        }
        for name in ("momentum", "adamw", "muon")
    }


def test_muon_takes_hidden_matrices_alone(network):
    """Muon keeps a velocity only for what takes AdamW steps."""
    optimizer = built("muon")
    optimizer.build(network.trainable_variables)
    by_adam = optimizer.adam_velocities
    matrices = [
        variable.path
        for variable, velocity in zip(network.trainable_variables, by_adam, strict=True)
        if velocity is None
    ]
    assert matrices == ["gamma/kernel"]


@pytest.mark.parametrize(
    ("setting", "keras_name"),
    [
        ("clip_norm", "clipnorm"),
        ("clip_global_norm", "global_clipnorm"),
        ("clip_value", "clipvalue"),
    ],
)
def test_clipping_reaches_keras(setting, keras_name):
    config = built("adam", **{setting: 0.25}).get_config()
    clips = {key: config[key] for key in ("clipnorm", "global_clipnorm", "clipvalue")}
    assert clips == {"clipnorm": None, "global_clipnorm": None, "clipvalue": None, keras_name: 0.25}


def test_moving_average_of_the_weights():
    """Weights 1, 0.5, 0 after three steps of 0.5; the first is the average's start."""
    optimizer = built("sgd", learning_rate=0.5, ema_decay=0.8)
    kernel = keras.Variable(np.array([[1.5]], "float32"), name="kernel")
    for _ in range(3):
        optimizer.apply([keras.ops.ones((1, 1))], [kernel])
    assert kernel.numpy() == pytest.approx(0.0)
    optimizer.finalize_variable_values([kernel])
    # 0.8 (0.8 x 1 + 0.2 x 0.5) + 0.2 x 0
    assert kernel.numpy() == pytest.approx(0.72)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adamm"}, r"Unknown optimizer.*'adamm'.*'adam'.*`dlsuite optimizers`"),
        ({"name": "adam", "beta1": 0.9}, r"'beta1'.*Did you mean 'beta_1'"),
        ({"name": "adam", "beta_2": 1.0}, r"optimizer\.beta_2.*at least 0 and below 1.*1\.0"),
        ({"name": "lion", "beta_1": 0}, r"optimizer\.beta_1.*above 0 and below 1.*0"),
        ({"name": "adam", "epsilon": "1e-8"}, r"epsilon must be a number above 0.*'1e-8'"),
        ({"name": "adam", "epsilon": float("nan")}, r"epsilon must be a number above 0.*nan"),
        ({"name": "rmsprop", "centered": 1}, r"centered must be true or false.*1"),
        ({"name": "muon", "ns_steps": 2.5}, r"ns_steps must be an integer at least 1.*2\.5"),
        ({"name": "muon", "exclude_layers": "logits"}, r"must be a list of texts.*'logits'"),
        ({"name": "sgd", "momentum": 0.9}, r"'momentum'.*It takes: none"),
        (
            {"name": "sgd", "clip_norm": 1.0, "clip_value": 0.5},
            r"one way at most.*clip_norm=1 and clip_value=0\.5",
        ),
        ({"name": "sgdw", "normalized": True}, r"normalized weight decay has no default"),
        (
            {"name": "adamw", "learning_rate": 2.0, "weight_decay": 0.6},
            r"leave something of the weight.*0\.6.*takes 1\.2 of it",
        ),
        (
            {"name": "adamw", "learning_rate": 300.0},
            r"weight_decay=0\.004 of 'adamw'.*300 takes 1\.2 of it",
        ),
        (
            {"name": "adamw-paper", "learning_rate": 0.001, "weight_decay": 1.5},
            r"leave something of the weight.*takes 1\.5 of it",
        ),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(DlsuiteError, match=f"(?s){message}"):
        built(**settings)


def test_whole_numbers_do_for_options():
    assert built("momentum", momentum=0).get_config()["momentum"] == 0.0


def test_a_plug_in_brings_a_constructor(tmp_path, monkeypatch):
    """Another package's entry point, with Keras's constructor arguments and no table row."""
    (tmp_path / "elsewhere.py").write_text(
        "import keras\n"
        "def mine(**arguments):\n"
        "    return keras.optimizers.SGD(momentum=0.5, **arguments)\n"
    )
    (tmp_path / "elsewhere-1.0.dist-info").mkdir()
    (tmp_path / "elsewhere-1.0.dist-info" / "METADATA").write_text("Name: elsewhere\nVersion: 1\n")
    (tmp_path / "elsewhere-1.0.dist-info" / "entry_points.txt").write_text(
        "[dlsuite.optimizers]\nmine = elsewhere:mine\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(vars(OPTIMIZERS), "_entries", raising=False)
    optimizer = built("mine", learning_rate=0.25, weight_decay=0.1, clip_value=1.0)
    config = optimizer.get_config()
    assert (config["momentum"], config["weight_decay"], config["clipvalue"]) == (0.5, 0.1, 1.0)
    with pytest.raises(DlsuiteError, match=r"no default learning rate.*'mine'"):
        built("mine")
