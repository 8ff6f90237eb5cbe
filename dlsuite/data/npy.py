"""One NumPy array of images without labels, such as the public CosmoGAN maps."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dlsuite.data.arrays import read_arrays
from dlsuite.data.indexed import is_held, read_by_index
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


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0]
        if "object" in reason.lower():
            reason = "it holds Python objects, which dlsuite never unpickles"
        raise DlsuiteError(
            f"npy:PATH reads what numpy.save writes. Received: {str(path)!r}: {reason}. "
            "Save one array of numbers with numpy.save."
        ) from None
