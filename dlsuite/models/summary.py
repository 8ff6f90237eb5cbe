"""What a network consists of: layers, shapes, parameters and floating-point operations."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import keras
from keras import layers

from dlsuite.layers.maxout import Maxout

Shape = tuple[int | None, ...]

_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_WITH_ONE_KERNEL = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.Dense, Maxout),
)


@dataclass(frozen=True)
class Step:
    """One use of a layer in a functional graph; shapes are without the batch axis.

    Attributes:
        layer: a layer, or another operation of Keras's.
        parents: the layers whose outputs it takes.
        input_shape: of its first input; empty for an input layer.
        output_shape: of its first output.
    """

    layer: keras.Operation
    parents: tuple[keras.Operation, ...]
    input_shape: Shape
    output_shape: Shape


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network.

    Attributes:
        name: of the layer; a layer inside another model has that one's name before it.
        kind: name of its class.
        output_shape: without the batch axis.
        parameters: number of weights, trainable or not.
        trainable: number of those that training changes.
        flops: floating-point operations for one image, see `flops`.
    """

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    trainable: int
    flops: int


def steps(model: keras.Model) -> list[Step]:
    """Returns the uses of layers in a functional model, in the order of the computation."""
    # A layer's own list of nodes also has those of other graphs that it is part of.
    inside = {id(node) for level in model._nodes_by_depth.values() for node in level}
    found = []
    for layer in model.operations:
        for node in layer._inbound_nodes:
            if id(node) in inside:
                inputs = node.input_tensors
                found.append(
                    Step(
                        layer,
                        parents=tuple(tensor._keras_history.operation for tensor in inputs),
                        input_shape=tuple(inputs[0].shape[1:]) if inputs else (),
                        output_shape=tuple(node.outputs[0].shape[1:]),
                    )
                )
    return found


def layer_table(model: keras.Model) -> list[LayerRow]:
    """Returns the layers of a functional model in the order of the computation.

    A layer that is used more than once stands at its first use, with the operations of all.
    """
    return list(_rows(model, ""))


def flops(model: keras.Model) -> int:
    """Returns the floating-point operations of the forward pass for one image.

    Two for each multiplication with a weight in convolutions and dense layers (multiply and
    add). Biases, normalisation, activations and pooling are not counted: together a few percent
    of it, and left out by the figures that papers give. Half of it are the papers' "MACs". Nor are
    attention and recurrent layers, which networks of others may hold.
    """
    return sum(row.flops for row in layer_table(model))


def parameters(model: keras.Model) -> int:
    """Returns the number of trainable parameters."""
    return _size(model.trainable_variables)


def _rows(model: keras.Model, prefix: str) -> Iterator[LayerRow]:
    uses: dict[keras.Operation, list[Step]] = {}
    for step in steps(model):
        uses.setdefault(step.layer, []).append(step)
    for layer, found in uses.items():
        if isinstance(layer, keras.Model):
            yield from _rows(layer, f"{prefix}{layer.name}/")
            continue
        yield LayerRow(
            name=prefix + layer.name,
            kind=type(layer).__name__,
            output_shape=found[0].output_shape,
            parameters=_size(getattr(layer, "weights", [])),
            trainable=_size(getattr(layer, "trainable_variables", [])),
            flops=sum(_step_flops(step) for step in found),
        )


def _size(variables: list[keras.Variable]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _step_flops(step: Step) -> int:
    layer = step.layer
    if isinstance(layer, _TRANSPOSED):
        # each input pixel, not each output pixel, is multiplied with the whole kernel
        return 2 * math.prod(layer.kernel.shape) * _positions(step.input_shape)
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
        return 2 * _size(kernels) * _positions(step.output_shape)
    if isinstance(layer, _WITH_ONE_KERNEL):
        return 2 * math.prod(layer.kernel.shape) * _positions(step.output_shape)
    return 0


def _positions(shape: Shape) -> int:
    """Pixels of a map, or 1 for a vector; a size that is left open counts once."""
    return math.prod(size or 1 for size in shape[:-1])
