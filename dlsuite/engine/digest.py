"""A hash of a model's weights, by which two trainings are compared bit for bit."""

import hashlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from dlsuite.engine.loop import Block

# A run records the hash at the end of the first call that reaches each of these steps.
_MARKS = (1, 10, 100)


def weights_digest(model: keras.Model) -> str:
    """Returns the BLAKE2b hash (128 bits, hexadecimal) of a model's weights.

    Of shapes, types and bytes in the model's order, moving statistics included; of several
    replicas the first. Names are left out, since Keras counts up those of unnamed layers.
    """
    digest = hashlib.blake2b(digest_size=16)
    for weight in model.weights:
        value = np.ascontiguousarray(weight.numpy())
        digest.update(f"{value.dtype} {value.shape} ".encode())
        digest.update(value.data)
    return digest.hexdigest()


def is_recorded(block: Block) -> bool:
    """Whether a run records the hash of its weights after this block."""
    return any(block.step - block.count < mark <= block.step for mark in _MARKS)


class StopAfter(keras.callbacks.Callback):
    """Takes the hash of the weights after each of some steps, and ends the training there.

    Args:
        steps: counted from the training's first, 1.

    Attributes:
        found: the hashes by step.
    """

    # blocks of one step: a block's end must not pass one of the steps
    every_step = True

    def __init__(self, steps: Sequence[int]):
        super().__init__()
        self._steps = set(steps)
        self._begin = 0
        self.found: dict[int, str] = {}

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._begin = epoch * self.params["steps"]

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        step = self._begin + batch + 1  # steps that are left out count, and come to no batch's end
        if step in self._steps:
            self.found[step] = weights_digest(self.model)
        if step >= max(self._steps):
            self.model.stop_training = True
