"""What every dataset reader returns: splits with random access to their examples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Split:
    """Examples of one split, read by index, so that a position needs no state.

    Attributes:
        name: ``train``, ``validation`` or ``test``.
        labels: class indices, shape (N,), int32; 0 where the dataset has no classes.
        read: takes indices, shape (B,), and returns their images as stored, shape
            (B, H, W, C), uint8 in 0..255 or float32. Thread-safe.
        images: all images, shape (N, H, W, C), where they are held in memory, else None.
        names: what to call each example: a file's path, or ``NAME/SPLIT/INDEX``.
        read_encoded: where images are stored as files of this shape, takes indices, shape (B,),
            and returns their contents, shape (B,), bytes; an empty array where one of them must
            be left to `read`. Thread-safe.
    """

    name: str
    labels: np.ndarray
    read: Callable[[np.ndarray], np.ndarray]
    images: np.ndarray | None
    names: Sequence[str]
    read_encoded: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def num_examples(self) -> int:
        """Number of examples."""
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A dataset of images, with or without labels.

    Attributes:
        name: as the recipe names it.
        class_names: in the order of the labels; empty where there are none.
        image_shape: (H, W, C), equal for all images.
        splits: by name; for training ``train`` and ``validation`` always, ``test`` where there
            is one.
        mean: of the training split, one a channel, in units of the stored images; None where
            the dataset was loaded for evaluation alone.
        std: standard deviation likewise; 1 for a constant channel.
        value_range: the stored images' smallest and largest possible value, (0, 255) for uint8.
        notes: sentences for the user: what was skipped, cut or converted.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    splits: Mapping[str, Split]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    value_range: tuple[float, float]
    notes: list[str] = field(default_factory=list)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def describe(self) -> dict[str, Any]:
        """Returns what a run keeps of its dataset, as plain values for JSON."""
        return {
            "name": self.name,
            "class_names": self.class_names,
            "image_shape": self.image_shape,
            "mean": self.mean,
            "std": self.std,
            "value_range": self.value_range,
            "splits": {name: split.num_examples for name, split in self.splits.items()},
            "notes": self.notes,
        }
