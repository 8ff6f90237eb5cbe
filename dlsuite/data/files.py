"""Datasets of image files: decoded into memory, or read by path when they are needed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from dlsuite.data.dataset import Split
from dlsuite.data.images import Header, read_header, read_image
from dlsuite.data.source import Source, in_memory, on_demand
from dlsuite.environment import usable_cores
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

T = TypeVar("T")

# A file and the name of its class.
Labelled = tuple[Path, str]

SPLIT_NAMES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
    "testing": "test",
}
"""What users call their splits."""


@dataclass(frozen=True)
class Listing:
    """Image files and their classes, before any is opened.

    Attributes:
        splits: files with their classes by split, ``train`` first where there is one.
        notes: sentences for the user: what was left out.
    """

    splits: Mapping[str, Sequence[Labelled]]
    notes: list[str] = field(default_factory=list)


def read_files(name: str, listing: Listing, settings: Data) -> Source:
    """Returns labelled image files as a dataset.

    Classes are sorted by name. Images are decoded now if together they
    fit into `settings.memory_gb`, else each time they are read. With ``corrupt="skip"`` every
    file is decoded once in either case, to know which to leave out.

    Args:
        name: as the recipe names the dataset.
        listing: the files.
        settings: the recipe's data table.

    Raises:
        DlsuiteError: classes that differ, unreadable files, or sizes that differ while
            ``image_size`` is unset.
    """
    splits, notes = listing.splits, list(listing.notes)
    class_names = same_classes(splits)
    number = {label: index for index, label in enumerate(class_names)}
    files = {split: [path for path, _ in rows] for split, rows in splits.items()}
    labels = {
        split: np.array([number[label] for _, label in rows], np.int32)
        for split, rows in splits.items()
    }
    every = [path for paths in files.values() for path in paths]
    image_shape = _image_shape(every, settings)
    held = len(every) * int(np.prod(image_shape)) <= settings.memory_gb * 2**30
    made: dict[str, Split] = {}
    for split, paths in files.items():
        made[split], skipped = _read_split(
            split, paths, labels[split], image_shape, held=held, settings=settings
        )
        if skipped:
            listed = ", ".join(str(path) for path in skipped[:3])
            more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
            _check_left(split, made[split], class_names)
            notes.append(f"Unreadable files of {split} left out: {len(skipped)}, {listed}{more}.")
    if not held:
        notes.append(
            f"Decoded, all {len(every)} images take more than "
            f"data.memory_gb={settings.memory_gb:g}; they are read from their files when needed."
        )
    return Source(name, class_names, image_shape, made, (0.0, 255.0), notes)


def same_classes(splits: Mapping[str, Sequence[Labelled]]) -> tuple[str, ...]:
    """Returns the classes of all splits, sorted by name.

    Raises:
        DlsuiteError: fewer than two, or splits whose classes differ.
    """
    found = {split: {label for _, label in rows} for split, rows in splits.items()}
    reference, known = next(iter(found.items()))
    for split, classes in found.items():
        if classes != known:
            said = [f"only {reference} has {label!r}" for label in sorted(known - classes)[:3]]
            said += [f"only {split} has {label!r}" for label in sorted(classes - known)[:3]]
            raise DlsuiteError(
                f"All splits must have the same classes. Received: {', '.join(said)}. "
                "Add, rename or remove these classes."
            )
    if len(known) < 2:
        raise DlsuiteError(
            f"Classification needs at least two classes. Received: {', '.join(sorted(known))}. "
            "Put each class's images under a name of its own."
        )
    return tuple(sorted(known))


def in_parallel(function: Callable[[Path], T], paths: Sequence[Path]) -> list[T]:
    """Returns the function's results in order, computed by several threads."""
    # decoding leaves Python's lock; a chunk a task keeps the queue's cost small
    size = max(1, min(64, -(-len(paths) // usable_cores())))
    chunks = [paths[start : start + size] for start in range(0, len(paths), size)]
    results = _threads().map(lambda chunk: [function(path) for path in chunk], chunks)
    return [result for chunk in results for result in chunk]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(usable_cores(), thread_name_prefix="dlsuite-images")


def _image_shape(paths: Sequence[Path], settings: Data) -> tuple[int, int, int]:
    """Returns the shape all images get, from the settings and the files' headers."""
    if settings.image_size and settings.channels:
        return settings.image_size, settings.image_size, settings.channels
    headers = [
        header for header in in_parallel(partial(_try, read_header), paths) if header is not None
    ]
    if not headers:
        # let the first file say why
        headers = [read_header(paths[0])]
    channels = settings.channels or max(header.channels for header in headers)
    if settings.image_size:
        return settings.image_size, settings.image_size, channels
    return *_common_size(headers), channels


def _common_size(headers: Sequence[Header]) -> tuple[int, int]:
    sizes = Counter((header.height, header.width) for header in headers)
    if len(sizes) > 1:
        listed = ", ".join(
            f"{width}x{height} ({count})" for (height, width), count in sizes.most_common(3)
        )
        more = f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else ""
        raise DlsuiteError(
            f"Images of one dataset must have one size. Received: {listed}{more} "
            "(width x height). Set data.image_size, for example "
            f"--set data.image_size={min(sizes.most_common(1)[0][0])}."
        )
    return next(iter(sizes))


def _check_left(split: str, made: Split, class_names: Sequence[str]) -> None:
    """Checks that skipping has left something of each class."""
    counts = np.bincount(made.labels, minlength=len(class_names))
    if not counts.all():
        lost = ", ".join(name for name, count in zip(class_names, counts, strict=True) if not count)
        raise DlsuiteError(
            f"Each class needs an image that can be read. Received: none in {split} of {lost}. "
            "Replace the files; `dlsuite check-data` lists them."
        )


def _try(function: Callable[[Path], T], path: Path) -> T | None:
    try:
        return function(path)
    except DlsuiteError:
        return None


def _read_split(
    split: str,
    paths: Sequence[Path],
    labels: np.ndarray,
    image_shape: tuple[int, int, int],
    *,
    held: bool,
    settings: Data,
) -> tuple[Split, list[Path]]:
    """Returns the split and the files that were left out."""
    read_one = partial(read_image, image_shape=image_shape)
    readable = np.ones(len(paths), bool)
    images = np.empty((len(paths), *image_shape), np.uint8) if held else None
    if held or settings.corrupt == "skip":

        def decode(position: int) -> bool:
            try:
                pixels = read_one(paths[position])
            except DlsuiteError as error:
                if settings.corrupt == "error":
                    raise DlsuiteError(
                        f"{error} `dlsuite check-data` lists all such files, and --set "
                        "data.corrupt=skip leaves them out and counts them."
                    ) from None
                pixels = None
            if pixels is not None and images is not None:
                images[position] = pixels
            return pixels is not None

        readable = np.array(in_parallel(decode, range(len(paths))), bool)
    kept = [path for path, good in zip(paths, readable, strict=True) if good]
    skipped = [path for path, good in zip(paths, readable, strict=True) if not good]
    labels = labels[readable]
    names = [str(path) for path in kept]
    if images is not None:
        return in_memory(split, images if not skipped else images[readable], labels, names), skipped

    def read(indices: np.ndarray) -> np.ndarray:
        return np.stack(in_parallel(read_one, [kept[index] for index in indices]))

    return on_demand(split, read, labels, names), skipped
