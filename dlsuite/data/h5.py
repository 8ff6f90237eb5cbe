"""HDF5 files of images and labels, held in memory or read by index."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from dlsuite.data.arrays import (
    Arrays,
    as_pixels,
    check_shapes,
    common_shape,
    encode_labels,
    find_arrays,
    fitted,
    layout_notes,
    read_arrays,
    too_large,
    value_range,
)
from dlsuite.data.dataset import Split
from dlsuite.data.paths import existing_file, expanded, is_file
from dlsuite.data.source import Source, numbered_names, on_demand
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "h5",
        "description": "HDF5 datasets of any channel count and float type, also larger than memory",
        "source": "names of images and labels after #, two for each of train, test",
        "kind": "reader",
        "argument": "path",
        "syntax": "h5:PATH#images,labels",
    },
]

_CHUNK = 256
# Labels are held in memory even where the images are not.
_LABELS_GB = 1.0
# What the names after # stand for, by how many there are.
_ORDERS = {2: ("train",), 4: ("train", "test"), 6: ("train", "validation", "test")}


def h5(argument: str, settings: Data) -> Source:
    """Returns the datasets of an HDF5 file as a dataset of images.

    ``h5:PATH#images,labels`` names them; four names are images and labels of train and test,
    six those of train, validation and test. Without names they are looked for as in ``npz:``.
    What takes more than `settings.memory_gb` stays in the file and is read by index, after
    one pass that checks every value.

    Args:
        argument: the file's path, and the names after ``#``.
        settings: the recipe's data table.

    Raises:
        DlsuiteError: no such file or name, or arrays that a classifier can't use.
    """
    place, names = _place_and_names(argument)
    path = existing_file(place, "h5")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DlsuiteError(
            f"h5:PATH reads HDF5 files. Received: {place!r}: {error}. Check the file."
        ) from None
    splits = {
        split: _arrays(file, images, labels, place=place, settings=settings)
        for split, (images, labels) in _pairs(file, names, place).items()
    }
    needed = sum(
        arrays.images.size * (1 if arrays.images.dtype.itemsize == 1 else 4)
        for arrays in splits.values()
    )
    name = f"h5:{argument}"
    if needed > settings.memory_gb * 2**30:
        return _read_by_index(name, splits, settings)
    held = {split: replace(arrays, images=arrays.images[()]) for split, arrays in splits.items()}
    file.close()
    return read_arrays(name, held, settings)


def _place_and_names(argument: str) -> tuple[str, str]:
    """Returns the path and what stands after its ``#``; folders may have that sign too."""
    parts = argument.split("#")
    for count in range(1, len(parts) + 1):
        place = "#".join(parts[:count])
        if is_file(expanded(place)):
            return place, "#".join(parts[count:])
    place, _, names = argument.partition("#")
    return place, names


def _arrays(
    file: h5py.File, images_name: str, labels_name: str, *, place: str, settings: Data
) -> Arrays:
    """Returns images, still in the file, and their labels."""
    images, labels = (_dataset(file, name, place) for name in (images_name, labels_name))
    found = Arrays(images, labels, images_name, labels_name)
    # a file of a few bytes can claim any number of labels
    check_shapes(found)
    if labels.nbytes > max(settings.memory_gb, _LABELS_GB) * 2**30:
        raise too_large(labels.nbytes, f"{place}#{labels_name}", settings)
    return replace(found, labels=labels[()])


def _pairs(file: h5py.File, names: str, place: str) -> dict[str, tuple[str, str]]:
    if not names:
        return find_arrays(
            [key for key in file if isinstance(_item(file, key), h5py.Dataset)], place
        )
    listed = [name.strip() for name in names.split(",")]
    if len(listed) not in _ORDERS:
        raise DlsuiteError(
            "After # stand the names of images and labels: two for train, four for train and "
            f"test, six with validation between. Received: {len(listed)} in {names!r}. "
            "Write h5:PATH#images,labels."
        )
    return {
        split: (listed[2 * i], listed[2 * i + 1]) for i, split in enumerate(_ORDERS[len(listed)])
    }


def _dataset(file: h5py.File, name: str, place: str) -> h5py.Dataset:
    """Returns a dataset whose values lie in this file and are numbers or strings."""
    found = _item(file, name)
    if not isinstance(found, h5py.Dataset):
        known: list[str] = []
        file.visititems(
            lambda key, item: known.append(key) if isinstance(item, h5py.Dataset) else None
        )
        raise DlsuiteError(
            f"The file has no dataset of that name. Received: {name!r} in {place!r}. "
            f"It has: {', '.join(known[:8]) or 'none'}."
        )
    # raw storage would read any file of the user's as if it were pixels
    if found.file.filename != file.filename or found.external or found.is_virtual:
        raise DlsuiteError(
            f"The values must lie in the file itself. Received: {name!r} in {place!r}, which "
            "refers to another file. Copy the values into one file."
        )
    text = h5py.check_string_dtype(found.dtype) is not None
    if found.shape is None or (found.dtype.kind == "O" and not text):
        held = "nothing" if found.shape is None else "values of varying length"
        raise DlsuiteError(
            f"A dataset must hold an array of numbers or strings. Received: {name!r} in {place!r}, "
            f"which holds {held}. Save it as a plain array."
        )
    return found


def _item(file: h5py.File, name: str) -> h5py.Group | h5py.Dataset | h5py.Datatype | None:
    """Returns what the name stands for; a link that leads nowhere stands for nothing."""
    try:
        return file.get(name)
    except (KeyError, OSError):
        return None


def _read_by_index(name: str, datasets: Mapping[str, Arrays], settings: Data) -> Source:
    class_names, labels = encode_labels(
        {split: (arrays.labels, arrays.labels_name) for split, arrays in datasets.items()}
    )
    extremes = [_checked_extremes(arrays) for arrays in datasets.values()]
    first = next(iter(datasets.values()))
    splits: dict[str, Split] = {}
    for split, arrays in datasets.items():
        splits[split] = on_demand(
            split,
            _reader(arrays, settings),
            labels[split],
            numbered_names(name, split, len(arrays.labels)),
        )
    image_shape = common_shape(
        {split: made.read(np.zeros(1, np.int64)).shape[1:] for split, made in splits.items()}
    )
    note = (
        f"The images take more than data.memory_gb={settings.memory_gb:g}; they are read from "
        f"{Path(first.images.file.filename).name} when needed."
    )
    return Source(
        name=name,
        class_names=class_names,
        image_shape=image_shape,
        splits=splits,
        value_range=value_range(first, *extremes[0]),
        notes=[note, *layout_notes(first)],
    )


def _checked_extremes(arrays: Arrays) -> tuple[float, float]:
    """Returns the smallest and largest value, after a look at each for NaN and infinity."""
    low, high = np.inf, -np.inf
    for start in range(0, len(arrays.images), _CHUNK):
        pixels = as_pixels(arrays.images[start : start + _CHUNK], arrays.images_name, offset=start)
        low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
    return low, high


def _reader(arrays: Arrays, settings: Data) -> Callable[[np.ndarray], np.ndarray]:
    def read(indices: np.ndarray) -> np.ndarray:
        # h5py wants ascending indices without repeats, and locks the file by itself
        unique, inverse = np.unique(indices, return_inverse=True)
        pixels = as_pixels(arrays.images[unique], arrays.images_name)
        return fitted(pixels, settings)[inverse]

    return read
