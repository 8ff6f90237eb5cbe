"""Checks of option values, each by one rule that the message states."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlsuite.errors import DlsuiteError


@dataclass(frozen=True)
class Interval:
    """A range of numbers.

    Attributes:
        low: lower end; None is no lower end.
        high: upper end; None is no upper end.
        low_open: whether the lower end itself is outside.
        high_open: whether the upper end itself is outside.
        whole: whether only integers are inside.
    """

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        # bool is an int in Python, and never a number in a recipe
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        if self.low is not None and not (value > self.low if self.low_open else value >= self.low):
            return False
        if self.high is None:
            return value < float("inf")
        return value < self.high if self.high_open else value <= self.high

    def __str__(self) -> str:
        said = "an integer" if self.whole else "a number"
        bounds = []
        if self.low is not None:
            bounds.append(f"{'above' if self.low_open else 'at least'} {self.low:g}")
        if self.high is not None:
            bounds.append(f"{'below' if self.high_open else 'at most'} {self.high:g}")
        return " ".join([said, " and ".join(bounds)]).strip()


POSITIVE = Interval(low=0, low_open=True)
NON_NEGATIVE = Interval(low=0)
FRACTION = Interval(low=0, high=1)
DECAY = Interval(low=0, high=1, high_open=True)
OPEN_FRACTION = Interval(low=0, high=1, low_open=True, high_open=True)
COUNT = Interval(low=1, whole=True)

# An option has one rule for all optimizers, unless "optimizer.option" says otherwise.
OPTIMIZER_RULES: Mapping[str, Interval | type] = {
    "momentum": DECAY,
    "rho": DECAY,
    "beta_1": DECAY,
    # at 0 it would be the sign of the gradient alone, which Keras refuses
    "lion.beta_1": OPEN_FRACTION,
    "beta_2": DECAY,
    "adam_beta_1": DECAY,
    "adam_beta_2": DECAY,
    "epsilon": POSITIVE,
    "epsilon_1": POSITIVE,
    "epsilon_2": POSITIVE,
    "initial_accumulator_value": NON_NEGATIVE,
    "beta_2_decay": Interval(high=0, high_open=True),
    "clip_threshold": POSITIVE,
    "rms_rate": POSITIVE,
    "ns_steps": COUNT,
    "nesterov": bool,
    "centered": bool,
    "normalized": bool,
    "exclude_layers": list,
}


def check_value(where: str, value: Any, rule: Interval | type) -> Any:
    """Returns the value, a number as float unless the rule asks for integers.

    Args:
        where: how the message calls the option, such as ``optimizer.beta_1``.
        value: what the recipe says.
        rule: the range of a number, `bool`, or `list` for a list of texts.

    Raises:
        DlsuiteError: the value breaks the rule.
    """
    if isinstance(rule, Interval):
        if value in rule:
            return value if rule.whole else float(value)
        expected = str(rule)
    elif rule is bool:
        if isinstance(value, bool):
            return value
        expected = "true or false"
    else:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        expected = "a list of texts"
    raise DlsuiteError(
        f"{where} must be {expected}. Received: {value!r}. Change or remove it in the recipe."
    )
