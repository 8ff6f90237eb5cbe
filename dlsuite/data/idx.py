"""IDX files, the format of MNIST and Fashion-MNIST."""

import gzip
import math
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from dlsuite.data.arrays import Arrays, check_held, check_labels, read_arrays
from dlsuite.data.indexed import is_held, mapped, read_by_index
from dlsuite.data.paths import existing_folder
from dlsuite.data.source import Source
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "idx",
        "description": "folder of IDX files, gzipped or not, as MNIST and Fashion-MNIST come",
        "source": "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-...",
        "kind": "reader",
        "argument": "folder",
        "syntax": "idx:PATH",
    },
]

_PREFIXES = {"train": ("train",), "validation": ("validation", "val"), "test": ("t10k", "test")}
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 4


def idx(argument: str, settings: Data) -> Source:
    """Returns the images and labels of a folder of IDX files.

    Files are called ``PREFIX-images-idx3-ubyte`` and ``PREFIX-labels-idx1-ubyte`` (a dot in
    place of the second hyphen and a ``.gz`` at the end are fine); PREFIX is ``train``,
    ``validation`` or ``val``, and ``t10k`` or ``test``. What takes more than
    `settings.memory_gb` is read by index from files that aren't compressed.

    Args:
        argument: the folder's path; ``~`` is the home folder.
        settings: the recipe's data table.

    Raises:
        DlsuiteError: no such folder, missing or damaged files, or arrays that a classifier
            can't use.

    Source:
        LeCun, Cortes and Burges, "The MNIST database", section "the IDX file format".
    """
    root = existing_folder(argument, "idx")
    paths = {}
    for split, prefixes in _PREFIXES.items():
        pair = [_find(root, prefixes, kind) for kind in ("images", "labels")]
        if all(pair):
            paths[split] = pair
        elif any(pair):
            present = next(path.name for path in pair if path)
            raise DlsuiteError(
                f"Images and labels come together. Received: {present} without its other half in "
                f"{argument!r}. Add the missing file."
            )
    if not paths:
        names = sorted(path.name for path in root.iterdir())
        raise DlsuiteError(
            "The folder must hold train-images-idx3-ubyte and train-labels-idx1-ubyte, "
            f"gzipped or not. Received: {', '.join(names[:5]) or 'an empty folder'}. "
            "Check the path or rename the files."
        )
    splits = {
        split: Arrays(
            read_idx(images, settings), read_idx(labels, settings), images.name, labels.name
        )
        for split, (images, labels) in paths.items()
    }
    if is_held(splits, settings):
        held = {
            split: replace(arrays, images=_in_memory(arrays.images))
            for split, arrays in splits.items()
        }
        return read_arrays(f"idx:{argument}", held, settings)
    return read_by_index(f"idx:{argument}", splits, settings, place=root)


def _find(root: Path, prefixes: tuple[str, ...], kind: str) -> Path | None:
    axes = {"images": "3", "labels": "1"}[kind]
    for prefix in prefixes:
        for joint in "-.":
            for end in ("", ".gz"):
                path = root / f"{prefix}-{kind}{joint}idx{axes}-ubyte{end}"
                if path.is_file():
                    return path
    return None


def read_idx(path: Path, settings: Data) -> np.ndarray:
    """Returns the array of an IDX file, mapped into memory if it isn't compressed.

    It is in the file's byte order.

    Raises:
        DlsuiteError: not IDX, shorter or longer than its header says, or too large.
    """
    is_compressed = path.suffix == ".gz"
    opened = gzip.open if is_compressed else open
    try:
        with opened(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not head[3]:
                raise _damaged(path, f"it begins with {head.hex(' ') or 'nothing'}")
            if head[3] > _MOST_AXES:
                raise _damaged(path, f"it claims {head[3]} axes; images have 3 and labels 1")
            dtype = np.dtype(_TYPES[head[2]])
            axes = file.read(4 * head[3])
            if len(axes) < 4 * head[3]:
                raise _damaged(path, "it ends within its header")
            shape = tuple(int(length) for length in np.frombuffer(axes, ">u4"))
            needed = math.prod(shape) * dtype.itemsize
            if len(shape) == 1:
                check_labels(needed, str(path))
            elif is_compressed:
                check_held(needed, str(path), settings, or_else=f"unpack it: gunzip {path.name}")
            if is_compressed:
                # one byte more than needed shows whether anything follows
                data = file.read(needed + 1)
                length = len(data)
            else:
                length = path.stat().st_size - file.tell()
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from None
    if length != needed:
        more = "more" if length > needed else f"{length}"
        raise _damaged(path, f"its shape {shape} needs {needed} bytes and it has {more}")
    if is_compressed:
        return np.frombuffer(data, dtype).reshape(shape)
    return mapped(path, offset=4 + len(axes), shape=shape, dtype=dtype)


def _in_memory(array: np.ndarray) -> np.ndarray:
    """Returns the array in memory of its own, in the machine's byte order."""
    return np.array(array, array.dtype.newbyteorder("="))


def _damaged(path: Path, reason: str) -> DlsuiteError:
    return DlsuiteError(
        f"An IDX file must be whole. Received: {str(path)!r}: {reason}. Copy or download it again."
    )
