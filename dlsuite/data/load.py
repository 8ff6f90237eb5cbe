"""From the recipe's data table to a dataset: read, cut, measure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dlsuite.data import DATASETS
from dlsuite.data.dataset import Dataset, Split, evenly_spaced
from dlsuite.data.paths import (
    existing_file,
    existing_folder,
    exists,
    expanded,
    place_and_names,
)
from dlsuite.data.source import Source, relabel, subset
from dlsuite.data.splits import cut_validation, limit
from dlsuite.data.statistics import channel_statistics
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data
from dlsuite.runtime import prepare
from dlsuite.wording import counted

# A reader's prefix is one word; a tfds name may go on with /CONFIG, :VERSION and [SUB-SPLITS].
_PREFIXED = re.compile(r"(?P<prefix>[a-z0-9_]+):(?P<argument>.*)", re.DOTALL)
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9_]+)(?P<argument>(?P<configuration>/\w+)?(\[.*\])?)")
# No dataset's name begins like this.
_PATHS = ("/", "./", "../", "~")

_MEASURED = 10_000


def load_dataset(settings: Data, *, class_names: Sequence[str] | None = None) -> Dataset:
    """Returns the dataset that the recipe's data table names, ready for training.

    The validation split is the dataset's own if it has one; otherwise it is cut from training
    by class, never from test. Validation and `train_limit` are functions of the data alone,
    with a fixed seed of their own, so that runs with different seeds compare. Mean and
    deviation are those of the training examples that are left.

    Args:
        settings: the recipe's data table.
        class_names: class names in the order a trained network knows them. The dataset must
            have the same classes; its labels are mapped to that order.

    Raises:
        DlsuiteError: unknown name, unreadable data, no training split, or other classes than
            `class_names`.
    """
    source = read_source(settings)
    if "train" not in source.splits:
        raise DlsuiteError(
            f"Training needs a training split. Received: {source.name!r} with "
            f"{' and '.join(source.splits)} alone. Add one and call it train; "
            "`dlsuite evaluate RUN --data` takes the data as they are."
        )
    if class_names is not None:
        source = _reordered(source, tuple(class_names))
    splits, notes = dict(source.splits), list(source.notes)
    _check_classes(splits["train"], source.class_names, "Add examples.")
    if "validation" not in splits:
        splits["train"], splits["validation"] = cut_validation(splits["train"], settings.validation)
        notes.append(
            f"Validation: {counted(splits['validation'].num_examples, 'example')}, cut from "
            "training by class."
        )
        remedy = f"Add examples, or lower data.validation={settings.validation}."
        _check_classes(splits["train"], source.class_names, remedy)
    if settings.train_limit is not None:
        splits["train"] = limit(splits["train"], settings.train_limit)
        remedy = f"Add examples, or raise data.train_limit={settings.train_limit}."
        _check_classes(splits["train"], source.class_names, remedy)
    if "test" not in splits:
        notes.append("The dataset has no test split.")
    mean, std = _measured(splits["train"], notes)
    return _dataset(source, splits, notes, mean=mean, std=std)


def load_for_evaluation(settings: Data, *, class_names: Sequence[str]) -> Dataset:
    """Returns a dataset to measure a trained network on, other than the one it was trained on.

    Splits are those of the dataset, of which it needs only one; nothing is cut from them, and
    nothing is measured. A dataset without a test split, such as a plain folder of classes,
    gives all its training images as ``test``.

    Args:
        settings: the recipe's data table; `image_size` and `channels` bring images to the
            network's shape.
        class_names: class names in the order the network knows them. The dataset must have
            the same classes; its labels are mapped to that order.

    Raises:
        DlsuiteError: unknown name, unreadable data, or other classes than `class_names`.
    """
    source = _reordered(read_source(settings), tuple(class_names))
    splits, notes = dict(source.splits), list(source.notes)
    if "test" not in splits and "train" in splits:
        splits["test"] = splits["train"]
        notes.append(
            "The dataset has no test split; what it has for training stands for it: "
            f"{counted(splits['test'].num_examples, 'image')}."
        )
    return _dataset(source, splits, notes)


def _measured(measured: Split, notes: list[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation a channel of the training split; adds what is odd to `notes`."""
    if measured.images is None and measured.num_examples > _MEASURED:
        # reading all of a large dataset for two numbers would cost an epoch
        evenly = evenly_spaced(measured.num_examples, _MEASURED)
        measured = subset(measured, evenly)
        notes.append(f"Mean and deviation are those of {_MEASURED} training examples.")
    mean, std = channel_statistics(measured)
    constant = np.flatnonzero(std == 0)
    if len(constant):
        listed = ", ".join(str(channel) for channel in constant)
        notes.append(f"Channel {listed} is constant in training; its deviation is taken as 1.")
        std = np.where(std == 0, 1.0, std)
    return tuple(mean.tolist()), tuple(std.tolist())


