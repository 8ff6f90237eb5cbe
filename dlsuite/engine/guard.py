"""What happens where numbers stop being finite: the block is replayed, the layer is named.

A block of many steps is one compiled call, so that a NaN shows only when it has ended and the
weights are spoilt. The guard keeps the state from before each block. From there it replays the
block a step at a time, which repeats every bit, stops before the step that went wrong, and
carries that step out once more by hand to see which layer's output was the first that is not
finite.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from dlsuite.engine.state import State
from dlsuite.engine.workers import Workers

Optimizers = Sequence[tuple[keras.optimizers.Optimizer, Sequence[keras.Variable]]]

# Steps left out in a row after which it is not the data that is to blame.
MOST_SKIPPED_IN_A_ROW = 10


@dataclass(frozen=True)
class Fault:
    """A training step whose metrics, updated weights or optimizer's variables are not finite.

    Attributes:
        step: its number, counted from 1 in the run.
        place: what was the first that is not finite: ``the output of the layer conv2d_3``.
        is_skipped: whether the training goes on without it.
    """

    step: int
    place: str
    is_skipped: bool


class Guard:
    """Keeps the state before each block and goes back to it.

    Args:
        model: what is trained.
        optimizers: all that its ``train_step`` uses, each with its variables.
        state: of both.
        batches: given a step, returns the infinite batches from there on.
        skips: whether a faulty step is left out instead of ending the run.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizers: Optimizers,
        state: State,
        batches: Callable[[int], tf.data.Dataset],
        *,
        skips: bool = False,
    ):
        self._model = model
        self._optimizers = optimizers
        self._state = state
        self._batches = batches
        self._skips = skips
        self._workers = Workers(tf.distribute.get_strategy())
        self._before: dict[str, tf.Tensor] = {}

    def remember(self) -> None:
        """Keeps the state as it stands, before a block."""
        self._before = self._state.snapshot()

    def replay(
        self,
        run: Callable[[Iterator, int], Any],
        start: int,
        count: int,
        *,
        skipped_in_a_row: int = 0,
    ) -> tuple[Iterator, list[Any], Fault | None]:
        """Goes back to where the block began and on, a step at a time, to the faulty step.

        The state then stands before that step.

        Args:
            run: runs one step, of the number given, on the next batch; returns a block.
            start: steps done before the block.
            count: steps in it.
            skipped_in_a_row: steps left out right before the block.

        Returns:
            The batches from where the training goes on, the blocks of the steps before the fault,
            and the fault: None where it did not come again, as on a GPU it may not.
        """
        self._state.put_back(self._before)
        iterator, blocks = iter(self._batches(start)), []
        for step in range(start, start + count):
            before = self._state.snapshot()
            block = run(iterator, step)
            if block.is_finite:
                blocks.append(block)
                continue
            self._state.put_back(before)
            place = self._find(step)
            self._state.put_back(before)
            before_it = 0 if blocks else skipped_in_a_row
            is_skipped = self._skips and before_it < MOST_SKIPPED_IN_A_ROW
            return iter(self._batches(step + 1)), blocks, Fault(step + 1, place, is_skipped)
        return iterator, blocks, None

    def _find(self, step: int) -> str:
        """What of a step is the first that is not finite; carries the step out, uncompiled."""
        batch = next(iter(self._batches(step)))
        strategy = tf.distribute.get_strategy()
        places: list[tuple[int, str]] = []
        if not all(map(_is_finite, strategy.experimental_local_results(batch))):
            places.append((0, "the batch itself"))
        with _watched(self._model, self._optimizers, places):
            strategy.run(self._model.train_step, args=(batch,))
        # the earliest of all replicas: those that it spread to met it later, others not at all
        number, place = min(places, default=(0, ""))
        found = self._workers.texts(f"{number:09d} {place}" if place else "")
        earliest = min(filter(None, found), default="")
        return earliest[10:] or "the loss, or a weight or the optimizer's state after the update"


@contextmanager
def _watched(
    model: keras.Model, optimizers: Optimizers, places: list[tuple[int, str]]
) -> Iterator[None]:
    """Notes outputs and gradients that are not finite, numbered in the order of their replica."""
    looked_at: Counter[int] = Counter()

    def look_at(values: Any, place: str) -> None:
        replica = int(tf.distribute.get_replica_context().replica_id_in_sync_group)
        looked_at[replica] += 1
        if not _is_finite(values):
            places.append((looked_at[replica], place))

    def watch_layer(layer: keras.Layer) -> None:
        call = layer.call

        def watched(*arguments, **options):
            outputs = call(*arguments, **options)
            look_at(outputs, f"the output of the layer {layer.name}")
            return outputs

        layer.call = watched

    def watch_optimizer(optimizer: keras.optimizers.Optimizer, variables) -> None:
        apply = optimizer.apply

        def watched(grads, trainable_variables=None):
            grads = list(grads)
            named = list(zip(grads, trainable_variables or variables, strict=True))
            # the gradient comes from the network's end
            for grad, variable in reversed(named):
                if grad is not None:
                    look_at(grad, f"the gradient of {variable.path}")
            apply(grads, trainable_variables)

        optimizer.apply = watched

    # an inner layer ends before the one that holds it, so all may be watched
    layers = [layer for layer in model._flatten_layers(include_self=False)]
    prepared = [vars(optimizer).get("apply") for optimizer, _ in optimizers]
    for layer in layers:
        watch_layer(layer)
    for optimizer, variables in optimizers:
        # with a loss scale an overflow is nothing amiss: the step is left out and the scale halved
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            watch_optimizer(optimizer, variables)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call
        for (optimizer, _), apply in zip(optimizers, prepared, strict=True):
            vars(optimizer).pop("apply", None)
            if apply is not None:
                optimizer.apply = apply


def _is_finite(values: Any) -> bool:
    """Whether all numbers in a nest of tensors are."""
    tensors = [tf.convert_to_tensor(value) for value in tf.nest.flatten(values)]
    return all(
        bool(tf.reduce_all(tf.math.is_finite(tensor)))
        for tensor in tensors
        if tensor.dtype.is_floating
    )
