"""Landscapes against Keras's own evaluation, norms by hand, and files that are gone on with."""

import keras
import numpy as np
import pytest

from dlsuite.analysis.landscape import (
    Surface,
    axis,
    coarse_to_fine,
    draw_samples,
    random_direction,
    weights_of,
)
from dlsuite.analysis.landscape_grid import (
    Landscape,
    compute,
    missing_points,
    on_grid,
    one_at_a_time,
    prepare_landscape,
)
from dlsuite.data.dataset import Dataset, Split
from dlsuite.errors import DlsuiteError
from dlsuite.layers.batch_normalization import BatchNormalization


def network(filters=4):
    layers = keras.layers
    image = keras.Input((6, 6, 1))
    x = layers.Conv2D(filters, 3, name="conv")(image)
    x = BatchNormalization(name="bn")(x)
    x = layers.DepthwiseConv2D(2, name="depthwise")(layers.ReLU()(x))
    logits = layers.Dense(3, name="logits")(layers.Flatten()(x))
    model = keras.Model(image, logits)
    rng = np.random.default_rng(0)
    for variable in model.variables:  # no weight and no statistic is trivial
        variable.assign(
            rng.uniform(0.2, 1, variable.shape) * rng.choice([-1, 1], variable.shape)
            if "var" not in variable.path
            else rng.uniform(0.5, 2, variable.shape)
        )
    return model


def dataset(count=300):
    rng = np.random.default_rng(1)
    splits = {}
    for name in ("train", "test"):
        images = rng.normal(size=(count, 6, 6, 1)).astype("float32")
        labels = rng.integers(0, 3, count).astype("int32")
        names = [str(index) for index in range(count)]
        splits[name] = Split(name, labels, images.__getitem__, images, names)
    return Dataset("drawn", ("a", "b", "c"), (6, 6, 1), splits, None, None, (-5, 5))


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def samples():
    return draw_samples(dataset(), 256)


def test_each_filter_of_a_direction_has_the_norm_of_the_networks(model):
    by_name = dict(
        zip(
            [variable.path for variable in model.variables],
            zip(weights_of(model), random_direction(model, seed=3), strict=True),
            strict=True,
        )
    )
    for path, axes in (
        ("conv/kernel", (0, 1, 2)),
        ("depthwise/kernel", (0, 1)),  # a depthwise filter is a channel's own
        ("logits/kernel", (0,)),
    ):
        own, drawn = by_name[path]
        np.testing.assert_allclose(
            np.sqrt((drawn**2).sum(axes)), np.sqrt((own**2).sum(axes)), rtol=1e-6
        )
    for path in ("conv/bias", "bn/gamma", "bn/beta", "bn/moving_variance", "logits/bias"):
        assert not by_name[path][1].any(), path


def test_a_separable_convolution_has_a_filter_for_each_channel():
    image = keras.Input((6, 6, 3))
    x = keras.layers.SeparableConv2D(4, 3, depth_multiplier=2)(image)
    model = keras.Model(image, keras.layers.Flatten()(x))
    (depthwise, pointwise, _), drawn = weights_of(model), random_direction(model, seed=3)
    for own, direction, axes in ((depthwise, drawn[0], (0, 1)), (pointwise, drawn[1], (0, 1, 2))):
        np.testing.assert_allclose(
            np.sqrt((direction**2).sum(axes)), np.sqrt((own**2).sum(axes)), rtol=1e-6
        )


def test_beyond_a_network_its_statistics_stay_and_variances_end_at_zero(samples):
    one, other = network(), network()
    for variable in one.variables:
        if "moving_variance" in variable.path:
            variable.assign(10 * variable)  # a line beyond the other soon has a negative variance
    ends = [weights_of(one), weights_of(other)]
    beyond = np.array([[-0.5, 1.5]])
    held = Surface(one, samples, ends, extrapolates_statistics=False)(beyond)
    trained = {variable.path for variable in one.trainable_variables}
    for variable, first, second in zip(one.variables, *ends, strict=True):
        variable.assign(1.5 * second - 0.5 * first if variable.path in trained else second)
    expected = Surface(one, samples, [weights_of(one)])(np.ones((1, 1)))
    # the same sum of two float32 terms, in another order
    np.testing.assert_allclose(held, expected, rtol=1e-4)
    assert np.isfinite(Surface(one, samples, ends)(beyond)).all()


def test_a_direction_depends_on_seed_and_number_alone(model):
    def drawn(**which):
        return np.concatenate([d.ravel() for d in random_direction(model, **which)])

    assert np.array_equal(drawn(seed=1, number=2), drawn(seed=1, number=2))
    assert not np.allclose(drawn(seed=1, number=2), drawn(seed=1, number=3))
    assert not np.allclose(drawn(seed=2, number=2), drawn(seed=1, number=2))