def _dataset(
    source: Source,
    splits: Mapping[str, Split],
    notes: list[str],
    *,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Dataset:
    order = [name for name in ("train", "validation", "test") if name in splits]
    return Dataset(
        name=source.name,
        class_names=source.class_names,
        image_shape=source.image_shape,
        splits={name: splits[name] for name in order},
        mean=mean,
        std=std,
        value_range=source.value_range,
        notes=notes,
    )


def read_source(settings: Data) -> Source:
    """Returns what the reader of `settings.name` finds, before any split is cut.

    Raises:
        DlsuiteError: unknown name, or data the reader refuses.
    """
    reader, argument = resolve(settings.name)
    prepare()
    return replace(DATASETS.load(reader)(argument, settings), name=settings.name)


def resolve(name: str) -> tuple[str, str]:
    """Returns the registered reader of a dataset's name and what it is given.

    ``folder:PATH`` gives (``folder``, PATH); ``mnist_5k[:20%]`` gives (``mnist_5k``,
    ``[:20%]``); a name that isn't registered is left to tensorflow-datasets.

    Raises:
        DlsuiteError: a reader without a path, or a prefix that no reader has.
    """
    prefixed = _PREFIXED.fullmatch(name)
    if prefixed and prefixed["prefix"] in DATASETS:
        return prefixed["prefix"], prefixed["argument"]
    named = _NAMED.fullmatch(name)
    entry = DATASETS[named["name"]] if named and named["name"] in DATASETS else None
    # of others than those with configurations, NAME/CONFIG is for tfds to judge
    if entry and (not named["configuration"] or "configurations" in entry.details):
        if entry.details.get("kind") == "reader":
            raise DlsuiteError(
                f"The reader {entry.name!r} needs to know what to read. Received: {name!r}. "
                f"Write {entry.details['syntax']}."
            )
        return entry.name, named["argument"] or ""
    if name.startswith(_PATHS) or exists(expanded(name)):
        or_dataset = f"; tfds:{name} is the dataset of that name" if named else ""
        raise DlsuiteError(
            f"A path needs the reader that understands it. Received: {name!r}. "
            f"Write folder:{name}, or idx:, npz:, h5: or csv: before the path{or_dataset}."
        )
    return "tfds", name


def absolute_name(name: str) -> str:
    """Returns the dataset's name, its path, if it has one, made absolute.

    A run is told so what it was trained on whatever the working folder is later.

    Raises:
        DlsuiteError: a reader without a path, or a prefix that no reader has.
    """
    reader, argument = resolve(name)
    if not argument or "argument" not in DATASETS[reader].details:
        return name
    return f"{reader}:{expanded(argument).absolute()}"


def check_place(name: str) -> None:
    """Checks that what a reader is to read is there, before anything heavy is imported.

    Raises:
        DlsuiteError: it isn't, a reader without a path, or a prefix that no reader has.
    """
    reader, argument = resolve(name)
    kind = DATASETS[reader].details.get("argument")
    if kind == "folder":
        existing_folder(argument, reader)
    elif kind == "file":
        existing_file(place_and_names(argument)[0], reader)


def _check_classes(train: Split, class_names: tuple[str, ...], remedy: str) -> None:
    counts = np.bincount(train.labels, minlength=len(class_names))
    missing = [class_names[label] for label in np.flatnonzero(counts == 0)]
    if missing:
        raise DlsuiteError(
            "Each class needs at least one training example. Received: none of "
            f"{', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''} among "
            f"{train.num_examples}. {remedy}"
        )


def _reordered(source: Source, class_names: tuple[str, ...]) -> Source:
    if source.class_names == class_names:
        return source
    missing = [name for name in class_names if name not in source.class_names]
    extra = [name for name in source.class_names if name not in class_names]
    if missing or extra:
        said = [f"without {', '.join(missing[:5])}"] if missing else []
        said += [f"with {', '.join(extra[:5])} besides"] if extra else []
        raise DlsuiteError(
            f"The dataset must have the {len(class_names)} classes the network was trained on. "
            f"Received: {source.name!r} {' and '.join(said)}. Rename or remove class folders, "
            "or train on this dataset."
        )
    position = {name: label for label, name in enumerate(class_names)}
    mapping = np.array([position[name] for name in source.class_names])
    splits = {name: relabel(split, mapping) for name, split in source.splits.items()}
    return replace(source, class_names=class_names, splits=splits)
