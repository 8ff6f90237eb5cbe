"""Attributions against closed forms: on a linear model every method is known."""

import keras
import numpy as np
import pytest

from dlsuite.analysis.neurons.anatomy import Anatomy
from dlsuite.analysis.neurons.attribution import Explained, flattened, randomised
from dlsuite.analysis.neurons.class_activation import (
    grad_cam,
    grad_cam_plus_plus,
    layer_cam,
    score_cam,
)
from dlsuite.analysis.neurons.faithfulness import faithfulness, similarity
from dlsuite.analysis.neurons.gradients import gradient, gradient_input, smoothgrad
from dlsuite.analysis.neurons.guided import deconvnet, guided_backpropagation
from dlsuite.analysis.neurons.integrated_gradients import integrated_gradients
from dlsuite.analysis.neurons.perturbation import occlusion, rise
from dlsuite.analysis.neurons.subject import from_model
from dlsuite.errors import DlsuiteError

SIDE = 12
TARGETS = np.array([1, 2, 0])


@pytest.fixture(scope="module")
def linear(keras_ready):
    """S_k = <w_k, x> + b_k behind a softmax, on images of 0 to 1, and its weights (H, W, C, K)."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax", name="head"),
        ]
    )
    weights = model.get_layer("head").kernel.numpy().reshape(SIDE, SIDE, 2, 3)
    subject = from_model(model, value_range=(0.0, 1.0))
    return Explained(Anatomy(subject), batch_size=2), weights


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).random((3, SIDE, SIDE, 2)).astype(np.float32)


def own(weights):
    """The weights of each image's class, (3, H, W, C)."""
    return np.moveaxis(weights[..., TARGETS], -1, 0)


def test_gradients_of_a_linear_model(linear, images):
    explained, weights = linear
    np.testing.assert_allclose(gradient(explained, images, TARGETS), own(weights), rtol=1e-5)
    np.testing.assert_allclose(
        gradient_input(explained, images, TARGETS), own(weights) * images, rtol=1e-5, atol=1e-7
    )
    found = smoothgrad(explained, images, TARGETS, samples=3)
    np.testing.assert_allclose(found, own(weights), rtol=1e-5)


def test_integrated_gradients_of_a_linear_model_are_complete(linear, images):
    explained, weights = linear
    found = integrated_gradients(explained, images, TARGETS, steps=3, baseline=0.25)
    np.testing.assert_allclose(found.maps, own(weights) * (images - 0.25), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.maps.sum(axis=(1, 2, 3)), found.differences, rtol=1e-4)
    assert found.errors.max() < 1e-3  # float32 sums of 288 numbers


def test_completeness_of_a_curved_model_comes_with_the_steps(keras_ready, images):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 2)),
            keras.layers.Conv2D(6, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, name="head"),
        ]
    )
    explained = Explained(Anatomy(from_model(model, value_range=(0.0, 1.0))))
    coarse = integrated_gradients(explained, images, TARGETS, steps=1).errors
    fine = integrated_gradients(explained, images, TARGETS, steps=64).errors
    assert fine.max() < 1e-3 < coarse.max()


def test_occlusion_of_a_linear_model(linear):
    explained, weights = linear
    # on an image of one value the patches replace nothing
    flat = np.full((1, SIDE, SIDE, 2), 0.5, np.float32)
    np.testing.assert_allclose(occlusion(explained, flat, [1]), 0, atol=1e-5)
    spot = np.zeros((1, SIDE, SIDE, 2), np.float32)
    spot[0, 4:8, 4:8] = 1.0
    mean = spot[0].mean(axis=(0, 1))
    (found,) = occlusion(explained, spot, [1], patch=4, stride=4)
    loss = weights[..., 1] * (spot[0] - mean)
    expected = loss.sum(axis=-1).reshape(3, 4, 3, 4).sum(axis=(1, 3))
    np.testing.assert_allclose(found[::4, ::4], expected, rtol=1e-3, atol=1e-5)


