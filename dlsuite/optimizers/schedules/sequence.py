"""Schedules one after the other."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import SCHEDULES
from dlsuite.optimizers.options import POSITIVE, Interval
from dlsuite.optimizers.schedules.span import Span

ENTRIES = [
    {
        "name": "sequence",
        "description": "Several schedules one after the other",
        "source": "",
        "note": "phases = [{ name = 'constant', epochs = 10 }, { name = 'cosine', scale = 0.5 }]: "
        "each table takes its schedule's options, the epochs it lasts (the last one may leave them "
        "out) and scale, its peak as a fraction of the learning rate.",
    }
]

# What depends on a metric has no place in a plan of steps, and a phase of phases says nothing
# that a longer list would not.
_NOT_PHASES = ("plateau", "sequence")


@keras.saving.register_keras_serializable("dlsuite")
class Sequence(keras.optimizers.schedules.LearningRateSchedule):
    """Each schedule for its number of steps, the last one for good.

    Args:
        schedules: at least one; each counts its steps from its own beginning.
        lengths: steps of all of them but the last.
    """

    def __init__(
        self, schedules: list[keras.optimizers.schedules.LearningRateSchedule], lengths: list[int]
    ):
        self.schedules = list(schedules)
        self.lengths = list(lengths)

    def __call__(self, step):
        """Returns the learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        learning_rate = self.schedules[0](step)
        start = 0
        for length, schedule in zip(self.lengths, self.schedules[1:], strict=True):
            start += length
            later = schedule(ops.maximum(step - start, 0.0))
            learning_rate = ops.where(step >= start, later, learning_rate)
        return learning_rate

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            "schedules": [keras.optimizers.schedules.serialize(each) for each in self.schedules],
            "lengths": self.lengths,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Sequence":
        """Returns the schedule of a configuration."""
        schedules = [keras.optimizers.schedules.deserialize(each) for each in config["schedules"]]
        return cls(schedules, config["lengths"])


def sequence(span: Span, *, phases: list = ()) -> Sequence:
    """Returns the schedules of `phases`, tables with these keys, in their order.

    ``name``, a schedule; ``epochs``, how long, which the last may leave out; ``scale``, its
    peak as a fraction of the whole schedule's; and the named schedule's own options, whose
    epochs count from the phase's beginning.

    Raises:
        DlsuiteError: no phases, a phase that isn't a schedule, or lengths that don't add up.
    """
    if not isinstance(phases, (list, tuple)) or not phases:
        raise DlsuiteError(
            f"{span.where}.phases must be a list of tables. Received: {phases!r}. Write it as "
            "phases = [{ name = 'constant', epochs = 5 }, { name = 'cosine' }]."
        )
    lengths = _lengths(span, phases)
    made = []
    for index, (phase, length) in enumerate(zip(phases, lengths, strict=True)):
        where = f"{span.where}.phases[{index}]"
        options = {k: v for k, v in phase.items() if k not in ("name", "epochs", "scale")}
        SCHEDULES.check_options(phase["name"], options, where)
        scale = span.check(
            f"phases[{index}].scale",
            phase.get("scale", 1.0),
            Interval(low=0, high=1, low_open=True),
        )
        inner = replace(
            span,
            learning_rate=span.learning_rate * scale,
            steps=length,
            first_epoch=0.0,
            where=where,
        )
        made.append(SCHEDULES.load(phase["name"])(inner, **options))
    return Sequence(made, lengths[:-1])


def _lengths(span: Span, phases: list[Mapping[str, Any]]) -> list[int]:
    lengths = []
    for index, phase in enumerate(phases):
        name = phase.get("name") if isinstance(phase, Mapping) else None
        if not isinstance(name, str) or name in _NOT_PHASES:
            raise DlsuiteError(
                f"{span.where}.phases[{index}] must name a schedule other than "
                f"{' and '.join(_NOT_PHASES)}. Received: {phase!r}. "
                "List them with `dlsuite optimizers`."
            )
        if "epochs" not in phase and index == len(phases) - 1:
            lengths.append(span.steps - sum(lengths))
        else:
            epochs = span.check(f"phases[{index}].epochs", phase.get("epochs"), POSITIVE)
            lengths.append(round(epochs * span.steps_per_epoch))
    if min(lengths) < 1 or sum(lengths) != span.steps:
        said = " + ".join(f"{length / span.steps_per_epoch:g}" for length in lengths)
        raise DlsuiteError(
            f"The epochs of {span.where}.phases must add up to the "
            f"{span.steps / span.steps_per_epoch:g} that follow warm-up, each phase at least one "
            f"step. Received: {said}. Change them, or leave out `epochs` of the last phase."
        )
    return lengths
