"""Names of the problems on paper, known without TensorFlow."""

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
