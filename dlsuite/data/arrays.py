"""Datasets of users' arrays: checked, and brought to uint8 or float32 with a channel axis."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dlsuite.data.images import convert_channels, resize_array
from dlsuite.data.source import Source, in_memory, numbered_names
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

# How a file's names for images and labels begin and go on; the first pair found is taken.
_PATTERNS = {
    "train": ("{}", "train_{}", "{}_train"),
    "validation": ("validation_{}", "val_{}", "{}_validation", "{}_val"),
    "test": ("test_{}", "{}_test"),
}
_STEMS = (("images", "labels"), ("x", "y"), ("X", "y"), ("X", "Y"))
_CHUNK = 1024
# Labels are held in memory even where the images are not.
_LABELS_BYTES = 2**30
# An axis this many times shorter than the two after it may be the channels.
_MUCH = 4


@dataclass(frozen=True)
class Arrays:
    """Images and labels of one split as a user's file holds them.

    Attributes:
        images: (N, H, W, C) or (N, H, W), any numeric type; in memory or still in the file.
        labels: (N,), integers 0 to K-1, booleans or strings; None where there are none.
        images_name: what the file calls the images, for messages.
        labels_name: likewise.
    """

    images: np.ndarray
    labels: np.ndarray | None
    images_name: str
    labels_name: str


def find_arrays(names: Sequence[str], where: str) -> dict[str, tuple[str, str]]:
    """Returns the names of images and labels by split, found among a file's names.

    Raises:
        DlsuiteError: there is no pair.
    """
    found: dict[str, tuple[str, str]] = {}
    for split, patterns in _PATTERNS.items():
        for pattern, stems in itertools.product(patterns, _STEMS):
            pair = (pattern.format(stems[0]), pattern.format(stems[1]))
            if split not in found and pair[0] in names and pair[1] in names:
                found[split] = pair
    for split, patterns in _PATTERNS.items():
        images = [pattern.format(stem) for pattern in patterns for stem, _ in _STEMS]
        alone = next((name for name in images if name in names), None)
        if found and split not in found and alone is not None:
            raise DlsuiteError(
                f"Images and labels come together. Received: {alone!r} in {where!r} without its "
                "labels. Add them, or leave it out."
            )
    if not found:
        raise DlsuiteError(
            "The file must hold images and labels under names that dlsuite knows. Received: "
            f"{', '.join(sorted(names)[:8]) or 'no arrays'} in {where!r}. "
            "Call them 'images' and 'labels', or 'x_train', 'y_train', 'x_test', 'y_test'."
        )
    return found


def read_arrays(
    name: str, splits: Mapping[str, Arrays], settings: Data, *, notes: Sequence[str] = ()
) -> Source:
    """Returns arrays in memory as a dataset.

    Images of type uint8 are kept, with the range 0 to 255; booleans become uint8 with the
    range 0 to 1; every other type becomes float32 with the range of the training images, which
    others may exceed. Integer labels must be 0 to K-1 and give the classes "0" to "K-1";
    strings are sorted.

    Args:
        name: as the recipe names the dataset.
        splits: arrays by split, ``train`` first where there is one.
        settings: the recipe's data table.
        notes: what the caller has to say.

    Raises:
        DlsuiteError: lengths, shapes, types or values that a classifier can't use.
    """
    for arrays in splits.values():
        check_shapes(arrays)
    class_names, labels = labels_of(splits)
    images = {split: _pixels(arrays, settings) for split, arrays in splits.items()}
    image_shape = common_shape({split: pixels.shape[1:] for split, pixels in images.items()})
    first = next(iter(splits))
    low, high = float(images[first].min()), float(images[first].max())
    return Source(
        name=name,
        class_names=class_names,
        image_shape=image_shape,
        splits={
            split: in_memory(split, pixels, labels[split], numbered_names(name, split, len(pixels)))
            for split, pixels in images.items()
        },
        value_range=value_range(splits[first], low, high),
        notes=[*notes, *layout_notes(splits[first])],
    )


def check_shapes(arrays: Arrays) -> None:
    """Checks that images and labels belong together and have the axes of images and labels.

    Raises:
        DlsuiteError: they don't.
    """
    shape, images_name = arrays.images.shape, arrays.images_name
    if len(shape) not in (3, 4):
        raise DlsuiteError(
            "Images must have the axes (N, H, W) or (N, H, W, C). Received: "
            f"{images_name!r} of shape {shape}. Reshape it before saving."
        )
    if 0 in shape:
        raise DlsuiteError(
            f"Every axis of the images must have a length. Received: {images_name!r} of shape "
            f"{shape}. Save an array that holds pixels."
        )
    if arrays.images.dtype.kind not in "buif":
        raise DlsuiteError(
            f"Images must be numbers. Received: {images_name!r} of type {arrays.images.dtype}. "
            "Save them as uint8 or float32."
        )
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3) and shape[2] == shape[3]:
        raise DlsuiteError(
            f"Channels come last, (N, H, W, C). Received: {images_name!r} of shape {shape}, which "
            "looks like channels first. Save numpy.moveaxis(images, 1, -1)."
        )
    if arrays.labels is None:
        return
    if len(arrays.labels.shape) != 1:
        remedy = "Save labels.argmax(axis=1) if they are one-hot, else labels.ravel()."
        raise DlsuiteError(
            f"Labels must have one axis. Received: {arrays.labels_name!r} of shape "
            f"{arrays.labels.shape}. {remedy}"
        )
    if len(arrays.labels) != shape[0]:
        raise DlsuiteError(
            f"Each image needs one label. Received: {shape[0]} in {images_name!r} and "
            f"{len(arrays.labels)} in {arrays.labels_name!r}. Save arrays of one length."
        )


def layout_notes(arrays: Arrays) -> list[str]:
    """Returns a sentence where the second axis of images may be the channels."""
    shape = arrays.images.shape
    if len(shape) == 3 or _MUCH * shape[1] > min(shape[2:]):
        return []
    return [
        f"Images of {arrays.images_name!r} are taken as {shape[1]} rows, {shape[2]} columns and "
        f"{shape[3]} channels; if channels come first, save numpy.moveaxis(images, 1, -1)."
    ]


def common_shape(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Returns the shape that the images of all splits have.

    Raises:
        DlsuiteError: they differ.
    """
    first, common = next(iter(shapes.items()))
    for split, shape in shapes.items():
        if shape != common:
            raise DlsuiteError(
                f"All splits must have images of one shape. Received: {common} in {first} "
                f"and {shape} in {split}. Save them alike or set data.image_size."
            )
    return common


