"""HDF5 files of images and labels, held in memory or read by index."""

from pathlib import Path

import h5py
import numpy as np

from dlsuite.data.arrays import (
    Arrays,
    as_pixels,
    check_shapes,
    encode_labels,
    find_arrays,
    fitted,
    read_arrays,
    same_shapes,
)
from dlsuite.data.dataset import Split
from dlsuite.data.paths import existing_file
from dlsuite.data.source import Source, numbered_names, on_demand
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "h5",
        "description": "HDF5 datasets of any channel count and float type, also larger than memory",
        "source": "names of images and labels after #, two for each of train, test",
        "kind": "reader",
        "syntax": "h5:PATH#images,labels",
    },
]

_CHUNK = 256
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
    place, _, names = argument.partition("#")
    path = existing_file(place, "h5")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DlsuiteError(
            f"h5:PATH reads HDF5 files. Received: {place!r}: {error}. Check the file."
        ) from None
    pairs = _pairs(file, names, place)
    datasets = {
        split: Arrays(_dataset(file, images, place), _dataset(file, labels, place)[()],
                      images, labels)
        for split, (images, labels) in pairs.items()
    }  # fmt: skip
    needed = sum(
        arrays.images.size * (1 if arrays.images.dtype.itemsize == 1 else 4)
        for arrays in datasets.values()
    )
    name = f"h5:{argument}"
    if needed > settings.memory_gb * 2**30:
        return _read_by_index(name, datasets, settings)
    held = {
        split: Arrays(arrays.images[()], arrays.labels, arrays.images_name, arrays.labels_name)
        for split, arrays in datasets.items()
    }
    file.close()
    return read_arrays(name, held, settings)


def _pairs(file: h5py.File, names: str, place: str) -> dict[str, tuple[str, str]]:
    if not names:
        return find_arrays([key for key in file if isinstance(file[key], h5py.Dataset)], place)
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
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        known: list[str] = []
        file.visititems(
            lambda key, item: known.append(key) if isinstance(item, h5py.Dataset) else None
        )
        raise DlsuiteError(
            f"The file has no dataset of that name. Received: {name!r} in {place!r}. "
            f"It has: {', '.join(known[:8]) or 'none'}."
        )
    return found


def _read_by_index(name: str, datasets: dict[str, Arrays], settings: Data) -> Source:
    for arrays in datasets.values():
        check_shapes(arrays)
    class_names, labels = encode_labels(
        {split: (arrays.labels, arrays.labels_name) for split, arrays in datasets.items()}
    )
    low, high = np.inf, -np.inf
    for arrays in datasets.values():
        for start in range(0, len(arrays.images), _CHUNK):
            pixels = as_pixels(
                arrays.images[start : start + _CHUNK], arrays.images_name, offset=start
            )
            low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
    if all(arrays.images.dtype == np.uint8 for arrays in datasets.values()):
        low, high = 0.0, 255.0
    splits: dict[str, Split] = {}
    for split, arrays in datasets.items():
        splits[split] = on_demand(
            split,
            _reader(arrays, settings),
            labels[split],
            numbered_names(name, split, len(arrays.labels)),
        )
    shapes = {split: made.read(np.zeros(1, np.int64)).shape[1:] for split, made in splits.items()}
    same_shapes(shapes)
    note = (
        f"The images take more than data.memory_gb={settings.memory_gb:g}; they are read from "
        f"{Path(datasets['train'].images.file.filename).name} when needed."
    )
    return Source(name, class_names, shapes["train"], splits, (low, high), [note])


def _reader(arrays: Arrays, settings: Data):
    def read(indices: np.ndarray) -> np.ndarray:
        # h5py wants ascending indices without repeats, and locks the file by itself
        unique, inverse = np.unique(indices, return_inverse=True)
        pixels = as_pixels(arrays.images[unique], arrays.images_name)
        return fitted(pixels, settings)[inverse]

    return read
