"""Users' arrays that stay in their file: checked once, then read by index."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dlsuite.data.arrays import (
    Arrays,
    as_pixels,
    blank_maps,
    check_none_blank,
    check_shapes,
    common_shape,
    fitted,
    labels_of,
    layout_notes,
    value_range,
)
from dlsuite.data.dataset import Split, images_at_once
from dlsuite.data.source import Source, numbered_names, on_demand
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

_CHUNK = 256


def is_held(splits: Mapping[str, Arrays], settings: Data) -> bool:
    """Whether the images, as uint8 or float32, fit into the memory that the recipe allows."""
    needed = sum(
        arrays.images.size * (1 if arrays.images.dtype.itemsize == 1 else 4)
        for arrays in splits.values()
    )
    return needed <= settings.memory_gb * 2**30


def read_by_index(
    name: str, splits: Mapping[str, Arrays], settings: Data, *, place: Path
) -> Source:
    """Returns arrays in a file as a dataset; what isn't asked for is never read again.

    One pass looks at every value, as `dlsuite.data.arrays.read_arrays` does for arrays in
    memory.

    Args:
        name: as the recipe names the dataset.
        splits: arrays by split, ``train`` first where there is one; the images an HDF5 dataset
            or a memory map, which may be read by several threads.
        settings: the recipe's data table.
        place: what is read, for the note.

    Raises:
        DlsuiteError: lengths, shapes, types or values that a classifier can't use.
    """
    for arrays in splits.values():
        check_shapes(arrays)
    class_names, labels = labels_of(splits)
    extremes = [_checked_extremes(arrays, place) for arrays in splits.values()]
    first = next(iter(splits.values()))
    made: dict[str, Split] = {}
    for split, arrays in splits.items():
        made[split] = on_demand(
            split,
            _reader(arrays, settings, place),
            labels[split],
            numbered_names(name, split, len(arrays.images)),
        )
    image_shape = common_shape(
        {split: each.read(np.zeros(1, np.int64)).shape[1:] for split, each in made.items()}
    )
    note = (
        f"The images take more than data.memory_gb={settings.memory_gb:g}; they are read from "
        f"{place.name} when needed."
    )
    return Source(
        name=name,
        class_names=class_names,
        image_shape=image_shape,
        splits=made,
        value_range=value_range(first, *extremes[0]),
        notes=[note, *layout_notes(first)],
    )


def mapped(
    path: Path, *, offset: int, shape: tuple[int, ...], dtype: np.dtype, order: str = "C"
) -> np.ndarray:
    """Returns an array that lies uncompressed in a file, mapped into memory and not read yet.

    Raises:
        DlsuiteError: the file ends before the array does.
    """
    needed = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    size = path.stat().st_size
    if needed > size:
        raise DlsuiteError(
            f"A file must hold all that its header announces. Received: {str(path)!r} of "
            f"{size:,} bytes for an array that ends at byte {needed:,}. Copy or save it again."
        )
    return np.memmap(path, dtype, mode="r", offset=offset, shape=shape, order=order)


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """Says in a sentence what goes wrong where a file's values are read.

    Raises:
        DlsuiteError: the file is damaged, gone, or compressed by what HDF5 has not got.
    """
    try:
        yield
    except OSError as error:
        raise DlsuiteError(
            f"A file's values must be readable. Received: '{place}': {error}. Copy or save it "
            "again; for a compression that HDF5 does not know, install hdf5plugin."
        ) from error


def _checked_extremes(arrays: Arrays, place: Path) -> tuple[float, float]:
    """Returns the smallest and largest value, after a look at each as for arrays in memory."""
    low, high = np.inf, -np.inf
    blank: list[int] = []
    size = images_at_once(arrays.images.shape[1:], _CHUNK)
    for start in range(0, len(arrays.images), size):
        with reading(place):
            stored = arrays.images[start : start + size]
        pixels = as_pixels(stored, arrays.images_name, offset=start)
        low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
        blank += [start + place for place in blank_maps(arrays, pixels)]
    check_none_blank(arrays, blank)
    return low, high


def _reader(arrays: Arrays, settings: Data, place: Path) -> Callable[[np.ndarray], np.ndarray]:
    def read(indices: np.ndarray) -> np.ndarray:
        # h5py wants ascending indices without repeats, and locks the file by itself
        unique, inverse = np.unique(indices, return_inverse=True)
        with reading(place):
            stored = arrays.images[unique]
        return fitted(as_pixels(stored, arrays.images_name), settings)[inverse]

    return read
