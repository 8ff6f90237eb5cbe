"""HDF5 files of images and labels, held in memory or read by index."""

import math
from dataclasses import replace
from pathlib import Path

import h5py

from dlsuite.data.arrays import Arrays, check_labels, check_shapes, find_arrays, read_arrays
from dlsuite.data.indexed import is_held, read_by_index, reading
from dlsuite.data.paths import existing_file, place_and_names
from dlsuite.data.source import Source
from dlsuite.data.unlabelled import in_blocks
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "h5",
        "description": "HDF5 datasets of any channel count and float type, also larger than memory",
        "source": "names of images and labels after #, two for each of train, test",
        "kind": "reader",
        "argument": "file",
        "syntax": "h5:PATH#images,labels",
    },
]

_MOST_CHUNK_BYTES = 2**30
# What the names after # stand for, by how many there are.
_ORDERS = {2: ("train",), 4: ("train", "test"), 6: ("train", "validation", "test")}


def h5(argument: str, settings: Data) -> Source:
    """Returns the datasets of an HDF5 file as a dataset of images.

    ``h5:PATH#images,labels`` names them; four names are images and labels of train and test,
    six those of train, validation and test. One name stands for images without labels, cut into
    splits in their order as by ``npy:``. Without names they are looked for as in ``npz:``.
    What takes more than `settings.memory_gb` stays in the file and is read by index, after
    one pass that checks every value.

    Args:
        argument: the file's path, and the names after ``#``.
        settings: the recipe's data table.

    Raises:
        DlsuiteError: no such file or name, or arrays that a classifier can't use.
    """
    place, names = place_and_names(argument)
    path = existing_file(place, "h5")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DlsuiteError(
            f"h5:PATH reads HDF5 files. Received: {place!r}: {error}. Check the file."
        ) from None
    if names and "," not in names:
        splits = in_blocks(_dataset(file, names.strip(), place), names.strip(), settings)
    else:
        splits = {
            split: _arrays(file, images, labels, place=place)
            for split, (images, labels) in _pairs(file, names, place).items()
        }
    name = f"h5:{argument}"
    if not is_held(splits, settings):
        return read_by_index(name, splits, settings, place=path)
    with reading(path):
        held = {split: replace(arrays, images=arrays.images[:]) for split, arrays in splits.items()}
    file.close()
    return read_arrays(name, held, settings)


def _arrays(file: h5py.File, images_name: str, labels_name: str, *, place: str) -> Arrays:
    """Returns images, still in the file, and their labels."""
    images, labels = (_dataset(file, name, place) for name in (images_name, labels_name))
    found = Arrays(images, labels, images_name, labels_name)
    check_shapes(found)
    check_labels(labels.nbytes, f"{place}#{labels_name}")
    with reading(Path(place)):
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
            "test, six with validation between, or one of images alone. Received: "
            f"{len(listed)} in {names!r}. Write h5:PATH#images,labels."
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
    if found.chunks and math.prod(found.chunks) * found.dtype.itemsize > _MOST_CHUNK_BYTES:
        raise DlsuiteError(
            f"A dataset is read by chunks of {_MOST_CHUNK_BYTES / 2**30:g} GB at most. Received: "
            f"{name!r} in {place!r} with chunks of shape {found.chunks}. Save it in smaller ones."
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
