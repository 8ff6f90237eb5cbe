"""The curve between two networks: its ends, and that it goes around the barrier between them."""

import keras
import numpy as np
import pytest

from dlsuite.analysis.connectivity import Curve, bezier
from dlsuite.analysis.landscape import Surface, draw_samples, weights_of
from tests.analysis.test_landscape import dataset


def test_the_curve_by_hand():
    # (1-t)^2, 2t(1-t), t^2
    assert bezier(np.array([0, 0.25, 1])).tolist() == [
        [1, 0, 0],
        [0.5625, 0.375, 0.0625],
        [0, 0, 1],
    ]


@pytest.mark.slow
def test_a_trained_curve_is_lower_than_the_straight_line_and_repeats():
    data = dataset()
    split = data.splits["train"]
    split.labels[:] = split.images.reshape(len(split.labels), -1)[:, :3].argmax(axis=1)
    networks = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        image = keras.Input((6, 6, 1))
        x = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(image))
        model = keras.Model(image, keras.layers.Dense(3)(x))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.02), loss)
        model.fit(split.images, split.labels, epochs=15, verbose=0)
        networks.append(model)
    first, second = map(weights_of, networks)
    samples = draw_samples(data, 256)
    controls = []
    for _ in range(2):
        curve = Curve(networks[0], first, second, samples["train"], seed=0)
        assert len(list(curve.train(200))) == 200
        controls.append(curve.control)
    assert all(map(np.array_equal, *controls))
    surface = Surface(networks[0], samples, [first, controls[0], second])
    middle = np.array([0.5])
    straight = surface(np.array([[0.5, 0, 0.5]]))[0, 0, 0]
    curved = surface(bezier(middle))[0, 0, 0]
    ends = surface(bezier(np.array([0.0, 1.0])))[:, 0, 0]
    assert straight > 5 * ends.max()  # a barrier
    assert curved < 0.6 * straight
    assert ends == pytest.approx(
        [Surface(networks[0], samples, [w])(np.ones((1, 1)))[0, 0, 0] for w in (first, second)]
    )
