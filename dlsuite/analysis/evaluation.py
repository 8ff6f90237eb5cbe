"""A trained model measured on a split."""

from collections.abc import Callable, Sequence

import keras

from dlsuite.analysis.classification import Evaluation, evaluate_logits
from dlsuite.analysis.inference import logits
from dlsuite.data.dataset import Dataset, Split
from dlsuite.errors import unknown_name
from dlsuite.recipes.schema import Recipe


def choose_split(dataset: Dataset, name: str) -> Split:
    """Returns the split of that name.

    Raises:
        DlsuiteError: the dataset has no such split.
    """
    if name not in dataset.splits:
        has = " or ".join(f"--split {split}" for split in dataset.splits)
        raise unknown_name(f"split of {dataset.name}", name, dataset.splits, f"Take {has}.")
    return dataset.splits[name]


def evaluate_classifier(
    model: keras.Model,
    dataset: Dataset,
    *,
    split: str,
    recipe: Recipe,
    batch_size: int,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Returns every number of a run's model on a split: what `dlsuite.Run.evaluate` does.

    Raises:
        DlsuiteError: no such split, or as `evaluate_split`.
    """
    return evaluate_split(
        model,
        choose_split(dataset, split),
        class_names=dataset.class_names,
        batch_size=batch_size,
        progress=progress,
    )


def evaluate_split(
    model: keras.Model,
    split: Split,
    *,
    class_names: Sequence[str],
    batch_size: int,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Returns every number of the model on the split; each example counts once.

    Args:
        model: takes images as stored and returns logits.
        split: its labels are indices into the class names.
        class_names: in the order of the model's logits.
        batch_size: examples a compiled call; changes no number beyond float32 rounding.
        progress: called after each batch with the number of examples that it held.

    Raises:
        DlsuiteError: an empty split, images that don't fit the model, labels outside the
            classes, or logits that are not finite.
    """
    scores = logits(model, split, batch_size=batch_size, progress=progress)
    return evaluate_logits(scores, split.labels, class_names=class_names, names=split.names)
