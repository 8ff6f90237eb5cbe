"""Which input pixels a unit can see."""

import math
from dataclasses import dataclass
from fractions import Fraction

from keras import layers

from dlsuite.analysis.neurons.anatomy import ACTIVATIONS, Anatomy, Place

_LOCAL = (
    *ACTIVATIONS,
    layers.BatchNormalization,
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.Rescaling,
    layers.Normalization,
    layers.Identity,
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Concatenate,
)
# Keras doesn't export the classes of its operations.
_LOCAL_OPERATIONS = frozenset(
    (
        *("Add", "Subtract", "Multiply", "Divide", "TrueDivide"),
        *("Relu", "Relu6", "Sigmoid", "Tanh"),
        *("LayerScale", "StochasticDepth"),  # of keras.applications
    )
)
_WINDOWS = (
    layers.Conv2D,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
)


@dataclass(frozen=True)
class Axis:
    """What output i along one axis sees: the input pixels jump * i + low to jump * i + high.

    Attributes:
        jump: input pixels from one output to the next.
        low: first pixel that output 0 sees; negative within the padding.
        high: last pixel that output 0 sees.
    """

    jump: Fraction
    low: Fraction
    high: Fraction

    @property
    def size(self) -> int:
        """Number of pixels that an output sees, padding included."""
        return math.floor(self.high) - math.ceil(self.low) + 1

    def window(self, index: int, length: int) -> tuple[int, int]:
        """Returns first and last-plus-one pixel that an output sees, within 0..length."""
        first = math.ceil(self.jump * index + self.low)
        last = math.floor(self.jump * index + self.high)
        return min(max(first, 0), length - 1), min(max(last + 1, 1), length)


@dataclass(frozen=True)
class ReceptiveField:
    """The window of the input that a unit of a map can see.

    Attributes:
        vertical: along the height.
        horizontal: along the width.
    """

    vertical: Axis
    horizontal: Axis

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) [pixel]."""
        return self.vertical.size, self.horizontal.size


def receptive_fields(anatomy: Anatomy) -> dict[str, ReceptiveField | None]:
    """Returns the receptive field of every place; None where a unit sees the whole image.

    Follows the layers from the input: a window of k pixels (dilated) at stride s, with p pixels
    of padding before, turns (jump, low, high) into (s jump, low - p jump, high + (k - 1 - p)
    jump); where paths meet the widest counts. What lies behind a dense, global or unknown layer
    sees everything. That a unit can see a pixel does not say that it weighs much: the effective
    field is smaller (arXiv:1701.04128).

    Source: Araujo, Norris and Sim 2019, "Computing Receptive Fields of Convolutional Neural
    Networks", Distill, doi:10.23915/distill.00021.
    """
    pixel = Axis(Fraction(1), Fraction(0), Fraction(0))
    known: dict[str, ReceptiveField | None] = {"input": ReceptiveField(pixel, pixel)}
    if not anatomy.subject.takes_images:
        known["input"] = None
    for name, place in anatomy.places.items():
        sources = [known.get(source) for source in place.sources]
        seen = known.get(place.hands_on)
        if sources and all(sources) and place.has_maps:
            seen = _behind(place, _union(sources))
        known[name] = seen
    del known["input"]
    return known


def _union(fields: list[ReceptiveField]) -> ReceptiveField | None:
    def widest(axes: list[Axis]) -> Axis | None:
        if len({axis.jump for axis in axes}) > 1:
            return None  # maps of one size whose outputs stand apart differently: broadcast
        return Axis(axes[0].jump, min(a.low for a in axes), max(a.high for a in axes))

    vertical = widest([field.vertical for field in fields])
    horizontal = widest([field.horizontal for field in fields])
    return ReceptiveField(vertical, horizontal) if vertical and horizontal else None


def _behind(place: Place, field: ReceptiveField | None) -> ReceptiveField | None:
    if field is None:
        return None
    axes = (field.vertical, field.horizontal)
    layer = place.layer
    is_local = isinstance(layer, _LOCAL) or place.kind in _LOCAL_OPERATIONS
    if is_local or _is_over_channels(layer):
        same = place.input_shape[:2] in (place.shape[:2], ())
        return field if same else None
    if isinstance(layer, layers.Conv2DTranspose):
        changed = [_spread(axis, layer, n) for n, axis in enumerate(axes)]
    elif isinstance(layer, _WINDOWS):
        changed = [_slid(axis, place, n) for n, axis in enumerate(axes)]
    elif isinstance(layer, layers.ZeroPadding2D):
        changed = [_moved(axis, -layer.padding[n][0]) for n, axis in enumerate(axes)]
    elif isinstance(layer, layers.Cropping2D):
        changed = [_moved(axis, layer.cropping[n][0]) for n, axis in enumerate(axes)]
    elif isinstance(layer, layers.UpSampling2D):
        # bilinear interpolation looks at the neighbour on either side
        reach = 0 if layer.interpolation == "nearest" else 1
        changed = [_finer(axis, layer.size[n], reach) for n, axis in enumerate(axes)]
    else:
        return None
    return ReceptiveField(*changed)


def _is_over_channels(layer: object) -> bool:
    """Whether a layer computes at each place of a map from the channels there alone."""
    if isinstance(layer, layers.LayerNormalization):
        axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        return all(axis in (-1, 3) for axis in axes)
    return isinstance(layer, layers.Dense)


def _moved(axis: Axis, by: int) -> Axis:
    return Axis(axis.jump, axis.low + by * axis.jump, axis.high + by * axis.jump)


def _slid(axis: Axis, place: Place, number: int) -> Axis:
    layer = place.layer
    if hasattr(layer, "pool_size"):
        window, dilation = layer.pool_size[number], 1
    else:
        window, dilation = layer.kernel_size[number], layer.dilation_rate[number]
    stride = layer.strides[number]
    reach = (window - 1) * dilation
    padding = 0
    if layer.padding == "same":
        # TensorFlow pads so that the output has ceil(n / stride), the odd pixel behind
        length, count = place.input_shape[number], place.shape[number]
        padding = max((count - 1) * stride + reach + 1 - length, 0) // 2
    low, high = axis.low - padding * axis.jump, axis.high + (reach - padding) * axis.jump
    return Axis(axis.jump * stride, low, high)


def _finer(axis: Axis, size: int, reach: int) -> Axis:
    jump = axis.jump / size
    # output i looks at input floor(i / size), which is up to (size - 1) / size before i / size
    return Axis(
        jump, axis.low - (size - 1) * jump - reach * axis.jump, axis.high + reach * axis.jump
    )


def _spread(axis: Axis, layer: layers.Conv2DTranspose, number: int) -> Axis:
    kernel, stride = layer.kernel_size[number], layer.strides[number]
    reach = (kernel - 1) * layer.dilation_rate[number]
    padding = max(reach + 1 - stride, 0) // 2 if layer.padding == "same" else 0
    jump = axis.jump / stride
    # output i gets from the inputs j with i = stride j + t - padding, t in 0..reach
    return Axis(jump, axis.low + (padding - reach) * jump, axis.high + padding * jump)
