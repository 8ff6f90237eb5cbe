"""One NumPy array of images without labels, such as the public CosmoGAN maps."""

import tokenize
from dataclasses import replace
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from dlsuite.data.arrays import read_arrays
from dlsuite.data.indexed import is_held, mapped, read_by_index
from dlsuite.data.paths import existing_file
from dlsuite.data.source import Source
from dlsuite.data.unlabelled import in_blocks
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "npy",
        "description": "one NumPy array of images or maps, mapped into memory; no labels",
        "source": "numpy.save; (N, H, W[, C]), float or uint8; never unpickled",
        "kind": "reader",
        "argument": "file",
        "syntax": "npy:PATH",
    },
]

_LONGEST_HEADER = 2**16
# Version 3.0 differs from 2.0 in the names of fields, which images haven't got.
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,
}


def npy(argument: str, settings: Data) -> Source:
    """Returns the images of a ``.npy`` file as a dataset without labels.

    The last tenth of the array is the test split, `settings.validation` before it validation
    and the rest training, in the order of the file: maps cut from one larger map usually follow
    each other, and must not be found on both sides. What takes more than `settings.memory_gb`
    stays in the file.

    Args:
        argument: the file's path; ``~`` is the home folder.
        settings: the recipe's data table.

    Raises:
        DlsuiteError: no such file, no array, or images that a network can't use.
    """
    path = existing_file(argument, "npy")
    splits = in_blocks(_mapped(path), str(path), settings)
    name = f"npy:{argument}"
    if not is_held(splits, settings):
        return read_by_index(name, splits, settings, place=path)
    held = {split: replace(arrays, images=arrays.images[:]) for split, arrays in splits.items()}
    return read_arrays(name, held, settings)


def read_header(file: BufferedIOBase, name: str) -> tuple[tuple[int, ...], np.dtype, str]:
    """Returns shape, type and order (``C`` or ``F``) of an array, and reads nothing more.

    Args:
        file: at the beginning of what numpy.save wrote; afterwards at the first value.
        name: what to call it in messages.

    Raises:
        ValueError: no header, or one that no array has.
    """
    # NumPy reads as much as a header claims to be long before it says that this is too much
    claimed = int.from_bytes(file.peek(12)[8:12], "little")
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"the header of {name!r} is of a version {version} that isn't known")
    if version > (1, 0) and claimed > _LONGEST_HEADER:
        raise ValueError(f"the header of {name!r} claims {claimed:,} bytes")
    try:
        shape, is_fortran, dtype = _HEADERS[version](file)
    except (SyntaxError, tokenize.TokenError):
        raise ValueError(f"the header of {name!r} can't be read") from None
    if not all(0 <= length < 2**63 for length in shape):
        raise ValueError(f"the header of {name!r} claims the shape {shape}")
    return shape, dtype, "F" if is_fortran else "C"


def _mapped(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            shape, dtype, order = read_header(file, path.name)
            offset = file.tell()
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which dlsuite never unpickles")
        return mapped(path, offset=offset, shape=shape, dtype=dtype, order=order)
    except (ValueError, OSError, EOFError) as error:
        raise DlsuiteError(
            f"npy:PATH reads what numpy.save writes. Received: {str(path)!r}: "
            f"{str(error).splitlines()[0]}. Save one array of numbers with numpy.save."
        ) from None
