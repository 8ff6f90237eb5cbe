"""From a race's files to its results: times to the target, winners, scores. Trains nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlsuite.studies import statistics
from dlsuite.studies.plan import Contender, RacePlan, Trial
from dlsuite.studies.records import Record, Target
from dlsuite.studies.spaces import SPECIAL_CASES, Range
from dlsuite.wording import counted

# A best rate in the outermost of as many parts as there are trials is at the edge of its range;
# with many trials, one within this share of it.
_EDGE = 0.1
# One more trial beyond the edge goes this much further.
_WIDENING = math.sqrt(10)
_MOST_WIDENINGS = 4
LARGEST_RATIO = 4.0


def time_to(record: Record, target: Target, split: str) -> tuple[float, float]:
    """Returns steps and seconds until a record first reached the target, infinite if it did not.

    A trial that diverged counts as one that did not, whatever it had reached before.

    Args:
        record: an ended trial.
        target: what to reach.
        split: ``validation`` or ``test``.
    """
    if record.status == "diverged":
        return math.inf, math.inf
    values = np.array(record.values(f"{split}_{target.measure}"))
    wanted = getattr(target, split)
    reached = values >= wanted if target.measure == "accuracy" else values <= wanted
    if not reached.any():
        return math.inf, math.inf
    first = int(np.argmax(reached))
    return float(record.steps[first]), record.seconds[first]


def tuning_order(record: Record, target: Target) -> tuple[float, float]:
    """Returns what tuning sorts by, best first: steps to the target, then the last loss.

    Both on validation; a trial that diverged comes last.
    """
    if record.status == "diverged":
        return math.inf, math.inf
    loss = record.values("validation_loss")[-1]
    return time_to(record, target, "validation")[0], loss if math.isfinite(loss) else math.inf


def best_trial(records: Sequence[Record], target: Target) -> Record:
    """Returns a study's winner; of equal ones the earlier."""
    return min(records, key=lambda record: (*tuning_order(record, target), record.trial.number))


def widening_trial(
    contender: Contender, records: Sequence[Record], target: Target, trials: int
) -> Trial | None:
    """Returns the trial beyond the edge of the rate's range that a study still needs, if any.

    It needs one where its best trial is the outermost and near an end of the range, or beyond it.
    The rate then goes on by half a decade, all else as in the best trial, until that is no better.
    Where all trials diverged it goes down by decades.

    Args:
        contender: whose study.
        records: all tuning trials of the study so far.
        target: what to reach.
        trials: how many of them were planned.
    """
    rate = contender.space.get("learning_rate")
    if not isinstance(rate, Range) or len(records) >= trials + _MOST_WIDENINGS:
        return None
    best = best_trial(records, target)
    if best.status == "diverged":  # all did
        lowest = min(records, key=lambda record: record.trial.parameters["learning_rate"])
        return _beyond(lowest, records, 1 / _WIDENING**2)
    place = rate.place(best.trial.parameters["learning_rate"])
    edge = max(_EDGE, 1 / trials)
    if edge < place < 1 - edge:
        return None
    tried = best.trial.parameters["learning_rate"]
    rates = [record.trial.parameters["learning_rate"] for record in records]
    is_upper = place > 0.5
    # a trial further out that is no better answers the question already
    if (max(rates) > tried) if is_upper else (min(rates) < tried):
        return None
    return _beyond(best, records, _WIDENING if is_upper else 1 / _WIDENING)


def _beyond(record: Record, records: Sequence[Record], factor: float) -> Trial:
    """A study's next trial: like this one, at a rate that many times as large."""
    rate = record.trial.parameters["learning_rate"] * factor
    return record.trial.model_copy(
        update={
            "number": max(other.trial.number for other in records) + 1,
            "parameters": record.trial.parameters | {"learning_rate": rate},
        }
    )


