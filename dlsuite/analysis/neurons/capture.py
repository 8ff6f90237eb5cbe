"""Activations of chosen layers, while a model computes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import ACTIVATIONS, Place, calls_replaced
from dlsuite.analysis.neurons.subject import Subject

Edit = Callable[[tf.Tensor], tf.Tensor]


class _Reached(BaseException):
    """Ends a forward pass behind the last layer that is wanted.

    No Exception, which Keras would wrap in a text of its own.
    """


@dataclass
class Captured:
    """What one place gave, float32.

    Attributes:
        before: the input of its activation function, where it has one; else its output.
        after: its output.
    """

    before: tf.Tensor
    after: tf.Tensor


def capture(
    subject: Subject,
    inputs: tf.Tensor,
    places: Sequence[Place],
    *,
    whole: bool = False,
    edits: Mapping[str, Edit] | None = None,
) -> dict[str, Captured]:
    """Returns the activations of places for inputs as stored, by the places' names.

    To be called eagerly, within a gradient tape, or while a `tf.function` is traced; what lies
    behind the last place is then neither traced nor computed.

    Args:
        subject: its model is the same before and after.
        inputs: (B, H, W, C) or (B, D).
        places: of the model's `Anatomy`.
        whole: compute to the end even so, with the model's output under ``""``.
        edits: by a place's name, what its output is replaced by before the model goes on.
    """
    edits = dict(edits or {})
    wanted = {(id(place.layer), place.use): place for place in places}
    changed = {
        (id(place.layer), place.use): edits[place.name] for place in places if place.name in edits
    }
    uses: dict[int, int] = {}
    found: dict[str, Captured] = {}
    seen_by_activation: dict[int, tf.Tensor] = {}

    def recording(name: str, layer: keras.Operation, call: Callable[..., Any]):
        def record(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            inputs = [x for x in keras.tree.flatten((args, kwargs)) if tf.is_tensor(x)]
            if any(output is x for x in inputs):
                return output  # as in `Anatomy`, a use that computes nothing is none
            use = uses[id(layer)] = uses.get(id(layer), 0) + 1
            place = wanted.get((id(layer), use))
            if place is None:
                return output
            if (id(layer), use) in changed:
                output = tf.cast(changed[id(layer), use](output), output.dtype)
            before = output
            if isinstance(layer, ACTIVATIONS):
                before = inputs[0]
            elif id(layer) in seen_by_activation:
                before = seen_by_activation[id(layer)]
            found[place.name] = Captured(tf.cast(before, tf.float32), tf.cast(output, tf.float32))
            if len(found) == len(wanted) and not whole:
                raise _Reached
            return output

        return record

    layers = {id(place.layer): place for place in places}.values()
    with ExitStack() as stack:
        for place in layers:
            stack.enter_context(_activation_watched(place.layer, seen_by_activation))
        watched = {place.name: place.layer for place in layers}
        stack.enter_context(calls_replaced(watched, recording))
        try:
            output = subject.forward(inputs)
            if whole:
                found[""] = Captured(output, output)
        except _Reached:
            pass
    return found


@contextmanager
def _activation_watched(layer: keras.Operation, seen: dict[int, tf.Tensor]) -> Iterator[None]:
    """Within it, the input of a layer's own activation function is remembered."""
    activation = None if isinstance(layer, ACTIVATIONS) else vars(layer).get("activation")
    if not callable(activation):
        yield
        return

    def watching(x: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        seen[id(layer)] = x
        return activation(x, *args, **kwargs)

    object.__setattr__(layer, "activation", watching)
    try:
        yield
    finally:
        object.__setattr__(layer, "activation", activation)
