"""Whether a shifted image gives shifted maps, and what a convolution saves over a dense layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import Anatomy, NeuronLayer, kernel_of
from dlsuite.analysis.neurons.capture import capture
from dlsuite.analysis.neurons.receptive_field import Axis, receptive_fields
from dlsuite.errors import DlsuiteError


@dataclass(frozen=True, eq=False)
class Equivariance:
    """How a layer's maps follow a shift of the image to the right.

    Attributes:
        layer: name of the layer.
        jump: input pixels from one place of the map to the next; None where it is unknown.
        shifts: of the image [pixel], shape (S,).
        inside: relative error |f(shift x) - shift f(x)| / |f(x)| over the places that see nothing
            of the border, shape (S,); NaN where there are none. For a shift that is no whole
            number of places, f(x) is interpolated between its two neighbours.
        everywhere: over all places that both maps have, shape (S,).
    """

    layer: str
    jump: int | None
    shifts: np.ndarray
    inside: np.ndarray
    everywhere: np.ndarray


@dataclass(frozen=True)
class Connections:
    """What a layer is made of, and what a dense layer of the same maps would be.

    Attributes:
        layer: name of the layer.
        parameters: weights, without biases.
        connections: multiplications with a weight for one image.
        dense: both numbers of a dense layer, which shares no weight.
    """

    layer: str
    parameters: int
    connections: int
    dense: int


def equivariance(
    anatomy: Anatomy,
    layers: Sequence[NeuronLayer],
    images: np.ndarray,
    *,
    shifts: Sequence[int] = (1, 2, 4),
) -> list[Equivariance]:
    """Returns how far the maps of layers shift with the image.

    Convolutions of stride 1 commute with shifts away from the borders, to rounding. A stride or
    a pooling of s keeps that for multiples of s alone; what it loses in between is measured here.

    Args:
        anatomy: of the model.
        layers: with maps.
        images: (B, H, W, C) as stored; the part that a shift moves in comes from the other edge,
            and no place that sees it counts as inside.
        shifts: to the right [pixel].

    Raises:
        DlsuiteError: no layer has maps.

    Source: Cohen and Welling 2016, arXiv:1602.07576, section 3; for pooling and stride Zhang
    2019, arXiv:1904.11486.
    """
    layers = [layer for layer in layers if layer.place.has_maps]
    if not layers:
        raise DlsuiteError(
            "Equivariance is measured on layers with height and width. Received: none such. "
            "Choose another layer of --list."
        )
    fields = receptive_fields(anatomy)
    width = images.shape[2]

    def maps(shift: int) -> dict[str, np.ndarray]:
        shifted = tf.constant(np.roll(images, shift, axis=2), tf.float32)
        found = capture(anatomy.subject, shifted, [layer.place for layer in layers])
        return {name: one.after.numpy() for name, one in found.items()}

    still, moved = maps(0), {shift: maps(shift) for shift in shifts}
    results = []
    for layer in layers:
        name = layer.place.name
        field = fields[name]
        axis = None if field is None else field.horizontal
        across = layer.place.shape[1]
        jump = width / across if axis is None else axis.jump
        inside, everywhere = [], []
        for shift in shifts:
            by = float(shift / jump)
            one = moved[shift][name]
            columns = np.arange(int(np.ceil(by)), across)
            wanted = _shifted(still[name], columns, by)
            gap, size = one[:, :, columns] - wanted, wanted
            everywhere.append(_relative(gap, size))
            clear = _clear(axis, columns, shift, width)
            inside.append(_relative(gap[:, :, clear], size[:, :, clear]))
        known = axis is not None and axis.jump.denominator == 1
        results.append(
            Equivariance(
                layer.name,
                int(axis.jump) if known else None,
                np.array(shifts),
                np.array(inside),
                np.array(everywhere),
            )
        )
    return results


def _shifted(maps: np.ndarray, columns: np.ndarray, by: float) -> np.ndarray:
    """The maps at `columns - by`, linear between two places."""
    whole = int(np.floor(by))
    part = by - whole
    right = maps[:, :, np.maximum(columns - whole, 0)]
    left = maps[:, :, np.maximum(columns - whole - 1, 0)]
    return (1 - part) * right + part * left


def _clear(axis: Axis | None, columns: np.ndarray, shift: int, width: int) -> np.ndarray:
    """Which columns see only pixels that were in the image before and after the shift."""
    if axis is None:
        return np.zeros(len(columns), bool)
    jump, low, high = float(axis.jump), float(axis.low), float(axis.high)
    # the neighbour that is interpolated with lies one place further left
    first = np.array([jump * c + low - jump for c in columns]) >= shift
    last = np.array([jump * c + high for c in columns]) <= width - 1
    return first & last


def _relative(gap: np.ndarray, size: np.ndarray) -> float:
    total = np.linalg.norm(size)
    return float(np.linalg.norm(gap) / total) if total > 0 else float("nan")


def connections(layers: Sequence[NeuronLayer]) -> list[Connections]:
    """Returns the parameters and connections of convolutions beside a dense layer's.

    A convolution of kernel k x k from C to D channels has k k C D parameters, each used at every
    place of its H x W maps; a dense layer between the same maps has a weight for each pair of an
    input and an output number, each used once.

    Source: LeCun et al. 1998, Proceedings of the IEEE 86, 2278, section II.A.
    """
    found = []
    for layer in layers:
        place = layer.weighted
        if place is None or not place.has_maps or len(place.input_shape) != 3:
            continue
        kernel = kernel_of(place.layer)
        # a transposed convolution uses its kernel at every place of the input
        used_at = place.input_shape if "Transpose" in place.kind else place.shape
        parameters = prod(kernel.shape)
        if "Separable" in place.kind:
            parameters += prod(place.layer.depthwise_kernel.shape)
        found.append(
            Connections(
                layer.name,
                parameters,
                parameters * used_at[0] * used_at[1],
                prod(place.input_shape) * prod(place.shape),
            )
        )
    return found