def test_rise_marks_what_the_class_depends_on(keras_ready):
    weights = np.zeros((SIDE, SIDE, 1, 2), np.float32)
    weights[2:6, 2:6, 0, 1] = 0.5
    weights[8:11, 8:11, 0, 0] = 0.5
    model = keras.Sequential(
        [keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(), keras.layers.Dense(2, name="head")]
    )
    model.set_weights([weights.reshape(-1, 2), np.zeros(2)])
    explained = Explained(Anatomy(from_model(model, value_range=(0.0, 1.0))))
    image = np.ones((1, SIDE, SIDE, 1), np.float32)
    (found,) = rise(explained, image, [1], masks=512)
    assert found[2:6, 2:6].mean() > 0 > found[8:11, 8:11].mean()
    (again,) = rise(explained, image, [1], masks=512)
    np.testing.assert_array_equal(found, again)


@pytest.fixture(scope="module")
def pooled(keras_ready):
    """Maps of a convolution, averaged, then a dense layer: where Grad-CAM is CAM itself."""
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 2)),
            keras.layers.Conv2D(5, 3, activation="relu", name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, name="head"),
        ]
    )
    subject = from_model(model, value_range=(0.0, 1.0))
    return Explained(Anatomy(subject), batch_size=2)


def resized(maps):
    return keras.ops.convert_to_numpy(keras.ops.image.resize(maps[..., None], (SIDE, SIDE)))[..., 0]


def test_grad_cam_behind_an_average_is_the_class_activation_map(pooled, images):
    model = pooled.subject.model
    maps = model.layers[0](images).numpy()  # (3, 10, 10, 5)
    weights = model.get_layer("head").kernel.numpy()[:, TARGETS].T  # (3, 5)
    cam = np.einsum("bhwk,bk->bhw", maps, weights) / 100  # Zhou et al. 2015, eq. 2
    np.testing.assert_allclose(
        grad_cam(pooled, images, TARGETS), resized(np.maximum(cam, 0)), atol=1e-5
    )
    by_place = np.einsum("bhwk,bk->bhw", maps, np.maximum(weights, 0)) / 100
    np.testing.assert_allclose(layer_cam(pooled, images, TARGETS), resized(by_place), atol=1e-5)
    # alpha is one number a map where the gradient is, and negative weights drop out
    g = weights / 100
    alpha = 1 / (2 + g * maps.sum(axis=(1, 2)))
    plus = np.einsum("bhwk,bk->bhw", maps, alpha * np.maximum(g, 0) * 100)
    np.testing.assert_allclose(
        grad_cam_plus_plus(pooled, images, TARGETS), resized(np.maximum(plus, 0)), rtol=1e-3
    )


def test_score_cam_weighs_maps_by_the_score_behind_their_mask(pooled, images):
    model = pooled.subject.model
    maps = model.layers[0](images).numpy()
    expected = []
    for image, own_maps, target in zip(images, maps, TARGETS, strict=True):
        own_maps = own_maps[..., own_maps.max(axis=(0, 1)) > 0]  # a silent map has no mask
        low, high = own_maps.min(axis=(0, 1)), own_maps.max(axis=(0, 1))
        masks = resized(np.moveaxis((own_maps - low) / (high - low), -1, 0))
        scores = model(image * masks[..., None]).numpy()[:, target]
        weights = np.exp(scores) / np.exp(scores).sum()
        expected.append(np.maximum(own_maps @ weights, 0))
    np.testing.assert_allclose(
        score_cam(pooled, images, TARGETS), resized(np.stack(expected)), atol=1e-5
    )


