"""NumPy archives of images and labels."""

import math
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from dlsuite.data.arrays import Arrays, check_held, check_labels, find_arrays, read_arrays
from dlsuite.data.indexed import mapped, read_by_index
from dlsuite.data.npy import read_header
from dlsuite.data.paths import existing_file
from dlsuite.data.source import Source
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "npz",
        "description": "NumPy archive: images, labels, or x_train, y_train, x_test, y_test",
        "source": "numpy.savez; arrays (N, H, W[, C]) and (N,); never unpickled",
        "kind": "reader",
        "argument": "file",
        "syntax": "npz:PATH",
    },
]

# What of a ZIP member's local header is needed: its last two fields of 30 bytes.
_LOCAL_HEADER = struct.Struct("<26xHH")


def npz(argument: str, settings: Data) -> Source:
    """Returns the arrays of a NumPy archive as a dataset.

    Images and labels are found by name: ``images`` and ``labels`` (or ``train_images``,
    ``x_train``, ``x`` and so on) for training, ``validation_`` or ``val_`` and ``test_``
    before or after for the other splits. Archives that hold Python objects are refused, since
    reading them would execute what they contain. What takes more than `settings.memory_gb` stays
    in the file and is read by index, which needs an archive that isn't compressed.

    Args:
        argument: the file's path; ``~`` is the home folder.
        settings: the recipe's data table.

    Raises:
        DlsuiteError: no such file, no archive, pickled objects, too large, or arrays that a
            classifier can't use.
    """
    path = existing_file(argument, "npz")
    with open(path, "rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY":
        raise _damaged(path, "it holds a single array without labels, which npy: reads")
    if not start.startswith(b"PK"):
        # NumPy would take it for a pickle
        raise _damaged(path, "it isn't a ZIP archive")
    try:
        with zipfile.ZipFile(path) as archive:
            names = _array_names(path, archive.namelist())
            found = find_arrays(names, str(path))
            members = {name: _member(archive, name) for pair in found.values() for name in pair}
        for _, labels in found.values():
            check_labels(members[labels].bytes, f"{path}, {labels}")
        images = [members[name] for name, _ in found.values()]
        needed = sum(member.bytes for member in images)
        if any(member.offset is None for member in images):
            or_else = "save the arrays with numpy.savez, which leaves them uncompressed"
            check_held(needed, str(path), settings, or_else=or_else)
        held = needed <= settings.memory_gb * 2**30
        with np.load(path, allow_pickle=False) as archive:
            read = archive.__getitem__ if held else partial(_map, path, members)
            splits = {
                split: Arrays(read(images), archive[labels], images, labels)
                for split, (images, labels) in found.items()
            }
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error).lower():
            raise DlsuiteError(
                f"Arrays must hold numbers or strings of fixed length. Received: {str(path)!r} "
                "with Python objects, which dlsuite never unpickles. Save the arrays with a "
                "numeric type."
            ) from None
        raise _damaged(path, str(error)) from None
    if held:
        return read_arrays(f"npz:{argument}", splits, settings)
    return read_by_index(f"npz:{argument}", splits, settings, place=path)


@dataclass(frozen=True)
class _Member:
    """An array of the archive, as its header describes it.

    Attributes:
        shape: of the array.
        dtype: of the array.
        order: ``C`` or ``F``.
        offset: where its values begin in the archive; None where they are compressed.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    order: str
    offset: int | None

    @property
    def bytes(self) -> int:
        """Size of the values, uncompressed."""
        return math.prod(self.shape) * self.dtype.itemsize


def _array_names(path: Path, members: list[str]) -> list[str]:
    """Returns the arrays' names; NumPy might read another of two members than was measured."""
    repeated = [name for name, count in Counter(members).items() if count > 1]
    if repeated:
        raise _damaged(path, f"it holds {repeated[0]!r} twice")
    for name in members:
        if not name.endswith(".npy"):
            raise _damaged(path, f"its member {name!r} doesn't end in .npy")
    return [name.removesuffix(".npy") for name in members]


def _member(archive: zipfile.ZipFile, name: str) -> _Member:
    """Returns what the header of an array says, and nothing more is read."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        shape, dtype, order = read_header(file, name)
        begin = file.tell()
    offset = None
    if info.compress_type == zipfile.ZIP_STORED:
        archive.fp.seek(info.header_offset)
        local = archive.fp.read(_LOCAL_HEADER.size)
        name_length, extra_length = _LOCAL_HEADER.unpack(local)
        offset = info.header_offset + len(local) + name_length + extra_length + begin
    return _Member(shape, dtype, order, offset)


def _map(path: Path, members: Mapping[str, _Member], name: str) -> np.ndarray:
    """Returns an array that stays in the archive."""
    member = members[name]
    if member.dtype.hasobject:
        raise ValueError("an array of pickled objects")
    return mapped(
        path, offset=member.offset, shape=member.shape, dtype=member.dtype, order=member.order
    )


def _damaged(path: Path, reason: str) -> DlsuiteError:
    return DlsuiteError(
        f"npz:PATH reads what numpy.savez writes. Received: {str(path)!r}: {reason}. "
        "Save images and labels with numpy.savez."
    )
