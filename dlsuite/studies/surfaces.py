"""Surfaces over a plane on which an optimizer's path can be seen; known without TensorFlow.

They show how an update behaves; they say little about training networks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dlsuite.errors import DlsuiteError

PROBLEMS = {
    "quadratic": "a bowl; quadratic:100 has the condition number 100",
    "rosenbrock": "a curved valley, Rosenbrock 1960",
    "beale": "a plateau with steep walls, Beale 1958",
    "saddle": "a ridge into a saddle between two minima",
    "ravine": "a winding ravine",
    "rastrigin": "a bowl full of local minima, Rastrigin 1974",
}
DEFAULT_CONDITION = 20


def is_on_paper(problem: str) -> bool:
    """Returns whether a name stands for a problem on paper."""
    return problem.partition(":")[0] in PROBLEMS


@dataclass(frozen=True)
class Surface:
    """A function of the plane.

    Attributes:
        value: takes x and y, tensors or arrays, and returns f; written with operators alone,
            and `sin`, `cos` and `exp` of the module it is given.
        start: where paths begin, apart from the seed's shift.
        minima: where it is lowest.
        lowest: f there.
        view: x from, x to, y from, y to.
    """

    value: Callable
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    lowest: float
    view: tuple[float, float, float, float]


def _rosenbrock(x, y, module):
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _beale(x, y, module):
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def _saddle(x, y, module):
    return 0.5 * x**2 - 0.5 * y**2 + 0.25 * y**4


def _ravine(x, y, module):
    return 0.05 * x**2 + 10 * (y - 0.5 * module.sin(x)) ** 2


def _rastrigin(x, y, module):
    return 20 + x**2 - 10 * module.cos(2 * np.pi * x) + y**2 - 10 * module.cos(2 * np.pi * y)


def surface(problem: str) -> Surface:
    """Returns the surface of a problem's name, such as ``rosenbrock`` or ``quadratic:100``.

    Raises:
        DlsuiteError: a condition number below 1 or none.
    """
    name, _, number = problem.partition(":")
    if name == "quadratic":
        condition = _condition(number or str(DEFAULT_CONDITION), problem)
        return Surface(
            lambda x, y, module: 0.5 * (x**2 + condition * y**2),
            (-4.0, 2.0), ((0.0, 0.0),), 0.0, (-5, 5, -3, 3),
        )  # fmt: skip
    return {
        "rosenbrock": Surface(_rosenbrock, (-1.5, 1.5), ((1.0, 1.0),), 0.0, (-2, 2, -1, 3)),
        "beale": Surface(_beale, (1.0, 1.5), ((3.0, 0.5),), 0.0, (-1, 4.5, -2, 2)),
        # paths begin beside the ridge that leads into the saddle
        "saddle": Surface(
            _saddle, (-1.5, 0.02), ((0.0, 1.0), (0.0, -1.0)), -0.25, (-2, 2, -1.7, 1.7)
        ),
        "ravine": Surface(_ravine, (-5.0, 1.5), ((0.0, 0.0),), 0.0, (-6, 3, -2, 2)),
        "rastrigin": Surface(_rastrigin, (3.3, 2.3), ((0.0, 0.0),), 0.0, (-4.5, 4.5, -4.5, 4.5)),
    }[name]


def _condition(text: str, problem: str) -> float:
    try:
        condition = float(text)
    except ValueError:
        condition = 0.0
    if not 1 <= condition < np.inf:
        raise DlsuiteError(
            f"A quadratic's condition number is at least 1. Received: {problem!r}. "
            "Example: quadratic:100"
        )
    return condition
