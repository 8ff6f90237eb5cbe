"""A generator measured against held-out images, each number beside its real-against-real floor."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dlsuite.analysis.evaluation import choose_split
from dlsuite.analysis.gan_statistics import Axes, Row, Summaries, compare, read_pixels, summarise
from dlsuite.analysis.generation import Sampler
from dlsuite.analysis.judged import Judgement, judge
from dlsuite.data.dataset import Dataset, Split, evenly_spaced
from dlsuite.data.pixels import PixelTransform
from dlsuite.errors import DlsuiteError
from dlsuite.models.saved import read_classifier
from dlsuite.recipes.gan import GanRecipe
from dlsuite.wording import counted


@dataclass(frozen=True, eq=False)
class GanEvaluation:
    """Generated images against held-out ones.

    Attributes:
        num_examples: images of each set.
        floor_of: what the floor's other real images are.
        rows: the statistics.
        axes: what the bins of the summaries stand for.
        real, fake, floor: summaries of the three sets.
        images: some of the real and some of the fake ones, for the eye.
        value_range: of stored pixels.
        judgement: what a classifier says of the fakes; None without one.
    """

    num_examples: int
    floor_of: str
    rows: tuple[Row, ...]
    axes: Axes
    real: Summaries
    fake: Summaries
    floor: Summaries
    images: tuple[np.ndarray, np.ndarray] = field(repr=False)
    value_range: tuple[float, float] = (0, 255)
    judgement: Judgement | None = None

    def row(self, name: str) -> Row:
        """Returns the statistic of that name."""
        return next(row for row in self.rows if row.name == name)

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers as plain values; the keys are documented in ``docs/json.md``."""
        return {
            "num_examples": self.num_examples,
            "floor_of": self.floor_of,
            "statistics": [row.to_json() for row in self.rows],
            "classifier": None if self.judgement is None else self.judgement.to_json(),
        }


def evaluate_generator(
    model: keras.Model,
    dataset: Dataset,
    *,
    split: str,
    recipe: GanRecipe,
    batch_size: int,
    progress: Callable[[int], object] | None = None,
    classifier: str | Path | None = None,
    seed: int = 0,
) -> GanEvaluation:
    """Returns the generator's statistics against a split: what `dlsuite.Run.evaluate` gives.

    The floor compares the split with another one, ``validation`` or ``test``, or where there is
    none its two halves. All three sets have the size of the smallest: of a larger split evenly
    spaced images are taken.

    Args:
        model: latent vectors to images as stored.
        dataset: that the run was trained on.
        split: held-out images.
        recipe: of the run.
        batch_size: images generated at a time.
        progress: called with the number of images generated.
        classifier: a classifier's run or ``.keras`` file; what it says is added.
        seed: of what is generated.

    Raises:
        DlsuiteError: no such split, or no classifier of such images.
    """
    real, other, floor_of = _held_out(dataset, split)
    count = len(real)
    judging = None
    if classifier is not None:
        judging = read_classifier(Path(classifier), tuple(model.output_shape[1:]))
    sampler = Sampler(model, seed=seed, batch_size=batch_size)
    parts = []
    for images in sampler.batches(0, count):
        parts.append(images)
        if progress is not None:
            progress(len(images))
    fake = np.concatenate(parts)
    transform = PixelTransform(recipe.pixels, dataset)
    axes, summaries = summarise(real, fake, other)
    rows = compare(
        (real, fake, other),
        summaries,
        limits=transform.limits,
        train=dataset.splits.get("train"),
    )
    judgement = None
    if judging is not None:
        judgement = judge(judging, sampler, real=real, other=other, fake=fake)
        rows += [Row(*row) for row in judgement.rows]
    return GanEvaluation(
        num_examples=count,
        floor_of=floor_of,
        rows=tuple(rows),
        axes=axes,
        real=summaries[0],
        fake=summaries[1],
        floor=summaries[2],
        images=(real[:32], fake[:32]),
        value_range=tuple(dataset.value_range),
        judgement=judgement,
    )


def _held_out(dataset: Dataset, name: str) -> tuple[np.ndarray, np.ndarray, str]:
    """The split's images, as many other real ones, and what those are."""
    split = choose_split(dataset, name)
    others = [other for other in ("validation", "test") if other != name]
    second = next((dataset.splits[other] for other in others if other in dataset.splits), None)
    if second is None:
        half = split.num_examples // 2
        _check_count(half, split)
        # classes lie one after the other in many a split; of maps, neighbours share a parent
        every, apart = (2, 1) if dataset.class_names else (1, half)
        halves = [np.arange(start, start + every * half, every) for start in (0, apart)]
        return *(read_pixels(split, half) for half in halves), f"the other half of {name}"
    count = min(split.num_examples, second.num_examples)
    _check_count(count, min(split, second, key=lambda s: s.num_examples))
    return _evenly(split, count), _evenly(second, count), second.name


def _check_count(count: int, smallest: Split) -> None:
    """Checks that there is something to compare.

    Raises:
        DlsuiteError: there isn't.
    """
    if count < 2:
        raise DlsuiteError(
            "Generated images are compared with at least two real ones, and these with two others. "
            f"Received: {counted(smallest.num_examples, 'image')} in the split {smallest.name}. "
            "Evaluate on a larger one with --split or --data."
        )


def _evenly(split: Split, count: int) -> np.ndarray:
    return read_pixels(split, evenly_spaced(split.num_examples, count))