@dataclass(frozen=True)
class Standing:
    """A contender's results.

    Attributes:
        contender: who.
        tuning: all its tuning records.
        winners: the best tuning record of each study.
        finals: its records on fresh seeds.
        defaults: its untuned records on the same seeds.
        steps: to the target on test, of each final run; infinite if unreached.
        seconds: likewise.
        study_steps: median of `steps` over the final runs of each study: the units of the tests.
        score: median over studies of the best trial's steps to the target on validation.
        interval: of the median of `steps`, by a bootstrap over studies and their runs.
        rank: mean rank over the final seeds; with its interval.
    """

    contender: Contender
    tuning: list[Record]
    winners: list[Record]
    finals: list[Record]
    defaults: list[Record]
    steps: np.ndarray
    seconds: np.ndarray
    study_steps: np.ndarray
    score: float
    interval: tuple[float, float] = (math.nan, math.nan)
    rank: float = math.nan
    rank_interval: tuple[float, float] = (math.nan, math.nan)

    @property
    def median_steps(self) -> float:
        """Median steps to the target on test over the final runs."""
        return float(np.median(self.steps))

    def median(self, curve: str, records: Sequence[Record] | None = None) -> float:
        """Returns the median of a curve's last value over the final runs.

        A diverged run counts as infinitely bad: half of them make a loss infinite and an
        accuracy NaN.
        """
        values = self.last(curve, records)
        worst = -np.inf if curve.endswith("accuracy") else np.inf
        found = float(np.median(np.where(np.isnan(values), worst, values)))
        return math.nan if found == -np.inf else found

    @property
    def reached(self) -> int:
        """Final runs that reached the target."""
        return int(np.isfinite(self.steps).sum())

    def last(self, curve: str, records: Sequence[Record] | None = None) -> np.ndarray:
        """Returns a curve's last value in each final run, NaN where it diverged."""
        chosen = self.finals if records is None else records
        return np.array([r.values(curve)[-1] if r.status == "ended" else math.nan for r in chosen])

    @property
    def step_seconds(self) -> float:
        """Median time of a training step [s]."""
        times = [
            record.seconds[-1] / record.steps[-1] for record in self.finals if record.steps[-1] > 0
        ]
        return float(np.median(times)) if times else math.nan

    def diverged(self, records: Sequence[Record]) -> int:
        """How many of the records diverged."""
        return sum(record.status == "diverged" for record in records)


@dataclass(frozen=True)
class Results:
    """What a race shows.

    Attributes:
        plan: of the race.
        target: what was to be reached.
        standings: best first.
        profile: label to the share of final seeds within each ratio of `ratios` to the fastest.
        ratios: from 1 to 4.
        profile_score: label to the profile's integral, over 3: 1 is always fastest.
        ties: p-value of the test that all contenders are equal.
        pairs: pair of labels to its p-value, corrected for all pairs.
        smallest: the smallest corrected p-value that this number of studies can give.
        studies_needed: the number that could give one below the level.
        warnings: what a reader should know.
        evaluated: by split, the number of examples that curves are measured on, of how many.
    """

    plan: RacePlan
    target: Target
    standings: list[Standing]
    ratios: np.ndarray
    profile: dict[str, np.ndarray]
    profile_score: dict[str, float]
    ties: float
    pairs: dict[tuple[str, str], float]
    smallest: float
    studies_needed: int
    warnings: list[str] = field(default_factory=list)
    evaluated: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def winner(self) -> str | None:
        """The contender that every other one was shown to be slower than, if any."""
        first = self.standings[0].contender.label
        others = [standing.contender.label for standing in self.standings[1:]]
        shown = all(self.p_value(first, other) <= statistics.LEVEL for other in others)
        return first if others and shown else None

    def p_value(self, one: str, other: str) -> float:
        """The corrected p-value of a pair."""
        return self.pairs.get((one, other), self.pairs.get((other, one), 1.0))


def score_race(plan: RacePlan, target: Target, records: Mapping[str, Record]) -> Results:
    """Returns the results of a race whose trials have ended.

    Args:
        plan: of the race.
        target: what was to be reached.
        records: by the trial's name.
    """
    standings = [_standing(plan, contender, target, records) for contender in plan.contenders]
    steps = np.array([standing.steps for standing in standings])
    ranks = statistics.ranks(steps)
    rng = np.random.default_rng(plan.seed)
    studies = np.arange(plan.final_seeds) % plan.studies
    medians, rank_means = statistics.bootstrap(steps, ranks, studies, rng=rng)
    standings = [
        Standing(
            **vars(standing)
            | {
                "interval": statistics.interval(medians[:, index]),
                "rank": float(ranks[index].mean()),
                "rank_interval": statistics.interval(rank_means[:, index]),
            }
        )
        for index, standing in enumerate(standings)
    ]
    labels = [standing.contender.label for standing in standings]
    units = np.array([standing.study_steps for standing in standings])
    ratios = np.linspace(1, LARGEST_RATIO, 121)
    profile = statistics.performance_profile(steps, ratios)
    standings.sort(key=_order)
    return Results(
        plan=plan,
        target=target,
        standings=standings,
        ratios=ratios,
        profile=dict(zip(labels, profile, strict=True)),
        profile_score={
            label: float(np.trapezoid(curve, ratios) / (LARGEST_RATIO - 1))
            for label, curve in zip(labels, profile, strict=True)
        },
        ties=statistics.ties_test(units, rng=rng),
        pairs=statistics.pairwise(labels, units),
        smallest=statistics.smallest_p(plan.studies, len(labels)),
        studies_needed=statistics.studies_needed(len(labels)),
        warnings=_warnings(plan, target, standings),
    )


