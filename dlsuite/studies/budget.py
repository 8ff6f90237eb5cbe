"""How long a race takes, and how much of one fits into a time."""

import re
from dataclasses import dataclass

from dlsuite.errors import DlsuiteError
from dlsuite.studies.plan import EVALUATIONS, RacePlan, rounded_steps

# Room for what the timing can't see: widened ranges, a busier machine, the report.
_RESERVE = 0.85
_REPORT_S = 10.0
_FEWEST_TRIALS = 2
# Steps of a trial on paper, whose whole path is written and drawn.
_MOST_ON_PAPER = 2000
_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Timing:
    """Seconds that were measured before a race.

    Attributes:
        prepare_s: compiling a contender.
        step_s: a training step.
        evaluate_s: an evaluation on validation and test.
        batch_s: reading and augmenting a batch.
        kept_steps: the longest trials whose batches are read once a seed, ahead of them; those of
            longer ones are read in each.
    """

    prepare_s: float
    step_s: float
    evaluate_s: float
    batch_s: float = 0.0
    kept_steps: int = 0

    def reading(self, plan: RacePlan, workers: int) -> float:
        """Returns the seconds of a race that reading batches takes, for each step of a trial."""
        if plan.steps <= self.kept_steps:
            return plan.num_seeds * self.batch_s
        # on the cores that train, where these are a CPU's
        return plan.num_trials / workers * self.batch_s


def expected_seconds(plan: RacePlan, timing: Timing, *, workers: int = 1) -> float:
    """Returns how long a race will take [s], its report included.

    Args:
        plan: of the race.
        timing: of one worker with the machine to itself.
        workers: that share the trials and don't slow each other; each compiles every contender.
    """
    trial = plan.steps * timing.step_s + (EVALUATIONS + 1) * timing.evaluate_s
    prepared = len(plan.contenders) + len(plan.baselines)
    return (
        plan.num_trials / workers * trial
        + prepared * timing.prepare_s
        + plan.steps * timing.reading(plan, workers)
        + _REPORT_S
    )


def fit(
    plan: RacePlan, timing: Timing, budget_s: float, *, steps_per_epoch: int, workers: int = 1
) -> RacePlan:
    """Returns the plan with steps, and if need be tuning trials, so that it fits the budget.

    Trials are given up, down to 2 a study, before a trial gets shorter than an epoch.

    Raises:
        DlsuiteError: not even trials of 12 steps fit.
    """
    chosen = None
    for trials in range(plan.trials, min(_FEWEST_TRIALS, plan.trials) - 1, -1):
        tried = plan.model_copy(update={"trials": trials, "steps": 0})
        left = _RESERVE * budget_s - expected_seconds(tried, timing, workers=workers)
        training = tried.num_trials / workers * timing.step_s
        # batches are read once a seed where the trials are short enough, and else in each
        steps = int(left / (training + timing.reading(tried, workers)))
        if steps > timing.kept_steps:
            longer = tried.model_copy(update={"steps": timing.kept_steps + 1})
            fitting = int(left / (training + timing.reading(longer, workers)))
            steps = max(timing.kept_steps, fitting)
        steps = steps // EVALUATIONS * EVALUATIONS
        chosen = trials, steps
        if steps >= steps_per_epoch:
            break
    trials, steps = chosen
    if steps < EVALUATIONS:
        need = expected_seconds(
            plan.model_copy(update={"trials": trials, "steps": EVALUATIONS}),
            timing,
            workers=workers,
        )
        raise DlsuiteError(
            f"The budget must hold trials of {EVALUATIONS} steps. Received: {duration(budget_s)}, "
            f"and they take about {duration(need / _RESERVE)}. Raise --budget, or take fewer "
            "--optimizers, --studies or --final-seeds."
        )
    every = plan.evaluate_every
    if plan.recipe:
        steps, every = rounded_steps(steps)
    elif plan.is_on_paper:  # each step is kept
        steps = min(steps, _MOST_ON_PAPER)
    return plan.model_copy(update={"trials": trials, "steps": steps, "evaluate_every": every})


def parse_duration(text: str) -> float:
    """Returns seconds of ``90s``, ``10m`` or ``1.5h``.

    Raises:
        DlsuiteError: another form, or no time at all.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not found or float(found[1]) == 0:
        raise DlsuiteError(
            f"A time is a number and s, m or h. Received: {text!r}. Example: --budget 10m"
        )
    return float(found[1]) * _UNITS[found[2]]


def duration(seconds: float) -> str:
    """Returns a time in words of one unit: 40 s, 3.5 min, 2.1 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
