"""What a reader finds: splits as they are stored, before any is cut or measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import numpy as np

from dlsuite.data.dataset import Split


@dataclass(frozen=True)
class Source:
    """A reader's answer.

    Attributes:
        name: as the recipe names it.
        class_names: in the order of the labels; empty where there are none.
        image_shape: (H, W, C), equal for all images.
        splits: by name, those of ``train``, ``validation`` and ``test`` that exist, in this
            order; at least one.
        value_range: the stored images' smallest and largest possible value.
        notes: sentences for the user: what was skipped or converted.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    splits: Mapping[str, Split]
    value_range: tuple[float, float]
    notes: list[str] = field(default_factory=list)


class NumberedNames(Sequence[str]):
    """The names ``PREFIX/0``, ``PREFIX/1``, ... without a list of them.

    Args:
        prefix: dataset and split.
        numbers: the positions in the stored split, shape (N,).
    """

    def __init__(self, prefix: str, numbers: np.ndarray):
        self._prefix = prefix
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "NumberedNames": ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return NumberedNames(self._prefix, self._numbers[index])
        return f"{self._prefix}/{self._numbers[index]}"

    def take(self, indices: np.ndarray) -> "NumberedNames":
        """Returns the names at these positions."""
        return NumberedNames(self._prefix, self._numbers[indices])


def numbered_names(dataset: str, split: str, count: int) -> NumberedNames:
    """Returns the names ``DATASET/SPLIT/0`` to ``DATASET/SPLIT/COUNT-1``."""
    return NumberedNames(f"{dataset}/{split}", np.arange(count))


def in_memory(name: str, images: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Split:
    """Returns a split over arrays that are held in memory.

    Args:
        name: ``train``, ``validation`` or ``test``.
        images: shape (N, H, W, C), uint8 or float32.
        labels: class indices, shape (N,).
        names: one an example.
    """
    return Split(name, labels.astype(np.int32), lambda i: images.take(i, axis=0), images, names)


def on_demand(
    name: str,
    read: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray,
    names: Sequence[str],
    read_encoded: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Split:
    """Returns a split whose images are read when asked for, by thread-safe functions."""
    return Split(name, labels.astype(np.int32), read, None, names, read_encoded)


def subset(split: Split, indices: np.ndarray, *, name: str | None = None) -> Split:
    """Returns the examples at these positions as a split, under their own names.

    Args:
        split: where they are taken from.
        indices: positions, shape (M,).
        name: the new split's name; None keeps the old one.
    """
    names = split.names
    chosen = (
        names.take(indices)
        if isinstance(names, NumberedNames)
        else [names[index] for index in indices]
    )
    labels = split.labels[indices]
    if split.images is not None:
        return in_memory(name or split.name, split.images[indices], labels, chosen)
    read_encoded = None
    if split.read_encoded is not None:
        read_encoded = lambda i: split.read_encoded(indices[i])  # noqa: E731
    return on_demand(
        name or split.name, lambda i: split.read(indices[i]), labels, chosen, read_encoded
    )


def relabel(split: Split, mapping: np.ndarray) -> Split:
    """Returns the split with each label `l` replaced by ``mapping[l]``."""
    return replace(split, labels=mapping[split.labels].astype(np.int32))
