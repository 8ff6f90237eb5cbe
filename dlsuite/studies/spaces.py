"""What is tuned of each optimizer, and the quasi-random points that are tried.

A space maps a parameter to a `Range` or to a fixed number. All optimizers are tried at the same
points of the unit cube: those that share a parameter and its range get the same values of it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from dlsuite.errors import DlsuiteError, unknown_name
from dlsuite.optimizers import OPTIMIZERS
from dlsuite.optimizers.options import OPTIMIZER_RULES, check_value

# Column of the unit cube of each parameter. What plays the same part has the same column.
_COLUMNS = {"learning_rate": 0, "momentum": 1, "beta_1": 1, "weight_decay": 2, "epsilon": 3}
_OTHERS = 4
# Read once, as the optimizer's state is made; a compiled step has no use for them.
_NOT_TUNED = ("initial_accumulator_value",)
_DIMENSIONS = 8


class Range(BaseModel):
    """An interval of a parameter.

    Attributes:
        low: lower end.
        high: upper end.
        scale: ``log`` is uniform in log x, ``complement`` uniform in log(1 - x).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float
    high: float
    scale: Literal["log", "complement"] = "log"

    def at(self, unit: float) -> float:
        """Returns the value at a place between 0, the lower end, and 1, the upper."""
        if self.scale == "complement":
            return 1 - math.exp(_between(math.log(1 - self.low), math.log(1 - self.high), unit))
        return math.exp(_between(math.log(self.low), math.log(self.high), unit))

    def place(self, value: float) -> float:
        """Returns where between the ends a value lies: the inverse of `at`."""
        if self.scale == "complement":
            return math.log((1 - value) / (1 - self.low)) / math.log(
                (1 - self.high) / (1 - self.low)
            )
        return math.log(value / self.low) / math.log(self.high / self.low)

    def __str__(self) -> str:
        return f"{self.low:.3g} to {self.high:.3g}"


Space = Mapping[str, Range | float]

_SGD_RATE = Range(low=1e-3, high=1.0)
_ADAPTIVE_RATE = Range(low=1e-4, high=1e-1)
_MOMENTUM = Range(low=0.8, high=0.98, scale="complement")
_DECAY = Range(low=1e-3, high=1e-1)
# off the rows that couple to the schedule alone, lambda is a share of the weight
_SCHEDULE_DECAY = Range(low=1e-6, high=1e-3)

SPACES: Mapping[str, Space] = {
    "sgd": {"learning_rate": _SGD_RATE},
    "momentum": {"learning_rate": _SGD_RATE, "momentum": _MOMENTUM},
    "nesterov": {"learning_rate": _SGD_RATE, "momentum": _MOMENTUM},
    "sgdw": {
        "learning_rate": _SGD_RATE,
        "momentum": _MOMENTUM,
        "weight_decay": _SCHEDULE_DECAY,
    },
    "adagrad": {"learning_rate": _SGD_RATE},
    "adadelta": {"learning_rate": Range(low=1e-2, high=10.0)},
    "rmsprop": {"learning_rate": _ADAPTIVE_RATE},
    "adam": {"learning_rate": _ADAPTIVE_RATE, "beta_1": _MOMENTUM},
    "amsgrad": {"learning_rate": _ADAPTIVE_RATE, "beta_1": _MOMENTUM},
    "adamax": {"learning_rate": _ADAPTIVE_RATE, "beta_1": _MOMENTUM},
    "nadam": {"learning_rate": _ADAPTIVE_RATE, "beta_1": _MOMENTUM},
    "adamw": {
        "learning_rate": _ADAPTIVE_RATE,
        "beta_1": _MOMENTUM,
        "weight_decay": _DECAY,
    },
    "adamw-paper": {
        "learning_rate": _ADAPTIVE_RATE,
        "beta_1": _MOMENTUM,
        "weight_decay": _SCHEDULE_DECAY,
    },
    "lion": {"learning_rate": Range(low=1e-5, high=1e-2)},
    "lamb": {"learning_rate": _ADAPTIVE_RATE},
    "muon": {"learning_rate": _ADAPTIVE_RATE},
    "adafactor": {"learning_rate": Range(low=1e-3, high=1e-1)},
}

# A general method and the special cases that its update contains.
SPECIAL_CASES = {
    "momentum": ("sgd",),
    "nesterov": ("sgd",),
    "sgdw": ("momentum", "sgd"),
    "adamw": ("adam",),
    "adamw-paper": ("adam",),
}


def declared_space(optimizer: str) -> Space:
    """Returns the space of an optimizer; of one without its own, its rate over three decades.

    Raises:
        DlsuiteError: no such optimizer, or one from a plug-in without a default rate.
    """
    entry = OPTIMIZERS[optimizer]
    if optimizer in SPACES:
        return SPACES[optimizer]
    rate = entry.details.get("learning_rate")
    if rate is None:
        raise DlsuiteError(
            "An optimizer without a default rate needs a space to be tuned in. Received: "
            f"{optimizer!r}. Give one: --space {optimizer}.learning_rate=1e-4:1e-1"
        )
    return {"learning_rate": Range(low=rate / 30, high=rate * 30)}


