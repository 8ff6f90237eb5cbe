"""The race: who runs when, resumable from its files alone.

What a contender has to run next is a function of the plan, the target and what has ended. So a
killed race goes on by asking again, and an executor may run any trials of a wave at once.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dlsuite.errors import DlsuiteError
from dlsuite.studies.plan import Contender, RacePlan, Trial
from dlsuite.studies.records import RaceFolder, Record, Target
from dlsuite.studies.scoring import best_trial, widening_trial

# The stretch of a baseline trial whose mean is the target, as shares of its steps.
_TARGET_FROM, _TARGET_TO = 0.35, 0.65


class Problem(Protocol):
    """What a race asks of the ground it is run on."""

    measure: str

    def prepare(self, contender: Contender, *, steps: int, evaluate_every: int) -> None: ...

    def run(self, trial: Trial) -> Record: ...


@dataclass(frozen=True)
class Ended:
    """A trial has ended.

    Attributes:
        record: its result.
        done: trials that have ended in the race.
        expected: trials in the race, as far as is known.
        seconds: it took, everything counted.
    """

    record: Record
    done: int
    expected: int
    seconds: float


def run_race(
    plan: RacePlan,
    folder: RaceFolder,
    problem: Problem,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Ended]:
    """Runs what is missing of a race, one trial after the other, yielding each as it ends.

    Args:
        plan: of the race.
        folder: takes a file a trial; those that it holds are not run again.
        problem: trains.
        should_stop: asked before each trial.
    """
    folder.clear_unfinished()
    records = folder.records()
    target = folder.target()

    def carry_out(contender: Contender, trials: Sequence[Trial]) -> Iterator[Ended]:
        for trial in trials:
            if should_stop():
                return
            started = time.perf_counter()
            record = problem.run(trial)
            folder.add(record)
            records[trial.name] = record
            expected = expected_trials(plan, records)
            yield Ended(record, len(records), expected, time.perf_counter() - started)

    for contender in plan.baselines:
        missing = missing_trials(plan.baseline_trials(contender), records)
        if missing and not should_stop():
            _prepare(problem, contender, plan)
            yield from carry_out(contender, missing)
    if should_stop():
        return
    if target is None:
        target = make_target(plan, problem.measure, records)
        folder.write("target.json", target.model_dump(mode="json"))
    for contender in plan.contenders:
        is_prepared = False
        while not should_stop() and (wave := next_trials(plan, contender, target, records)):
            if not is_prepared:
                _prepare(problem, contender, plan)
                is_prepared = True
            yield from carry_out(contender, wave)


def expected_trials(plan: RacePlan, records: Mapping[str, Record]) -> int:
    """Returns the number of trials as far as it is known: the plan's, and what widened ranges."""
    wider = [r for r in records.values() if r.trial.phase == "tuning"]
    return plan.num_trials + sum(record.trial.number >= plan.trials for record in wider)


def missing_trials(trials: Sequence[Trial], records: Mapping[str, Record]) -> list[Trial]:
    """Returns the trials that have not ended."""
    return [trial for trial in trials if trial.name not in records]


def next_trials(
    plan: RacePlan, contender: Contender, target: Target, records: Mapping[str, Record]
) -> list[Trial]:
    """Returns what a contender has to run now; nothing where it is done.

    First its untuned trials and all studies' points, then what widens a range, then the winners.
    """
    planned = [
        *plan.default_trials(contender),
        *(t for study in range(plan.studies) for t in plan.tuning_trials(contender, study)),
    ]
    if missing := missing_trials(planned, records):
        return missing
    studies = tuning_records(plan, contender, records)
    wider = [widening_trial(contender, study, target, plan.trials) for study in studies]
    if any(wider):
        return [trial for trial in wider if trial]
    winners = [best_trial(study, target).trial.parameters for study in studies]
    return missing_trials(plan.final_trials(contender, winners), records)


def tuning_records(
    plan: RacePlan, contender: Contender, records: Mapping[str, Record]
) -> list[list[Record]]:
    """Returns a contender's tuning records, by study."""
    studies: list[list[Record]] = [[] for _ in range(plan.studies)]
    for record in records.values():
        trial = record.trial
        if trial.contender == contender.label and trial.phase == "tuning":
            studies[trial.study].append(record)
    return [sorted(study, key=lambda record: record.trial.number) for study in studies]


def make_target(plan: RacePlan, measure: str, records: Mapping[str, Record]) -> Target:
    """Returns the target: what was asked for, or what the baselines' best trial came to.

    That is its mean about the middle of its steps, on validation for tuning and on test for the
    report: what a well tuned contender reaches with some steps left.

    Raises:
        DlsuiteError: every baseline diverged.
    """
    if plan.target is not None:
        source = "asked for"
        if plan.is_on_paper:
            source = "a thousandth of the start's height above the minimum is left"
        return Target(measure=measure, validation=plan.target, test=plan.target, source=source)
    ended = [
        record
        for record in records.values()
        if record.trial.phase == "baseline" and record.status == "ended"
    ]
    if not ended:
        raise DlsuiteError(
            "The target is what a baseline reaches. Received: all of them diverged. "
            "Set --target yourself."
        )
    sign = -1 if measure == "loss" else 1

    def middle(record: Record, split: str) -> float:
        values = record.values(f"{split}_{measure}")
        steps = np.array(record.steps) / plan.steps
        return float(np.mean(np.array(values)[(steps >= _TARGET_FROM) & (steps <= _TARGET_TO)]))

    best = max(ended, key=lambda record: (sign * middle(record, "validation"), record.trial.name))
    return Target(
        measure=measure,
        validation=middle(best, "validation"),
        test=middle(best, "test"),
        source=f"mean about the middle of the best baseline trial, {best.trial.name}",
    )


def is_complete(plan: RacePlan, target: Target | None, records: Mapping[str, Record]) -> bool:
    """Returns whether nothing of the race is missing."""
    return target is not None and not any(
        next_trials(plan, contender, target, records) for contender in plan.contenders
    )


def _prepare(problem: Problem, contender: Contender, plan: RacePlan) -> None:
    problem.prepare(contender, steps=plan.steps, evaluate_every=plan.evaluate_every)
