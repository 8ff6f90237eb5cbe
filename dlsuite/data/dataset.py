"""What every dataset reader returns: splits with random access to their examples."""

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlsuite.wording import counted

# What a pass over all images holds of them at a time, as float64 [bytes].
_PASS_BYTES = 64 * 2**20


def images_at_once(image_shape: Sequence[int], most: int) -> int:
    """Returns how many images of a shape a pass over a split may hold, `most` at most."""
    return max(1, min(most, _PASS_BYTES // (8 * math.prod(image_shape))))


def evenly_spaced(total: int, count: int) -> np.ndarray:
    """Returns `count` positions of `total` examples, from the first to the last."""
    return np.linspace(0, total - 1, count).astype(np.int64)


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

    def passes(self, *, most: int = 1024) -> Iterator[np.ndarray]:
        """Yields all positions in order, as many at a time as `images_at_once` allows."""
        if not self.num_examples:
            return
        size = images_at_once(self.read(np.zeros(1, np.int64)).shape[1:], most)
        for start in range(0, self.num_examples, size):
            yield np.arange(start, min(start + size, self.num_examples))


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
        labels = {name: np.ascontiguousarray(each.labels) for name, each in self.splits.items()}
        return {
            "name": self.name,
            "class_names": self.class_names,
            "image_shape": self.image_shape,
            "mean": self.mean,
            "std": self.std,
            "value_range": self.value_range,
            "splits": {name: split.num_examples for name, split in self.splits.items()},
            "labels": {name: zlib.crc32(of_split) for name, of_split in labels.items()},
            "notes": self.notes,
        }

    def differences(self, described: Mapping[str, Any]) -> list[str]:
        """Returns what is not as `describe` once said: sizes, labels, mean, deviation and range.

        Two datasets of the same sizes and labels whose training images have the same mean and
        deviation are taken for one.
        """
        now, found = self.describe(), []
        for split, before in described["splits"].items():
            count = now["splits"].get(split, 0)
            if count != before:
                found.append(f"{split} had {counted(before, 'example')} and has {count:,}")
            elif now["labels"][split] != described.get("labels", now["labels"])[split]:
                found.append(f"the labels of {split} are others")
        for key, name in (("mean", "mean"), ("std", "deviation")):
            then = described[key]
            # sums of another processor's round differently
            if then and now[key] and not np.allclose(then, now[key], rtol=1e-5, atol=1e-8):
                listed = [", ".join(f"{v:.5g}" for v in values) for values in (then, now[key])]
                found.append(f"training's {name} was {listed[0]} and is {listed[1]}")
        ranges = [tuple(map(float, one["value_range"])) for one in (described, now)]
        if not np.allclose(*ranges, rtol=1e-5):
            then, is_now = (f"{low:g} to {high:g}" for low, high in ranges)
            found.append(f"the range of values was {then} and is {is_now}")
        return found