def test_a_point_is_what_keras_measures_with_these_weights(samples):
    model = network()
    before = weights_of(model)
    directions = [random_direction(model, seed=0, number=number) for number in range(2)]
    coefficients = np.array([[1, 0, 0], [1, 0.4, -0.7]])
    found = Surface(model, samples, [before, *directions])(coefficients)
    assert all(map(np.array_equal, weights_of(model), before)), "the network was changed"
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    for place, (_, a, b) in enumerate(coefficients):
        for variable, w, d1, d2 in zip(model.variables, before, *directions, strict=True):
            variable.assign(w + a * d1 + b * d2)
        for split, drawn in enumerate(samples.values()):
            images = drawn.images.numpy().reshape(-1, 6, 6, 1)
            expected = model.evaluate(images, drawn.labels.numpy().ravel(), verbose=0)
            # float32 sums of 256 examples in another order
            np.testing.assert_allclose(found[place, split], expected, rtol=2e-5)


def test_samples_are_spread_evenly_and_counted_in_whole_batches():
    drawn = draw_samples(dataset(300), 1000)
    assert drawn["train"].labels.shape == (2, 128)
    data = dataset(300)
    few = draw_samples(data, 3)["test"]
    expected = data.splits["test"].images[[0, 149, 299]]
    assert np.array_equal(few.images.numpy()[0], expected)


def test_a_network_of_another_shape_is_refused(model, samples):
    with pytest.raises(DlsuiteError, match="between networks of one shape"):
        Surface(model, samples, [weights_of(model), weights_of(network(filters=5))])


def test_a_coarse_grid_comes_before_a_fine_one():
    order = coarse_to_fine((9, 9))
    assert np.array_equal(np.sort(order), np.arange(81))
    corners = {0, 8, 72, 80}
    assert set(order[:4]) == corners
    assert set(order[:9]) == corners | {4, 36, 40, 44, 76}


def test_axes():
    assert np.allclose(axis(5, 0.5), [-0.5, -0.25, 0, 0.25, 0.5])
    with pytest.raises(DlsuiteError, match=r"at least 3 places\. Received: --resolution 2"):
        axis(2, 1)


def test_coefficients_by_hand():
    assert on_grid([np.array([1.0, 2]), np.array([3.0, 4, 5])])[1, 2].tolist() == [1, 2, 5]
    assert one_at_a_time(2, np.array([-1.0, 1]))[1, 0].tolist() == [1, 0, -1]


def test_a_killed_computation_goes_on_and_comes_to_the_same(model, samples, tmp_path):
    places = axis(7, 1)
    axes = {"direction 1": places, "direction 2": places}
    basis = [weights_of(model), *(random_direction(model, seed=0, number=n) for n in (0, 1))]
    surface, coefficients = Surface(model, samples, basis), on_grid([places, places])

    def start(path, **settings):
        return prepare_landscape("net", axes, samples, settings=settings, path=path)

    whole = start(tmp_path / "whole.npz", seed=0)
    assert list(compute(whole, surface, coefficients, tmp_path / "whole.npz"))[-1] == 49
    path = tmp_path / "part.npz"
    next(compute(start(path, seed=0), surface, coefficients, path))
    second = start(path, seed=0)
    assert 0 < missing_points(second) < 49
    list(compute(second, surface, coefficients, path))
    assert np.array_equal(Landscape.load(path).values, whole.values)
    assert missing_points(start(path, seed=1)) == 49, "of other settings"
    axes["direction 2"] = places[:-1]
    assert missing_points(start(path, seed=0)) == 42, "of other places"
    axes["direction 2"] = places
    path.write_bytes(path.read_bytes()[:500])
    assert missing_points(start(path, seed=0)) == 49, "damaged"


def test_points_that_are_not_finite_are_kept_as_such(model, samples, tmp_path):
    basis = [weights_of(model), random_direction(model, seed=0)]
    surface = Surface(model, samples, basis)
    places = np.array([0.0, 1e38])
    landscape = prepare_landscape(
        "net", {"direction": np.zeros(1), "step": places}, samples, settings={},
        path=tmp_path / "line.npz",
    )  # fmt: skip
    list(compute(landscape, surface, one_at_a_time(1, places), tmp_path / "line.npz"))
    assert np.isfinite(landscape.loss("train")).tolist() == [[True, False]]
    assert missing_points(landscape) == 0
