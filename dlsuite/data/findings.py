"""The rules by which `check_dataset` finds something wrong or odd."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dlsuite.recipes.schema import Data

_LISTED = 5
# Above (or below) these, a finding is worth a word.
_IMBALANCE, _FEW, _TINY, _ASPECT = 10, 10, 8, 2


@dataclass(frozen=True)
class Finding:
    """Something wrong or odd.

    Attributes:
        kind: a short fixed name, such as ``unreadable``.
        severity: ``error`` where training would stop or be wrong, ``warning`` where its
            result may mislead, ``note`` otherwise.
        message: what was found.
        remedy: what to do.
        count: how many examples it concerns.
        examples: a few of them by name.
    """

    kind: str
    severity: Literal["error", "warning", "note"]
    message: str
    remedy: str
    count: int = 1
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Example:
    """What is compared between examples; ``error`` says why there is nothing else."""

    name: str
    split: str
    label: str
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    digest: str = ""
    constant: bool = False
    misnamed: str = ""
    error: str = ""


def file_findings(examples: Sequence[Example], settings: Data) -> list[Finding]:
    """Returns what only files can have: damage, wrong extensions, differing sizes and types."""
    findings = []
    broken = [example for example in examples if example.error]
    if broken:
        findings.append(
            Finding(
                "unreadable",
                "error",
                f"Files that can't be read: {len(broken)} of {len(examples)}.",
                "Replace or remove them, or leave them out with --set data.corrupt=skip.",
                len(broken),
                [example.error for example in broken[:_LISTED]],
            )
        )
    good = [example for example in examples if not example.error]
    misnamed = [example for example in good if example.misnamed]
    if misnamed:
        findings.append(
            Finding(
                "extension",
                "warning",
                f"Files of another format than their extension says: {len(misnamed)}.",
                "They are read all the same; rename them before other programs stumble.",
                len(misnamed),
                [f"{example.name}: {example.misnamed}" for example in misnamed[:_LISTED]],
            )
        )
    sizes = Counter(example.size for example in good)
    if len(sizes) > 1 and settings.image_size is None:
        common = sizes.most_common(1)[0][0]
        odd = [example for example in good if example.size != common]
        findings.append(
            Finding(
                "size",
                "warning",
                f"Images have {len(sizes)} sizes, the most frequent being {common[1]}x{common[0]}; "
                f"others: {len(odd)}.",
                f"Train with --set data.image_size={min(common)}, say, or by a recipe that sets "
                f"it, as finetune-folder does; --image-size {min(common)} tells this check so.",
                len(odd),
                [f"{e.name}: {e.size[1]}x{e.size[0]}" for e in odd[:_LISTED]],
            )
        )
    modes = Counter(example.mode for example in good)
    if len(modes) > 1:
        said = ", ".join(f"{count} {mode}" for mode, count in modes.most_common())
        findings.append(
            Finding(
                "mode",
                "note",
                f"Images have different pixel types: {said}.",
                "Fix one with --set data.channels=1 (grey) or 3 (RGB), which is taken if any "
                "image has colour.",
                sum(modes.values()) - modes.most_common(1)[0][1],
            )
        )
    return findings


def common_findings(examples: Sequence[Example]) -> list[Finding]:
    """Returns what any readable examples can have: copies, odd images, uneven classes."""
    return [
        *_duplicates(examples),
        *_listed(
            "constant",
            [example for example in examples if example.constant],
            "Images of a single colour",
            "Remove them unless an empty image is meant to be one.",
        ),
        *_listed(
            "tiny",
            [example for example in examples if min(example.size) < _TINY],
            f"Images smaller than {_TINY} pixels",
            "Remove them if they are thumbnails or left-overs.",
        ),
        *_aspects(examples),
        *_balance(examples),
    ]


def _duplicates(examples: Sequence[Example]) -> list[Finding]:
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.digest].append(example)
    equal = [group for group in groups.values() if len(group) > 1]
    leaks = [group for group in equal if len({example.split for example in group}) > 1]
    conflicts = [group for group in equal if len({example.label for example in group}) > 1]
    within = [group for group in equal if max(Counter(e.split for e in group).values()) > 1]
    cases = (
        (
            "leak",
            leaks,
            "Images in more than one split, so that the measured accuracy will be too high",
            "Remove the copies from training.",
        ),
        (
            "conflict",
            conflicts,
            "Images under different labels",
            "Decide which label is right and remove the others.",
        ),
        ("duplicate", within, "Images repeated within a split", "Keep one of each."),
    )
    return [
        Finding(
            kind,
            "warning",
            f"{message}: {len(found)}.",
            remedy,
            len(found),
            [" = ".join(f"{e.name} ({e.label})" for e in group[:3]) for group in found[:_LISTED]],
        )
        for kind, found, message, remedy in cases
        if found
    ]


def _aspects(examples: Sequence[Example]) -> list[Finding]:
    if not examples:
        return []
    ratios = np.array([example.size[1] / example.size[0] for example in examples])
    odd = np.flatnonzero(np.maximum(ratios, 1 / ratios) > _ASPECT)
    return _listed(
        "aspect",
        [examples[index] for index in odd],
        f"Images more than {_ASPECT} times as long as wide, or as wide as long",
        "Resizing to a square squeezes them; crop or pad them first.",
    )


def _balance(examples: Sequence[Example]) -> list[Finding]:
    counts = Counter(example.label for example in examples if example.split == "train")
    if not counts:
        return []
    (most, largest), (least, smallest) = counts.most_common()[0], counts.most_common()[-1]
    findings = []
    if largest > _IMBALANCE * smallest:
        findings.append(
            Finding(
                "imbalance",
                "warning",
                f"Class {most!r} has {largest} training examples and {least!r} {smallest}.",
                "Add examples, weigh classes with --set loss.class_weights=balanced, and look at "
                "the figures by class.",
            )
        )
    few = [label for label, count in counts.items() if count < _FEW]
    if few:
        findings.append(
            Finding(
                "few",
                "warning",
                f"Classes of fewer than {_FEW} training examples: {len(few)}.",
                "Add examples or join classes.",
                len(few),
                [f"{label}: {counts[label]}" for label in few[:_LISTED]],
            )
        )
    return findings


def _listed(kind: str, examples: Sequence[Example], message: str, remedy: str) -> list[Finding]:
    if not examples:
        return []
    names = [f"{e.name} ({e.size[1]}x{e.size[0]})" for e in examples[:_LISTED]]
    return [Finding(kind, "warning", f"{message}: {len(examples)}.", remedy, len(examples), names)]
