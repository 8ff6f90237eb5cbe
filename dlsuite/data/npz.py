"""NumPy archives of images and labels."""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from dlsuite.data.arrays import Arrays, find_arrays, read_arrays, too_large
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
        "argument": "path",
        "syntax": "npz:PATH",
    },
]


def npz(argument: str, settings: Data) -> Source:
    """Returns the arrays of a NumPy archive as a dataset.

    Images and labels are found by name: ``images`` and ``labels`` (or ``train_images``,
    ``x_train``, ``x`` and so on) for training, ``validation_`` or ``val_`` and ``test_``
    before or after for the other splits. Archives that hold Python objects are refused, since
    reading them would execute what they contain.

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
        raise _damaged(path, "it holds a single array, and labels are needed too")
    if not start.startswith(b"PK"):
        # NumPy would take it for a pickle
        raise _damaged(path, "it isn't a ZIP archive")
    try:
        with np.load(path, allow_pickle=False) as archive:
            _check_members(path, archive.zip.namelist())
            found = find_arrays(archive.files, str(path))
            needed = sum(_bytes(path, name) for pair in found.values() for name in pair)
            if needed > settings.memory_gb * 2**30:
                raise too_large(needed, str(path), settings)
            splits = {
                split: Arrays(archive[images], archive[labels], images, labels)
                for split, (images, labels) in found.items()
            }
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if "pickle" in str(error).lower():
            raise DlsuiteError(
                f"Arrays must hold numbers or strings of fixed length. Received: {str(path)!r} "
                "with Python objects, which dlsuite never unpickles. Save the arrays with a "
                "numeric type."
            ) from None
        raise _damaged(path, str(error)) from None
    return read_arrays(f"npz:{argument}", splits, settings)


def _check_members(path: Path, members: list[str]) -> None:
    """Checks that each array has one member; NumPy might read another than was measured."""
    repeated = [name for name, count in Counter(members).items() if count > 1]
    if repeated:
        raise _damaged(path, f"it holds {repeated[0]!r} twice")
    for name in members:
        if not name.endswith(".npy"):
            raise _damaged(path, f"its member {name!r} doesn't end in .npy")


def _damaged(path: Path, reason: str) -> DlsuiteError:
    return DlsuiteError(
        f"npz:PATH reads what numpy.savez writes. Received: {str(path)!r}: {reason}. "
        "Save images and labels with numpy.savez."
    )


def _bytes(path: Path, name: str) -> int:
    """Returns the size of an archived array, from its header alone."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