def test_guided_backpropagation_and_deconvnet_by_hand(keras_ready):
    """One ReLU6 between two linear layers: only the rule for the ReLU differs."""
    first = np.array([[1.0, -1.0, 2.0], [0.5, 1.0, 1.0]], np.float32)
    second = np.array([[2.0], [3.0], [-1.0]], np.float32)
    for use_layer in (False, True):
        activation = [] if not use_layer else [keras.layers.ReLU(max_value=6.0)]
        model = keras.Sequential(
            [
                keras.Input((1, 2, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(
                    3, use_bias=False, activation=None if use_layer else "relu6", name="first"
                ),
                *activation,
                keras.layers.Dense(1, use_bias=False, name="head"),
            ]
        )
        model.set_weights([first, second])
        explained = Explained(Anatomy(from_model(model)))
        image = np.array([1.0, 0.0], np.float32).reshape(1, 1, 2, 1)
        target = [0]
        # hidden units: 1, -1, 2; their gradients 2, 3, -1
        found = gradient(explained, image, target).ravel()
        np.testing.assert_allclose(found, first @ [2, 0, -1], rtol=1e-6)
        found = guided_backpropagation(explained, image, target).ravel()
        np.testing.assert_allclose(found, first @ [2, 0, 0], rtol=1e-6)
        found = deconvnet(explained, image, target).ravel()
        np.testing.assert_allclose(found, first @ [2, 3, 0], rtol=1e-6)
        # above 6 nothing passes but in the deconvolutional network
        bright = 10 * image
        assert not guided_backpropagation(explained, bright, target).any()
        np.testing.assert_allclose(gradient(explained, image, target).ravel(), first @ [2, 0, -1])


def test_models_without_relu_are_told(linear, images):
    with pytest.raises(DlsuiteError, match=r"alter ReLUs. Received: sequential.*which has none"):
        deconvnet(linear[0], images, TARGETS)
    with pytest.raises(DlsuiteError, match=r"layer with height and width. Received: sequential"):
        grad_cam(linear[0], images, TARGETS)


def test_a_layer_without_maps_is_refused(pooled, images):
    head = pooled.anatomy.find("head")
    with pytest.raises(DlsuiteError, match=r"Received: 'head', whose output is 3"):
        layer_cam(pooled, images, TARGETS, layer=head)


def test_shuffled_weights_are_gone_afterwards(pooled, images):
    before = [weight.numpy().copy() for weight in pooled.subject.model.weights]
    maps = gradient(pooled, images, TARGETS)
    with randomised(pooled.anatomy, seed=1):
        fresh = Explained(pooled.anatomy)
        shuffled = gradient(fresh, images, TARGETS)
    assert np.abs(maps - shuffled).max() > 1e-4
    assert (similarity(maps, shuffled) < 0.9).all()
    np.testing.assert_allclose(similarity(maps, maps), 1)
    for weight, value in zip(pooled.subject.model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    np.testing.assert_allclose(gradient(Explained(pooled.anatomy), images, TARGETS), maps)


def test_the_true_map_is_the_most_faithful_one(linear, images):
    explained, weights = linear
    true = flattened(own(weights) * images)
    rng = np.random.default_rng(0)
    for other in (-true, rng.normal(size=true.shape)):
        best, worse = (faithfulness(explained, images, TARGETS, m) for m in (true, other))
        assert (best.deletion_area < worse.deletion_area).all()
    assert best.deletion.shape == (3, 21)
    whole = explained.probabilities(images)[np.arange(3), TARGETS]
    np.testing.assert_allclose(best.deletion[:, 0], whole, rtol=1e-5)
    np.testing.assert_allclose(best.insertion[:, -1], whole, rtol=1e-5)


def test_every_kind_of_image_model_is_explained(subject, batch):
    if not subject.takes_images:
        with pytest.raises(DlsuiteError, match="a model that takes vectors of 7 numbers"):
            Explained(Anatomy(subject))
        return
    explained = Explained(Anatomy(subject))
    targets = explained.outputs(batch).argmax(axis=1)
    found = integrated_gradients(explained, batch, targets, steps=128)
    assert found.errors.max() < 0.1  # ReLU corners on the way
    assert grad_cam(explained, batch, targets).shape == (3, 12, 12)
    assert guided_backpropagation(explained, batch, targets).shape == batch.shape


def test_frozen_weights_are_shuffled_too(keras_ready):
    image = keras.Input((SIDE, SIDE, 2))
    base = keras.layers.Conv2D(3, 3, name="base", trainable=False)
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(base(image))))
    before = base.kernel.numpy()
    with randomised(Anatomy(from_model(model))):
        inside = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(base.kernel))
    assert (inside != before).mean() > 0.5
    assert np.array_equal(np.sort(inside, axis=None), np.sort(before, axis=None))
    assert np.array_equal(base.kernel.numpy(), before)
