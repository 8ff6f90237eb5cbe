"""Images without labels in one array, cut into splits in the array's own order."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlsuite.data.arrays import Arrays
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

_TEST = 0.1


@dataclass(frozen=True)
class Block:
    """A part of an array that stays where it is until it is read.

    Attributes:
        whole: a memory map or an HDF5 dataset.
        start, stop: the part.
    """

    whole: Any
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the part."""
        return (self.stop - self.start, *self.whole.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Of the array."""
        return self.whole.dtype

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            first, last, _ = index.indices(len(self))
            return np.asarray(self.whole[self.start + first : self.start + last])
        return np.asarray(self.whole[index + self.start])


def in_blocks(images: Any, name: str, settings: Data) -> dict[str, Arrays]:
    """Returns training, validation and test: the array's beginning, what follows, its last tenth.

    Args:
        images: (N, H, W) or (N, H, W, C), a memory map or an HDF5 dataset.
        name: what to call it in messages.
        settings: the recipe's data table; ``validation`` is a number or a fraction of the array.

    Raises:
        DlsuiteError: whole numbers of more than a byte, or too few images for three splits.
    """
    if images.dtype.kind in "iu" and images.dtype.itemsize > 1:
        raise DlsuiteError(
            f"Maps are floats, and images of whole numbers uint8. Received: {name!r} of type "
            f"{images.dtype}. Save it as float32 or uint8."
        )
    total = images.shape[0] if images.ndim else 0
    asked = settings.validation
    validation = asked if isinstance(asked, int) else math.floor(asked * total + 0.5)
    test = math.floor(_TEST * total + 0.5)
    first, second = total - test - validation, total - test
    if not 0 < first < second < total:
        raise DlsuiteError(
            "Training, validation and test need at least one image each. Received: "
            f"{total} in {name!r} with data.validation={asked}. Add images, or change "
            "data.validation."
        )
    ends = {"train": (0, first), "validation": (first, second), "test": (second, total)}
    return {
        split: Arrays(Block(images, start, stop), None, f"{name}[{start}:{stop}]", "")
        for split, (start, stop) in ends.items()
    }
