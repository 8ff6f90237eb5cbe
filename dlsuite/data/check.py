"""What is wrong or odd in a dataset, and what to do about it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dlsuite.data.csv_list import list_csv
from dlsuite.data.files import Listing, in_parallel, same_classes
from dlsuite.data.findings import Example, Finding, common_findings, file_findings
from dlsuite.data.folder import list_folder
from dlsuite.data.images import read_header, read_image
from dlsuite.data.load import read_source, resolve
from dlsuite.data.source import Source
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data
from dlsuite.wording import counted

_UNLABELLED = "without a label"
# Readers of files that are looked at one by one, so that one broken file hides no other.
_LISTINGS: Mapping[str, Callable[[str], Listing]] = {"folder": list_folder, "csv": list_csv}


@dataclass(frozen=True)
class Report:
    """What `check_dataset` found.

    Attributes:
        name: as the recipe names the dataset.
        class_counts: examples by class, by split.
        sizes: examples by ``WIDTHxHEIGHT``, most frequent first.
        modes: examples by Pillow's pixel type, or by the array's.
        findings: errors first.
    """

    name: str
    class_counts: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, int]
    modes: Mapping[str, int]
    findings: Sequence[Finding]

    @property
    def num_errors(self) -> int:
        """Number of findings of severity ``error``."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def num_warnings(self) -> int:
        """Number of findings of severity ``warning``."""
        return sum(finding.severity == "warning" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON types."""
        return {
            "dataset": self.name,
            "num_errors": self.num_errors,
            "num_warnings": self.num_warnings,
            "class_counts": {split: dict(counts) for split, counts in self.class_counts.items()},
            "sizes": dict(self.sizes),
            "modes": dict(self.modes),
            "findings": [asdict(finding) for finding in self.findings],
        }


def check_dataset(settings: Data) -> Report:
    """Returns what is wrong or odd in the dataset that the recipe's data table names.

    Errors are what training would refuse or choke on: unreadable files, splits with different
    classes, NaN. Warnings are what needs a setting, sizes that differ while ``image_size`` is
    unset, or what makes a result mislead: equal images within a split, across splits (test
    accuracy comes out too high) or under different labels, one-coloured or tiny images,
    stretched aspect ratios, classes with few or unequal numbers of examples. Images are
    equal if all decoded pixels are.

    Args:
        settings: the recipe's data table.

    Raises:
        DlsuiteError: there is no such dataset or path.
    """
    reader, argument = resolve(settings.name)
    findings: list[Finding] = []
    examples: list[Example] = []
    if reader in _LISTINGS:
        listing = _LISTINGS[reader](argument)
        findings += [_note(note) for note in listing.notes]
        try:
            same_classes(listing.splits)
        except DlsuiteError as error:
            findings.append(_refused(error))
        examples = _from_files(listing)
        findings += file_findings(examples, settings)
    else:
        try:
            source = read_source(settings)
            findings += [_note(note) for note in source.notes]
            examples = _from_source(source)
        except DlsuiteError as error:
            findings.append(_refused(error))
    if examples and all(example.split != "train" for example in examples):
        findings.append(
            Finding(
                "no_train",
                "warning",
                "There is no training split.",
                "Add one and call it train, or use the data with `dlsuite evaluate` alone.",
            )
        )
    findings += common_findings([example for example in examples if not example.error])
    order = ("error", "warning", "note")
    return Report(
        name=settings.name,
        class_counts=_class_counts(examples),
        sizes=_counted(f"{e.size[1]}x{e.size[0]}" for e in examples if not e.error),
        modes=_counted(e.mode for e in examples if not e.error),
        findings=sorted(findings, key=lambda finding: order.index(finding.severity)),
    )


def _from_files(listing: Listing) -> list[Example]:
    rows = [
        (path, split, label) for split, files in listing.splits.items() for path, label in files
    ]
    return in_parallel(lambda row: _look_at_file(*row), rows)


def _look_at_file(path: Path, split: str, label: str) -> Example:
    try:
        header = read_header(path)
        # as RGB, so that a grey copy of a grey image stored in colour counts as equal
        pixels = read_image(path, image_shape=(header.height, header.width, 3))
    except DlsuiteError as error:
        return Example(str(path), split, label, error=str(error))
    # MPO is what some cameras write into .jpg
    expected = Image.registered_extensions().get(path.suffix.lower())
    matches = expected == header.format or {expected, header.format} == {"JPEG", "MPO"}
    return Example(
        name=str(path),
        split=split,
        label=label,
        size=(header.height, header.width),
        mode=header.mode,
        misnamed="" if matches else header.format,
        **_pixel_facts(pixels),
    )


def _from_source(source: Source) -> list[Example]:
    examples = []
    for name, split in source.splits.items():
        for indices in split.passes():
            images = split.read(indices)
            mode = f"{images.dtype}, {counted(images.shape[-1], 'channel')}"
            examples += [
                Example(
                    name=split.names[index],
                    split=name,
                    label=source.class_names[split.labels[index]]
                    if source.class_names
                    else _UNLABELLED,
                    size=image.shape[:2],
                    mode=mode,
                    **_pixel_facts(image),
                )
                for index, image in zip(indices, images, strict=True)
            ]
    return examples


def _pixel_facts(pixels: np.ndarray) -> dict[str, Any]:
    digest = hashlib.blake2b(np.ascontiguousarray(pixels), digest_size=16)
    digest.update(str(pixels.shape).encode())
    # a single pixel is always of one colour
    constant = pixels.shape[0] * pixels.shape[1] > 1 and bool((pixels == pixels[:1, :1]).all())
    return {"digest": digest.hexdigest(), "constant": constant}


def _note(note: str) -> Finding:
    return Finding("note", "note", note, "")


def _refused(error: DlsuiteError) -> Finding:
    return Finding("refused", "error", str(error), "Training refuses this dataset until then.")


def _class_counts(examples: Sequence[Example]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        counts[example.split][example.label] += 1
    return {split: dict(sorted(found.items())) for split, found in counts.items()}


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
