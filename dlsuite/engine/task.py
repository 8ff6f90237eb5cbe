"""The engine's contract with a task."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import keras
import tensorflow as tf

from dlsuite.recipes.schema import Recipe


class Task(Protocol):
    """What the engine asks of a task (see `dlsuite.tasks`).

    Attributes:
        recipe: the resolved recipe.
        model: has ``train_step``, ``test_step`` and ``metrics``.
        optimizers: all that the steps use, built, each with the variables it was built on. The
            learning rate of the first is recorded.
        exported: the functional model that users get, without optimizer and loss; its layers
            are those of `model`.
        averages: Keras's callback that swaps averaged weights into `model`, if there is one.
        features: name of an intermediate feature to the layer of `exported` whose output it is.
        step_size: examples of the training split that a step takes.
        steps_per_epoch: steps an epoch.
        metrics: columns of the history that may decide which epoch is best.
        notes: sentences for the user on the data and the network.
    """

    recipe: Recipe
    model: keras.Model
    optimizers: Sequence[tuple[keras.optimizers.Optimizer, Sequence[keras.Variable]]]
    exported: keras.Model
    averages: keras.callbacks.SwapEMAWeights | None
    features: Mapping[str, str]
    step_size: int
    steps_per_epoch: int
    metrics: Sequence[str]
    notes: Sequence[str]

    def training_data(
        self, start_step: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> tf.data.Dataset: ...

    def validation_data(self, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset: ...

    def callbacks(self) -> list[keras.callbacks.Callback]: ...
