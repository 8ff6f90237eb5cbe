"""Which part of a tfds dataset becomes which split."""

import re
from collections.abc import Sequence

import tensorflow_datasets

from dlsuite.errors import DlsuiteError

_WITH_SPLITS = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<spec>.*)\])?")
_NAMES = ("train", "validation", "test")


def split_argument(argument: str) -> tuple[str, str]:
    """Returns the dataset's name and what stands between brackets after it.

    Raises:
        DlsuiteError: brackets that don't close.
    """
    parts = _WITH_SPLITS.fullmatch(argument)
    if not parts:
        raise DlsuiteError(
            "Sub-splits stand in brackets after the name. Received: "
            f"{argument!r}. Write cifar10[:20%] or cifar10[train=train[:80%],test=test]."
        )
    return parts["name"], parts["spec"] or ""


def choose_splits(
    builder: tensorflow_datasets.core.DatasetBuilder, spec: str, name: str
) -> tuple[dict[str, str], list[str]]:
    """Returns tfds's instruction for each split, and notes for the user.

    Args:
        builder: prepared.
        spec: nothing (the dataset's own splits), a slice of train such as ``:20%``, or
            ``train=...,validation=...,test=...`` in tfds's notation.
        name: as the recipe names the dataset, for messages.

    Raises:
        DlsuiteError: unknown or empty splits, or splits that share examples.
    """
    own = list(builder.info.splits)
    if "=" in spec:
        chosen = _named_splits(spec, name)
    else:
        chosen = {split: split for split in _NAMES if split in own}
        if not chosen or (spec and "train" not in chosen):
            plain = name.partition("[")[0]
            raise DlsuiteError(
                f"The dataset needs a split named train. Received: {name!r} with "
                f"{', '.join(own)}. Choose one, for example {plain}[train={own[0]}]."
            )
        if spec:
            chosen["train"] = f"train[{spec}]"
    parts = {split: _parts(builder, text, name) for split, text in chosen.items()}
    for position, first in enumerate(parts):
        for second in list(parts)[position + 1 :]:
            if _share(parts[first], parts[second]):
                raise DlsuiteError(
                    f"Splits must not share examples. Received: {first}={chosen[first]} and "
                    f"{second}={chosen[second]}. Choose parts that don't overlap."
                )
    left_out = [split for split in own if split not in _NAMES and "=" not in spec]
    notes = []
    if left_out:
        notes.append(f"Splits of the dataset that aren't used: {', '.join(left_out)}.")
    return chosen, notes


def _named_splits(spec: str, name: str) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for item in spec.split(","):
        split, _, instruction = (part.strip() for part in item.partition("="))
        if split not in _NAMES or not instruction or split in chosen:
            raise DlsuiteError(
                "Between brackets stand train=, validation= and test=, each once. Received: "
                f"{item.strip()!r} in {name!r}. Write cifar10[train=train[:80%],test=test]."
            )
        chosen[split] = instruction
    return {split: chosen[split] for split in _NAMES if split in chosen}


def _parts(
    builder: tensorflow_datasets.core.DatasetBuilder, instruction: str, name: str
) -> list[tuple[str, int, int]]:
    """Returns the files of a split, each with its first record and the one past the last."""
    try:
        files = builder.info.splits[instruction].file_instructions
    except (ValueError, KeyError) as error:
        raise DlsuiteError(
            f"tfds must know the split. Received: {instruction!r} of {name!r}: "
            f"{str(error).splitlines()[0]} Its splits are {', '.join(builder.info.splits)}."
        ) from None
    parts = [(file.filename, file.skip, file.skip + file.take) for file in files]
    # a slice that ends before it begins takes a negative number of records
    if not parts or any(stop <= start for _, start, stop in parts):
        raise DlsuiteError(
            f"A split must hold examples. Received: {instruction!r} of {name!r}, which is empty. "
            "Choose a larger part."
        )
    return parts


def _share(first: Sequence[tuple[str, int, int]], second: Sequence[tuple[str, int, int]]) -> bool:
    return any(a[0] == b[0] and max(a[1], b[1]) < min(a[2], b[2]) for a in first for b in second)