def labels_of(splits: Mapping[str, Arrays]) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Returns class names and class indices by split; of unlabelled images no names and zeros.

    Raises:
        DlsuiteError: as `encode_labels`.
    """
    if next(iter(splits.values())).labels is None:
        return (), {split: np.zeros(len(a.images), np.int32) for split, a in splits.items()}
    return encode_labels({split: (a.labels, a.labels_name) for split, a in splits.items()})


def encode_labels(
    labels: Mapping[str, tuple[np.ndarray, str]],
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Returns class names and class indices by split.

    Args:
        labels: array and its name by split; the classes are those of the first, ``train``
            where there is one.

    Raises:
        DlsuiteError: labels that are neither 0 to K-1 nor strings, or other classes in one
            split than in another.
    """
    values = {split: _class_values(*named) for split, named in labels.items()}
    reference, first_name = next(iter(labels.values()))
    known = np.unique(next(iter(values.values())))
    if known.dtype.kind in "iu" and not np.array_equal(known, np.arange(len(known))):
        listed = ", ".join(str(value) for value in known[:8]) + (", ..." if len(known) > 8 else "")
        raise DlsuiteError(
            "Integer labels must be 0 to K-1, each in use. Received: "
            f"{listed} in {first_name!r}. Renumber them with "
            "numpy.unique(labels, return_inverse=True)[1], or save them as strings."
        )
    if len(known) < 2:
        raise DlsuiteError(
            f"Classification needs at least two classes. Received: only {known[0]!s} in "
            f"{first_name!r}. Save examples of every class."
        )
    for split, array in values.items():
        if (array.dtype.kind == "U") != (known.dtype.kind == "U"):
            raise DlsuiteError(
                "Labels of all splits must be of one type. Received: "
                f"{reference.dtype} in {first_name!r} and {labels[split][0].dtype} in "
                f"{labels[split][1]!r}. Save all as integers or all as strings."
            )
        other = np.setdiff1d(array, known)
        if len(other):
            raise DlsuiteError(
                "All splits must have the same classes. Received: "
                f"{other[0]!s} in {labels[split][1]!r} but not in {first_name!r}. "
                "Add examples to training or remove them here."
            )
    names = tuple(str(value) for value in known)
    return names, {split: np.searchsorted(known, array) for split, array in values.items()}


def _class_values(labels: np.ndarray, name: str) -> np.ndarray:
    """Returns labels as integers or as strings of type U."""
    if labels.dtype.kind in "SO":
        try:
            return np.array([v.decode() if isinstance(v, bytes) else v for v in labels.tolist()])
        except UnicodeDecodeError as error:
            raise DlsuiteError(
                f"Labels must be text in UTF-8. Received: {error.object!r} in {name!r}. "
                "Save them as strings, or as integers from 0 on."
            ) from None
    if labels.dtype.kind == "b":
        return labels.astype(np.uint8)
    if labels.dtype.kind not in "iuU":
        raise DlsuiteError(
            "Labels must be integers from 0 on, or strings. Received: "
            f"{name!r} of type {labels.dtype}. Save labels.astype('int64') if each "
            "value is a class."
        )
    return labels


