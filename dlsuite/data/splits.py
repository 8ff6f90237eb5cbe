"""Cutting splits by class, as a function of the data alone."""

import math

import numpy as np

from dlsuite.data.dataset import Split
from dlsuite.data.source import subset
from dlsuite.errors import DlsuiteError

# Fixed, so that two runs with different seeds train and validate on the same examples and
# their results compare.
_CUT_SEED = 20150521


def stratified_indices(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of a share drawn by class and of the rest, both ascending.

    Class c gives count * n_c / N examples, rounded by largest remainder (ties go to the
    lower label), so the share has exactly `count` examples. Which ones is a permutation with
    a fixed seed: a function of the labels alone, not of a run's seed.

    Args:
        labels: class indices, shape (N,).
        count: size of the share, 0 to N.
    """
    sizes = np.bincount(labels)
    # integers, so that the rounding is exact
    quota, remainder = np.divmod(count * sizes.astype(np.int64), len(labels))
    by_remainder = np.argsort(-remainder, kind="stable")
    quota[by_remainder[: count - quota.sum()]] += 1
    # RandomState's stream is frozen by NumPy's policy; a Generator's may change
    random = np.random.RandomState(_CUT_SEED)
    share = np.zeros(len(labels), dtype=bool)
    for label, wanted in enumerate(quota):
        members = np.flatnonzero(labels == label)
        share[random.permutation(members)[:wanted]] = True
    return np.flatnonzero(share), np.flatnonzero(~share)


def cut_validation(train: Split, validation: int | float) -> tuple[Split, Split]:
    """Returns the training split without the validation examples, and these.

    Args:
        train: the stored training split.
        validation: number of examples, or fraction of the training split.

    Raises:
        DlsuiteError: nothing would be left on one side.
    """
    total = train.num_examples
    count = validation if isinstance(validation, int) else math.floor(validation * total + 0.5)
    if not 0 < count < total:
        raise DlsuiteError(
            "Training and validation need at least one example each. Received: "
            f"data.validation={validation}, which takes {count} of {total} training examples. "
            "Choose another data.validation or add images."
        )
    chosen, rest = stratified_indices(train.labels, count)
    return subset(train, rest), subset(train, chosen, name="validation")


def limit(train: Split, count: int) -> Split:
    """Returns at most `count` examples of the split, drawn by class."""
    if count >= train.num_examples:
        return train
    return subset(train, stratified_indices(train.labels, count)[0])
