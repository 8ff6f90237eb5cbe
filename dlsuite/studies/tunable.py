"""An optimizer whose hyper-parameters are variables: one compiled step serves all trials."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import OPTIMIZERS
from dlsuite.optimizers.build import build_optimizer, build_schedule
from dlsuite.recipes import schema
from dlsuite.studies.plan import Contender
from dlsuite.studies.spaces import Range


class _Parameter(keras.Variable):
    """A hyper-parameter that a compiled step reads anew in each call.

    Keras asks once, while it traces, whether momentum is used at all: here it always is.
    """

    def __ne__(self, other: object) -> bool:
        return True

    def __gt__(self, other: object) -> bool:
        return True

    __hash__ = keras.Variable.__hash__


class _Scaled(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of peak 1 times a peak that is a variable."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule):
        self.peak = keras.Variable(1.0, name="peak_learning_rate")
        self._schedule = schedule

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return tf.convert_to_tensor(self.peak) * self._schedule(step)


class TunableOptimizer:
    """A contender's Keras optimizer, built once on a model's variables and reset a trial.

    Args:
        contender: names the optimizer, the schedule and what varies.
        variables: what is trained.
        steps: of a trial, which the schedule spans.
        clipping: settings of `schema.Optimizer` that belong to the problem, such as clip_norm.

    Attributes:
        optimizer: the Keras optimizer.
        state_values: numbers it keeps for each weight.

    Raises:
        DlsuiteError: what `build_optimizer` refuses, or a range of what the optimizer has not.
    """

    def __init__(
        self,
        contender: Contender,
        variables: list[keras.Variable],
        *,
        steps: int,
        clipping: Mapping[str, float] | None = None,
    ):
        entry = OPTIMIZERS[contender.optimizer]
        self._by_schedule = entry.details.get("coupling") == "schedule"
        begin = dict(contender.defaults)
        begin.setdefault("learning_rate", entry.details.get("learning_rate") or 1e-3)
        if self._by_schedule:
            begin.setdefault("weight_decay", entry.details["weight_decay"])
        if contender.space.get("weight_decay"):
            begin["weight_decay"] = begin["weight_decay"] or 1e-4  # there, whatever its value
        settings = schema.Optimizer.model_validate(
            {"name": contender.optimizer, **(clipping or {}), **begin}
        )
        constant = schema.Schedule(name="constant")
        self.optimizer = build_optimizer(settings, constant, steps_per_epoch=steps, epochs=1)
        if contender.schedule != "none":
            schedule = build_schedule(
                schema.Schedule(name=contender.schedule),
                learning_rate=1.0,
                steps_per_epoch=steps,
                epochs=1,
            )
            self._rate = _Scaled(schedule)
            self.optimizer.learning_rate = self._rate
        self._begin = begin
        self._parameters = {}
        for name in begin:
            if name != "learning_rate" and isinstance(getattr(self.optimizer, name, None), float):
                self._parameters[name] = _Parameter(begin[name], name=name)
                setattr(self.optimizer, name, self._parameters[name])
                if isinstance(getattr(self.optimizer, f"adam_{name}", None), float):
                    # Muon's decay of what its inner Adam trains is the same
                    setattr(self.optimizer, f"adam_{name}", self._parameters[name])
        for name, wanted in contender.space.items():
            if isinstance(wanted, Range) and name not in {"learning_rate", *self._parameters}:
                raise DlsuiteError(
                    "What is tuned must be an attribute of the Keras optimizer, a float. Received: "
                    f"{contender.label}.{name}, and {type(self.optimizer).__name__} has none. Fix "
                    f"it by --space {contender.label}.{name}=VALUE, or hand it to the optimizer."
                )
        self.optimizer.build(variables)
        self._initial = [(variable, variable.numpy()) for variable in self._state()]
        weights = sum(int(np.prod(variable.shape)) for variable in variables)
        kept = sum(value.size for _, value in self._initial if value.ndim) / weights
        self.state_values = round(kept, 3)

    def reset(self, parameters: Mapping[str, float]) -> None:
        """Brings the optimizer to its first step with these hyper-parameters."""
        for variable, value in self._initial:
            variable.assign(value)
        values = self._begin | dict(parameters)
        rate = values["learning_rate"]
        if isinstance(self.optimizer._learning_rate, _Scaled):
            self._rate.peak.assign(rate)
        else:
            self.optimizer.learning_rate = rate
        for name, variable in self._parameters.items():
            # Keras multiplies a decay by the rate, which the schedule's alone has to be rid of
            by_rate = name == "weight_decay" and self._by_schedule
            variable.assign(values[name] / rate if by_rate else values[name])

    def _state(self) -> list[keras.Variable]:
        """All that an update changes: Keras keeps some of it, Nadam's product, out of its list."""
        held = [value for value in vars(self.optimizer).values() if _is_state(value)]
        together = {id(variable): variable for variable in (*self.optimizer.variables, *held)}
        return list(together.values())


def check_contenders(
    contenders: Sequence[Contender], *, steps: int, clipping: Mapping[str, float] | None = None
) -> None:
    """Has every contender make an update, so that none of them ends a race in its middle.

    Args:
        contenders: who takes part.
        steps: of a trial.
        clipping: see `TunableOptimizer`.

    Raises:
        DlsuiteError: one of them can't be built or can't update a weight.
    """
    for contender in contenders:
        weights = [keras.Variable(np.zeros((2, 3), np.float32), name="kernel")]
        try:
            made = TunableOptimizer(contender, weights, steps=steps, clipping=clipping)
            _update(made.optimizer, weights)
        except DlsuiteError:
            raise
        except Exception as error:  # a plug-in's function may raise anything
            raise DlsuiteError(
                "Every contender must make an update before the race. Received: "
                f"{contender.label}, which ends in {type(error).__name__}: {error}. "
                "Mend its optimizer or its space."
            ) from error


def _update(optimizer: keras.optimizers.Optimizer, weights: list[keras.Variable]) -> None:
    """One update, traced as a training's is."""
    update = tf.function(lambda: optimizer.apply([tf.zeros(w.shape) for w in weights], weights))
    # not by calling it: TensorFlow warns of functions that are made again and again
    update.get_concrete_function()()


def _is_state(value: object) -> bool:
    return isinstance(value, keras.Variable) and not isinstance(value, _Parameter)
