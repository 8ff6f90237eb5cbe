"""Copies of functional models on another input, with fused batch normalization."""

import keras
from keras import KerasTensor

from dlsuite.layers.batch_normalization import BatchNormalization

# Names that dlsuite gives its own layers around a network that others made.
RESERVED_NAMES = frozenset(
    ("image", "normalization", "preprocessing", "grey_to_rgb", "pooled", "head_dropout", "logits")
)


def graft(
    model: keras.Model,
    stored: KerasTensor,
    image: KerasTensor | None = None,
    *,
    keep_names: bool = True,
) -> keras.Model:
    """Returns a copy of a model on another input, as one flat graph with the same weights.

    Keras's own batch normalization is replaced by the fused one. Layers keep whether they are
    trainable.

    Args:
        model: functional, one input.
        stored: the input of the copy, a tensor of `keras.Input`.
        image: what the copy's first layers get, computed from `stored`; unset is `stored`.
        keep_names: unset, layers whose name dlsuite uses around them get the prefix ``base_``.
    """
    reserved = frozenset() if keep_names else RESERVED_NAMES
    taken = reserved | {operation.name for operation in model.operations}

    def clone(layer: keras.Operation) -> keras.Operation:
        if isinstance(layer, keras.Model):
            inner = keras.models.clone_model(layer, clone_function=clone)
            if not layer.trainable:  # the setter reaches every layer inside
                inner.trainable = False
            return inner
        config = layer.get_config()
        if layer.name in reserved:
            while config["name"] in taken:
                config["name"] = f"base_{config['name']}"
        own = type(layer) is keras.layers.BatchNormalization
        return (BatchNormalization if own else type(layer)).from_config(config)

    def call(layer: keras.Operation, *arguments, **named) -> KerasTensor:
        arguments, named = keras.tree.map_structure(
            lambda tensor: image if tensor is stored and image is not None else tensor,
            (arguments, named),
        )
        return layer(*arguments, **named)

    inputs = keras.tree.pack_sequence_as(model.input, [stored])
    copy = keras.models.clone_model(
        model, input_tensors=inputs, clone_function=clone, call_function=call
    )
    copy.set_weights(model.get_weights())
    return copy
