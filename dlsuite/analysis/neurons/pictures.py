"""Sizes and values that pictures of units are kept with."""

import numpy as np

from dlsuite.analysis.neurons.anatomy import NeuronLayer
from dlsuite.analysis.neurons.maximisation import takes_size
from dlsuite.analysis.neurons.receptive_field import ReceptiveField
from dlsuite.analysis.neurons.subject import Subject
from dlsuite.data.images import resize_array

# Sides [pixel]: a page of two thousand units must stay small enough to send.
_LARGEST_PICTURE = 96
_LARGEST_CROP = 56
_LARGEST_MAP = 28


def picture_size(subject: Subject, layer: NeuronLayer, field: ReceptiveField | None) -> int | None:
    """Returns the side [pixel] that shows a layer's units without waste; None for the model's.

    Twice the receptive field, from 48 to 96 pixels, where the layers take it.
    """
    if not subject.takes_images or min(subject.input_shape[:2]) <= _LARGEST_PICTURE:
        return None
    wanted = _LARGEST_PICTURE if field is None else 2 * max(field.size)
    size = min(max(16 * -(-wanted // 16), 48), _LARGEST_PICTURE)
    return size if takes_size(subject, layer, size) else None


def eight_bits(images: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Returns images as uint8, the range's ends at 0 and 255."""
    if images.dtype == np.uint8:
        return images
    low, high = value_range
    scaled = (images.astype(np.float32) - low) * (255 / max(high - low, 1e-12))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def pictures_of(subject: Subject, inputs: np.ndarray) -> np.ndarray:
    """Returns optimised inputs as pictures (N, H, W, C), uint8.

    Of a generator, what it makes of the vectors; of another model of vectors, these as a line.
    """
    if subject.takes_images:
        return eight_bits(inputs, subject.value_range)
    output = np.asarray(subject.forward(inputs))
    if output.ndim != 4:
        output = inputs[:, None, :, None]
    return eight_bits(output, (output.min(), output.max()))


def crop_side(subject: Subject, field: ReceptiveField | None) -> int:
    """Returns the side [pixel] that exemplars are stored with: the receptive field's, up to 56."""
    whole = max(subject.input_shape[:2])
    return min(whole if field is None else max(*field.size, 1), whole, _LARGEST_CROP)


def squared(crop: np.ndarray) -> np.ndarray:
    """Returns a crop that an edge cut short, with the missing part grey."""
    side = max(crop.shape[:2])
    if crop.shape[:2] == (side, side):
        return crop
    page = np.full((side, side, crop.shape[2]), crop.mean(), crop.dtype)
    page[: crop.shape[0], : crop.shape[1]] = crop
    return page


def kernel_thumbnails(weights: np.ndarray) -> np.ndarray:
    """Returns kernels as (n, h, w, 1 or 3), float32: of other channel counts the mean."""
    if weights.shape[-1] in (1, 3):
        return weights
    return weights.mean(axis=-1, keepdims=True)


def unit_maps(maps: np.ndarray) -> np.ndarray:
    """Returns units' maps from 0 to each unit's largest value, in 8 bits and at most 28 x 28.

    Shapes:
        maps: (R, ..., n) on R images, with or without height and width.
        returns: (n, R, h, w), uint8.
    """
    maps = np.moveaxis(maps, -1, 0).astype(np.float32)
    if maps.ndim != 4:
        maps = maps.reshape(*maps.shape[:2], -1).mean(axis=2)[..., None, None]
    peak = np.maximum(maps.max(axis=(1, 2, 3), keepdims=True), 1e-12)
    maps = np.clip(255 * maps / peak, 0, 255)
    if max(maps.shape[2:]) > _LARGEST_MAP:
        flat = maps.reshape(-1, *maps.shape[2:], 1)
        small = np.stack([resize_array(one, _LARGEST_MAP) for one in flat])
        maps = small.reshape(*maps.shape[:2], _LARGEST_MAP, _LARGEST_MAP)
    return np.rint(maps).astype(np.uint8)