def as_pixels(images: np.ndarray, where: str, *, offset: int = 0) -> np.ndarray:
    """Returns images as (N, H, W, C), uint8 or float32, checked for NaN and infinity.

    Args:
        images: (N, H, W) or (N, H, W, C), any numeric type.
        where: what to call the array in the message.
        offset: index of the first image in that array.

    Raises:
        DlsuiteError: a value isn't finite, or doesn't fit into float32.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype == np.uint8:
        return images
    if images.dtype == bool:
        return images.view(np.uint8)
    with np.errstate(over="ignore"):
        pixels = images.astype(np.float32, copy=False)
    for start in range(0, len(pixels), _CHUNK):
        chunk = pixels[start : start + _CHUNK]
        finite = np.isfinite(chunk)
        if not finite.all():
            number, row, column, channel = (int(i[0]) for i in np.nonzero(~finite))
            value = images[start + number, row, column, channel]
            raise DlsuiteError(
                f"Images must be finite numbers of float32. Received: {value} in {where!r}, image "
                f"{offset + start + number}, row {row}, column {column}, channel {channel}. "
                "Remove or replace it."
            )
    return pixels


def blank_maps(arrays: Arrays, pixels: np.ndarray) -> list[int]:
    """Returns the places, among the pixels, of maps of one value, such as a dead exposure.

    A photograph, or an example of a class, may be of one colour: only floats without labels are
    looked at.

    Args:
        arrays: the images as stored.
        pixels: some of them, of `as_pixels`.
    """
    if arrays.labels is not None or arrays.images.dtype.kind != "f":
        return []
    corner = pixels[:, :1, :1]
    # hardly any other map has a first row of one value
    places = np.flatnonzero((pixels[:, :1] == corner).all(axis=(1, 2, 3)))
    return [int(place) for place in places if (pixels[place] == corner[place]).all()]


def check_none_blank(arrays: Arrays, blank: Sequence[int]) -> None:
    """Checks that no map is of one value: it has no spectrum, and one would decide the mean's.

    Args:
        arrays: the images as stored.
        blank: the numbers of those that are.

    Raises:
        DlsuiteError: there are some.
    """
    if blank:
        raise DlsuiteError(
            f"Maps must differ in something. Received: {len(blank):,} of {len(arrays.images):,} "
            f"with one value alone in {arrays.images_name!r}, the first of them image {blank[0]}. "
            "Remove or replace such maps."
        )


def check_held(needed_bytes: int, where: str, settings: Data, *, or_else: str) -> None:
    """Checks that an array which has to be held in memory fits into what the recipe allows.

    Args:
        needed_bytes: as its header claims.
        where: what to call the array in the message.
        settings: the recipe's data table.
        or_else: what to do but raise ``data.memory_gb``.

    Raises:
        DlsuiteError: it doesn't fit.
    """
    if needed_bytes <= settings.memory_gb * 2**30:
        return
    raise DlsuiteError(
        "Compressed arrays are held in memory. Received: "
        f"{needed_bytes / 2**30:.2f} GB in {where!r}, more than "
        f"data.memory_gb={settings.memory_gb:g}. Raise data.memory_gb, or {or_else}."
    )


def check_labels(needed_bytes: int, where: str) -> None:
    """Checks, before they are read, that labels are of a size that labels may have.

    A file of a few bytes can claim any number of them.

    Raises:
        DlsuiteError: they aren't.
    """
    if needed_bytes > _LABELS_BYTES:
        raise DlsuiteError(
            f"Labels are held in memory, {_LABELS_BYTES / 2**30:g} GB of them at most. Received: "
            f"{needed_bytes / 2**30:.2f} GB in {where!r}. Save one small integer an image."
        )


def _pixels(arrays: Arrays, settings: Data) -> np.ndarray:
    pixels = as_pixels(arrays.images, arrays.images_name)
    check_none_blank(arrays, blank_maps(arrays, pixels))
    return fitted(pixels, settings)


def fitted(pixels: np.ndarray, settings: Data) -> np.ndarray:
    """Returns the images resized and converted as the recipe says."""
    if settings.channels:
        pixels = convert_channels(pixels, settings.channels)
    if settings.image_size:
        pixels = np.stack([resize_array(image, settings.image_size) for image in pixels])
    return pixels


def value_range(arrays: Arrays, low: float, high: float) -> tuple[float, float]:
    """Returns the smallest and largest possible value of images.

    Args:
        arrays: the images as stored.
        low: the smallest value among them.
        high: the largest.

    Raises:
        DlsuiteError: all values are equal, so that there is no range.
    """
    if arrays.images.dtype == np.uint8:
        return 0.0, 255.0
    if arrays.images.dtype == bool:
        return 0.0, 1.0
    if low == high:
        raise DlsuiteError(
            f"Images must differ in something. Received: {low:g} for every value of "
            f"{arrays.images_name!r}. Check how the array was made."
        )
    return low, high
