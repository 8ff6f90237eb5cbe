"""Guided backpropagation and the deconvolutional network: gradients through altered ReLUs."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from dlsuite.analysis.neurons.anatomy import calls_replaced, operations
from dlsuite.analysis.neurons.attribution import Explained
from dlsuite.errors import DlsuiteError

# Names, because Keras doesn't export the classes of its operations.
_RELU_OPERATIONS = ("Relu", "Relu6")


def guided_backpropagation(
    explained: Explained, images: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Returns gradients of which only positive ones pass back through each active ReLU.

    Source: Springenberg et al. 2014, arXiv:1412.6806, section 3.4. Adebayo et al. 2018,
    arXiv:1810.03292, find that it tells more of the image than of the network: look at the map
    with shuffled weights beside it.

    Raises:
        DlsuiteError: the model has no ReLU.
    """

    def passed(x: tf.Tensor, gradient: tf.Tensor, top: float) -> tf.Tensor:
        is_active = (x > 0) & (x < top)
        return tf.where(is_active & (gradient > 0), gradient, tf.zeros_like(gradient))

    return _through(explained, images, targets, passed)


def deconvnet(explained: Explained, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns gradients of which the positive ones pass back through every ReLU.

    Source: Zeiler and Fergus 2013, arXiv:1311.2901, section 2.1; as a rule for the gradient
    Simonyan et al. 2013, arXiv:1312.6034, section 4.

    Raises:
        DlsuiteError: the model has no ReLU.
    """

    def passed(x: tf.Tensor, gradient: tf.Tensor, top: float) -> tf.Tensor:
        return tf.nn.relu(gradient)

    return _through(explained, images, targets, passed)


def has_relu(explained: Explained) -> bool:
    """Whether there is a ReLU to alter."""
    whole, fused = _relus(explained)
    return bool(whole or fused)


def _through(explained: Explained, images: np.ndarray, targets: np.ndarray, passed) -> np.ndarray:
    with _altered(explained, passed) as fresh:
        return fresh.gradient(images, targets)


@contextmanager
def _altered(explained: Explained, passed) -> Iterator[Explained]:
    """The model with other gradients of its ReLUs, in a function of its own."""
    whole, fused = _relus(explained)
    if not whole and not fused:
        raise DlsuiteError(
            "Guided backpropagation and deconvnet alter ReLUs. Received: "
            f"{explained.subject.name}, which has none. Choose gradient or smoothgrad."
        )

    def replaced(name: str, layer: keras.Operation, call: Callable[..., Any]):
        return _with_gradient(call, passed, _top_of(layer))

    with ExitStack() as stack:
        stack.enter_context(calls_replaced(whole, replaced))
        for layer in fused:
            top = 6.0 if layer.activation is keras.activations.relu6 else math.inf
            stack.enter_context(_activation(layer, _with_gradient(layer.activation, passed, top)))
        yield Explained(explained.anatomy, batch_size=explained.batch_size)


def _relus(explained: Explained) -> tuple[dict[str, keras.Operation], list[keras.Operation]]:
    """Layers that are ReLUs, by name, and those that have one for their activation function."""
    found = operations(explained.subject.model)
    whole = {name: layer for name, layer in found.items() if _top_of(layer) is not None}
    fused = [
        layer
        for layer in found.values()
        if vars(layer).get("activation") in (keras.activations.relu, keras.activations.relu6)
        and layer not in whole.values()
    ]
    return whole, fused


def _top_of(layer: keras.Operation) -> float | None:
    """Where a ReLU is cut off, infinity if nowhere; None for what is no ReLU."""
    if isinstance(layer, layers.ReLU):
        return math.inf if layer.max_value is None else float(layer.max_value)
    if isinstance(layer, layers.Activation):
        if layer.activation is keras.activations.relu:
            return math.inf
        if layer.activation is keras.activations.relu6:
            return 6.0
    if type(layer).__name__ in _RELU_OPERATIONS and not isinstance(layer, keras.Layer):
        return 6.0 if type(layer).__name__ == "Relu6" else math.inf
    return None


def _with_gradient(function: Callable[..., Any], passed, top: float):
    def altered(x: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        @tf.custom_gradient
        def inner(x: tf.Tensor):
            return function(x, *args, **kwargs), lambda gradient: passed(x, gradient, top)

        return inner(x)

    return altered


@contextmanager
def _activation(layer: keras.Operation, replacement: Callable[..., Any]) -> Iterator[None]:
    before = layer.activation
    object.__setattr__(layer, "activation", replacement)
    try:
        yield
    finally:
        object.__setattr__(layer, "activation", before)