def with_spaces(
    optimizers: Mapping[str, str], settings: Sequence[str]
) -> dict[str, dict[str, Range | float]]:
    """Returns the space of each contender, by its label.

    Args:
        optimizers: label to the name of its optimizer.
        settings: ``LABEL.PARAMETER=LOW:HIGH`` or ``LABEL.PARAMETER=VALUE`` each.

    Raises:
        DlsuiteError: a setting of another form, an unknown label or parameter, an empty range or
            one outside of what the parameter may be.
    """
    parsed = [(_parse(setting), setting) for setting in settings]
    given: dict[str, dict[str, Range | float]] = {label: {} for label in optimizers}
    for (label, parameter, value), setting in parsed:
        if label not in optimizers:
            raise unknown_name(
                "contender of --space", label, optimizers, f"Contenders: {', '.join(optimizers)}."
            )
        _check(optimizers[label], parameter, value, setting)
        given[label][parameter] = value
    spaces = {}
    for label, optimizer in optimizers.items():
        own = {} if "learning_rate" in given[label] else declared_space(optimizer)
        if optimizer in SPACES:
            own = SPACES[optimizer]
        spaces[label] = {**own, **given[label]}
    return spaces


def defaults(optimizer: str, space: Space) -> dict[str, float]:
    """Returns the untuned values of a space's parameters: the table's, fixed ones as fixed."""
    entry = OPTIMIZERS[optimizer]
    known = {**entry.options, **entry.details}
    values = {}
    for parameter, wanted in space.items():
        if isinstance(wanted, Range):
            default = known.get(parameter)
            values[parameter] = wanted.at(0.5) if default is None else float(default)
        else:
            values[parameter] = wanted
    return values


def unit_points(number: int, *, seed: Sequence[int]) -> np.ndarray:
    """Returns the first points of a scrambled Sobol sequence, shape (number, 8), in [0, 1).

    Args:
        number: of points.
        seed: whole numbers that decide the scrambling.
    """
    from scipy.stats import qmc

    rng = np.random.default_rng(np.random.SeedSequence(list(seed)))
    sequence = qmc.Sobol(_DIMENSIONS, scramble=True, rng=rng)
    return sequence.random_base2(math.ceil(math.log2(max(number, 1))))[:number]


def point(space: Space, unit: np.ndarray) -> dict[str, float]:
    """Returns the parameters' values at a point of the unit cube, shape (8,)."""
    others = [name for name in sorted(space) if name not in _COLUMNS]
    columns = _COLUMNS | {name: _OTHERS + index for index, name in enumerate(others)}
    return {
        name: wanted.at(float(unit[columns[name] % _DIMENSIONS]))
        if isinstance(wanted, Range)
        else wanted
        for name, wanted in space.items()
    }


def _between(low: float, high: float, unit: float) -> float:
    return low + (high - low) * unit


def _parse(setting: str) -> tuple[str, str, Range | float]:
    name, equals, text = setting.partition("=")
    label, dot, parameter = name.strip().rpartition(".")
    low, colon, high = text.partition(":")
    try:
        if not (equals and dot):
            raise ValueError
        if not colon:
            return label, parameter, float(low)
        bounds = float(low), float(high)
    except ValueError:
        raise DlsuiteError(
            "A space is written CONTENDER.PARAMETER=LOW:HIGH, or =VALUE to fix it. "
            f"Received: {setting!r}. Example: --space adam.learning_rate=1e-4:1e-1"
        ) from None
    if not bounds[0] < bounds[1]:
        raise DlsuiteError(
            f"A space must not be empty: LOW is less than HIGH. Received: {setting!r}. Give "
            f"{parameter}={bounds[1]:g}:{bounds[0]:g}, or one value to fix it."
        )
    scale = "complement" if parameter in ("momentum", "beta_1", "beta_2", "rho") else "log"
    return label, parameter, Range(low=bounds[0], high=bounds[1], scale=scale)


def _check(optimizer: str, parameter: str, value: Range | float, setting: str) -> None:
    declared = ("learning_rate", "weight_decay")
    known = [*declared, *OPTIMIZERS[optimizer].options]
    if parameter not in known:
        raise unknown_name(
            f"parameter of {optimizer!r}", parameter, known, f"It takes: {', '.join(known)}."
        )
    if isinstance(value, Range) and parameter in _NOT_TUNED:
        raise DlsuiteError(
            f"A race tunes what every step reads, and {parameter} is where the state begins. "
            f"Received: {setting!r}. Fix it: {setting.partition('=')[0]}={value.low:g}"
        )
    ends = (value.low, value.high) if isinstance(value, Range) else (value,)
    if isinstance(value, Range) and value.scale == "log" and value.low <= 0:
        raise DlsuiteError(
            f"A range is drawn in its logarithm and begins above 0. Received: {setting!r}. "
            "Raise its lower end."
        )
    for end in ends:
        if parameter in declared:
            if not (math.isfinite(end) and (end > 0 or (parameter != declared[0] and end == 0))):
                raise DlsuiteError(
                    f"{parameter} must be a positive number. Received: {setting!r}. Change it."
                )
        else:
            own = f"{optimizer}.{parameter}"
            rule = OPTIMIZER_RULES.get(own) or OPTIMIZER_RULES.get(parameter)
            if rule is None:
                continue  # a plug-in's own parameter
            if rule in (bool, list):
                raise DlsuiteError(
                    f"A space holds numbers, and {parameter} is none. Received: {setting!r}. "
                    "Leave it at its default."
                )
            check_value(parameter, end, rule)
