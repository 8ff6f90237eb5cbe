"""Copies of functional models on another input, flat and with fused batch normalization."""

from typing import Any

import keras
from keras import KerasTensor, layers
from keras.src.applications.convnext import StochasticDepth
from keras.src.layers.preprocessing.image_preprocessing.base_image_preprocessing_layer import (
    BaseImagePreprocessingLayer,
)

from dlsuite.layers.batch_normalization import BatchNormalization
from dlsuite.layers.leaky_relu import LeakyReLU

# Names that dlsuite gives its own layers around a network that others made.
RESERVED_NAMES = frozenset(
    ("image", "normalization", "preprocessing", "grey_to_rgb", "pooled", "head_dropout", "logits")
)

# Layers of dlsuite's that compute the same.
_FASTER = {layers.BatchNormalization: BatchNormalization, layers.LeakyReLU: LeakyReLU}
# What is random in training. Freezing does not turn it off, and Keras hands `training` to each
# layer of a functional model whatever it was called with.
_NOISE = (
    layers.Dropout,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    StochasticDepth,
)
# Of the image layers, those that draw: by the names that Keras gives them.
_RANDOM_IMAGE = ("Rand", "AugMix", "CutMix", "MixUp")

# They compute with the values of images, for which half of the digits are too few.
_OF_IMAGES = (layers.Normalization, layers.Rescaling)


def graft(
    model: keras.Model,
    image: KerasTensor,
    *,
    keep_names: bool = True,
    frozen: bool = False,
    thawed: bool = False,
    policy: str | None = None,
) -> KerasTensor:
    """Returns the output of a copy of a model, with the same weights, on another input.

    Models inside the model are copied layer by layer, so that the graph is flat: any layer can
    be found by its name. Keras's own batch normalization is replaced by the fused one, and what
    `adapt` has set is kept. Layers keep whether they are trainable.

    Args:
        model: functional, one input and one output.
        image: what the copy's first layers get.
        keep_names: unset, layers whose name dlsuite uses around them get the prefix ``base_``.
            A layer inside another model whose name is taken gets that model's name before it.
        frozen: no copy is trainable, and the copy computes in training what it does otherwise:
            batch normalization keeps its statistics; dropout, stochastic depth and random image
            layers are left out.
        thawed: every copy is trainable, whatever the model's layers are.
        policy: of the copies' precision, except for what brings images into the network's range;
            None keeps each layer's own.
    """
    reserved = frozenset() if keep_names else RESERVED_NAMES
    taken = {*reserved, *(operation.name for operation in _functional(model).operations)}
    copies: dict[int, keras.Operation] = {}
    originals: list[tuple[keras.Operation, bool]] = []

    def free_name(name: str, prefix: str, is_inside: bool) -> str:
        if not is_inside and name not in reserved:
            return name
        while name in taken:
            name = f"{prefix}_{name}"
        taken.add(name)
        return name

    def run(part: keras.Model, inputs: Any, *, trainable: bool, is_inside: bool) -> Any:
        prefix = part.name if is_inside else "base"

        def call(operation: keras.Operation, *arguments: Any, **named: Any) -> Any:
            if isinstance(operation, keras.Model):
                trains = trainable and (thawed or operation.trainable)
                return run(operation, arguments[0], trainable=trains, is_inside=True)
            if id(operation) not in copies:
                name = free_name(operation.name, prefix, is_inside)
                copies[id(operation)] = _copy(operation, name, frozen=frozen, policy=policy)
                trains = trainable and (thawed or getattr(operation, "trainable", True))
                originals.append((operation, trains))
            return copies[id(operation)](*arguments, **named)

        return _functional(part)._run_through_graph(inputs, call_fn=call)

    (output,) = keras.tree.flatten(run(model, image, trainable=not frozen, is_inside=False))
    for operation, trains in originals:
        if isinstance(operation, keras.Layer):
            _copy_state(operation, copies[id(operation)], trainable=trains)
    return output


def _functional(model: keras.Model) -> keras.Model:
    """The model itself, or the same graph of a Sequential one, which has none of the methods."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs, model.outputs[0])
    return model


def _copy(
    operation: keras.Operation, name: str, *, frozen: bool, policy: str | None
) -> keras.Operation:
    """The same operation under another name, without its weights."""
    if frozen and _is_noise(operation):
        return layers.Identity(name=name, dtype=policy or operation.dtype_policy.name)
    config = {**operation.get_config(), "name": name}
    if policy is not None and "dtype" in config and not isinstance(operation, _OF_IMAGES):
        config["dtype"] = policy
    if "trainable" in config:
        config["trainable"] = True  # set with the weights, which layers inside a layer need
    if frozen:  # attention and recurrent layers have dropout of their own
        config |= {key: 0.0 for key in ("dropout", "recurrent_dropout") if key in config}
    kind = type(operation)
    return _FASTER.get(kind, kind).from_config(config)


def _is_noise(operation: keras.Operation) -> bool:
    is_random_image = isinstance(operation, BaseImagePreprocessingLayer) and type(
        operation
    ).__name__.startswith(_RANDOM_IMAGE)
    return is_random_image or isinstance(operation, _NOISE)


def _copy_state(layer: keras.Layer, copy: keras.Layer, *, trainable: bool) -> None:
    copy.set_weights(layer.get_weights())
    for part in copy._flatten_layers():
        if isinstance(part, layers.Normalization):
            # It computes with what it derives from its weights, not with the weights.
            part.finalize_state()
    if not trainable:
        copy.trainable = False  # the setter reaches every layer inside