def _standing(
    plan: RacePlan, contender: Contender, target: Target, records: Mapping[str, Record]
) -> Standing:
    own = [record for record in records.values() if record.trial.contender == contender.label]
    by_phase: dict[str, list[Record]] = {"tuning": [], "final": [], "default": []}
    for record in sorted(own, key=lambda record: (record.trial.study, record.trial.number)):
        if record.trial.phase in by_phase:
            by_phase[record.trial.phase].append(record)
    finals = sorted(by_phase["final"], key=lambda record: record.trial.number)
    times = np.array([time_to(record, target, "test") for record in finals])
    winners = [
        best_trial([r for r in by_phase["tuning"] if r.trial.study == study], target)
        for study in range(plan.studies)
    ]
    studies = np.array([record.trial.study for record in finals])
    return Standing(
        contender=contender,
        tuning=by_phase["tuning"],
        winners=winners,
        finals=finals,
        defaults=by_phase["default"],
        steps=times[:, 0],
        seconds=times[:, 1],
        study_steps=np.array(
            [np.median(times[studies == study, 0]) for study in range(plan.studies)]
        ),
        score=float(np.median([time_to(r, target, "validation")[0] for r in winners])),
    )


def _order(standing: Standing) -> tuple[float, ...]:
    """Fewest steps first; among those that did not reach the target, the lowest test loss."""
    loss = standing.median("test_loss")
    return standing.median_steps, -standing.reached, standing.rank, loss


def _warnings(plan: RacePlan, target: Target, standings: Sequence[Standing]) -> list[str]:
    warnings = []
    if not any(standing.reached for standing in standings):
        warnings.append(
            f"No final run reached the target, {target.measure} {target.test:.4g}: times can't be "
            "compared, and contenders are listed by their test loss."
        )
    at_once = [
        standing.contender.label
        for standing in standings
        if 0 in [*standing.steps, *(time_to(r, target, "test")[0] for r in standing.defaults)]
    ]
    if at_once:
        warnings.append(
            f"Runs of {', '.join(at_once)} stood at the target before their first step: it is no "
            "more than untrained weights give, and times to it say nothing. Set a higher --target."
        )
    for standing in standings:
        label, schedule = standing.contender.label, standing.contender.schedule
        for special in SPECIAL_CASES.get(standing.contender.optimizer, ()):
            of_it = (
                other
                for other in standings  # best first
                if (other.contender.optimizer, other.contender.schedule) == (special, schedule)
            )
            other = next(of_it, None)
            if other and _order(other) < _order(standing):
                warnings.append(
                    f"{label} came behind {other.contender.label}, which is a special case of it: "
                    f"{plan.trials} trials are too few for its space, the space leaves the special "
                    "case out, or it is chance."
                )
        added = len(standing.tuning) - plan.trials * plan.studies
        rate = standing.contender.space.get("learning_rate")
        rates = [record.trial.parameters["learning_rate"] for record in standing.tuning]
        if isinstance(rate, Range) and (min(rates) < rate.low or max(rates) > rate.high):
            warnings.append(
                f"{label}'s best rate lay at the edge of its range, which was widened to "
                f"{min(rates):.3g} to {max(rates):.3g} by {counted(added, 'more trial')}."
            )
        untuned = np.median([time_to(record, target, "test")[0] for record in standing.defaults])
        if untuned < standing.median_steps:
            warnings.append(
                f"{label}'s default values reached the target sooner than its tuned ones: tuning "
                "found nothing better, for want of trials, by a space that leaves them out, or by "
                "chance."
            )
        for kind, runs in (("final", standing.finals), ("untuned", standing.defaults)):
            if failed := standing.diverged(runs):
                warnings.append(f"{failed} of {label}'s {len(runs)} {kind} runs diverged.")
    return warnings


def summary_row(results: Results, standing: Standing) -> dict[str, Any]:
    """Returns a contender's row of the table, in plain values; infinite ones stay infinite."""
    gap = standing.last("test_loss") - standing.last("loss")
    row = {
        "contender": standing.contender.label,
        "optimizer": standing.contender.optimizer,
        "schedule": standing.contender.schedule,
        "score_steps": standing.score,
        "steps_to_target": standing.median_steps,
        "steps_low": standing.interval[0],
        "steps_high": standing.interval[1],
        "seconds_to_target": float(np.median(standing.seconds)),
        "reached": standing.reached,
        "runs": len(standing.finals),
        "rank": standing.rank,
        "rank_low": standing.rank_interval[0],
        "rank_high": standing.rank_interval[1],
        "profile_score": results.profile_score[standing.contender.label],
        "test_loss": standing.median("test_loss"),
        # of the runs that ended: of a diverged one there is none
        "generalisation_gap": statistics.median(gap),
        "diverged_final": standing.diverged(standing.finals),
        "diverged_tuning": standing.diverged(standing.tuning),
        "tuning_trials": len(standing.tuning),
        "step_ms": 1000 * standing.step_seconds,
        "state_values_a_weight": standing.finals[0].state_values,
        "default_steps_to_target": float(
            np.median([time_to(r, results.target, "test")[0] for r in standing.defaults])
        ),
        "default_test_loss": standing.median("test_loss", standing.defaults),
    }
    if "test_accuracy" in standing.finals[0].curves:
        row["test_accuracy"] = standing.median("test_accuracy")
        row["default_test_accuracy"] = standing.median("test_accuracy", standing.defaults)
    return row
