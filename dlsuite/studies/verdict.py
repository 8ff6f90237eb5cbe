"""A race in words: what its data support, what they do not, and on what terms it was run."""

import math
from collections.abc import Sequence

from dlsuite.studies.scoring import Results, Standing, time_to
from dlsuite.studies.statistics import LEVEL
from dlsuite.wording import counted


def verdict(results: Results) -> list[str]:
    """Returns the findings as sentences, the main one first."""
    said = [_leader(results)]
    if len(results.standings) > 1:
        said += [_ties(results), *_pairs(results)]
        said.append(_defaults(results))
    else:
        said.append("A single contender was run: there is nothing to compare it with.")
    said += results.warnings
    said.append(_limits(results))
    return said


def checklist(results: Results) -> list[tuple[str, str]]:
    """Returns what makes a comparison fair, and how this race did it."""
    plan, target = results.plan, results.target
    added = sum(
        max(0, len(standing.tuning) - plan.trials * plan.studies) for standing in results.standings
    )
    schedules = sorted({contender.schedule for contender in plan.contenders})
    diverged = sum(
        standing.diverged([*standing.tuning, *standing.finals, *standing.defaults])
        for standing in results.standings
    )
    is_recipe = plan.recipe is not None
    return [
        (
            "Same initial weights on the same seed",
            "yes, each seed's values are set before each trial",
        ),
        (
            "Same data order and augmentation on the same seed",
            "yes, a function of the seed and the step"
            if is_recipe
            else "the problem has no data; the seed moves the start",
        ),
        (
            "Same budget",
            f"{plan.steps} steps a trial and {counted(plan.trials, 'trial')} a study for every "
            f"contender with something to tune; {counted(added, 'further trial')} where a best "
            "rate lay at the edge",
        ),
        (
            "Same points tried",
            "one scrambled Sobol sequence a study; contenders that share a parameter and its range "
            "share its values",
        ),
        (
            "Tuned on validation, reported on test",
            "yes; the test split chooses nothing" + _counts(results)
            if is_recipe
            else "a problem on paper has one function for both",
        ),
        (
            "Fresh seeds for the report",
            f"yes, {plan.final_seeds} that no tuning saw; they alone feed intervals and tests",
        ),
        ("Schedules", ", ".join(schedules) + " (none is a constant rate), the same for all"),
        (
            "Target",
            f"{target.measure} {target.validation:.4g} on validation, {target.test:.4g} on test: "
            f"{target.source}",
        ),
        ("Clock", "training steps alone; compiling, evaluating and saving are left out"),
        ("Diverged runs", f"counted and shown: {diverged} in all; they never reach the target"),
        (
            "Unreached targets",
            "count as infinite, in medians, ranks and profiles",
        ),
        (
            "Several comparisons",
            "p-values are corrected for "
            f"{counted(math.comb(len(results.standings), 2), 'pair')} (Holm); "
            "the unit is the study",
        ),
    ]


def _counts(results: Results) -> str:
    """How many examples the curves are measured on, where that is known."""
    counts = [
        f"{measured:,} of {of_all:,} {split} examples"
        for split, (measured, of_all) in results.evaluated.items()
    ]
    return f"; curves and table are of {_listed(counts)}" if counts else ""


def _leader(results: Results) -> str:
    first = results.standings[0]
    label = first.contender.label
    if not first.reached and math.isinf(first.median("test_loss")):
        return "Nobody reached the target, and half of everyone's fresh runs or more diverged."
    if not first.reached:
        return f"Nobody reached the target; {label} ended with the lowest test loss."
    target = results.target
    goal = f"the target, a test {target.measure} of {target.test:.3g}"
    if len(results.standings) == 1:
        return (
            f"{label} needed a median of {_steps(first.median_steps)}{_spread(first)} to {goal}, "
            f"which {first.reached} of {len(first.finals)} fresh runs reached."
        )
    if math.isinf(first.median_steps):
        most = max(standing.reached for standing in results.standings)
        often = [s.contender.label for s in results.standings if s.reached == most]
        return (
            f"In the median nobody reached {goal}; {_listed(often)} did most often, in {most} of "
            f"{len(first.finals)} fresh runs{' each' if len(often) > 1 else ''}."
        )
    shared = [s for s in results.standings if s.median_steps == first.median_steps]
    if len(shared) > 1:
        return (
            f"{_listed([s.contender.label for s in shared])} share the first place by a median of "
            f"{_steps(first.median_steps)} to {goal}; the table lists them by the runs that "
            "reached it, mean rank and test loss."
        )
    words = (
        f"{label} was fastest: a median of {_steps(first.median_steps)}{_spread(first)} to {goal}, "
        f"which {first.reached} of {len(first.finals)} fresh runs reached."
    )
    if results.winner:
        return f"{words} Every other contender was shown to be slower: {label} wins."
    return f"{words} That does not make it the winner."


def _ties(results: Results) -> str:
    p = _p(results.ties)
    if results.ties <= LEVEL:
        return f"The contenders are not all equal ({p}, Friedman's test by permutation)."
    return f"That all contenders are equal is not ruled out ({p}, Friedman's test by permutation)."


def _pairs(results: Results) -> list[str]:
    plan = results.plan
    if results.smallest > LEVEL:
        return [
            f"{counted(plan.studies, 'study', 'studies')} of {len(results.standings)} contenders "
            f"can tell no two of them apart at {LEVEL:g}, whatever they come to: the smallest "
            f"corrected p-value is {results.smallest:.2g}. {results.studies_needed} studies can: "
            f"--studies {results.studies_needed} --final-seeds {results.studies_needed}. Until "
            "then the order of the table is a description of these runs."
        ]
    first = results.standings[0].contender.label
    others = [standing.contender.label for standing in results.standings[1:]]
    slower = [label for label in others if results.p_value(first, label) <= LEVEL]
    open_ = [label for label in others if label not in slower]
    said = []
    if slower:
        largest = max(results.p_value(first, label) for label in slower)
        said.append(
            f"Shown to be slower than {first}: {_listed(slower)} (corrected p <= {largest:.2g})."
        )
    if open_:
        said.append(
            f"No difference was shown between {first} and {_listed(open_)}; that is no proof that "
            "there is none."
        )
    return said


def _defaults(results: Results) -> str:
    def key(standing: Standing) -> tuple[float, float]:
        losses = standing.last("test_loss", standing.defaults)
        reached = _default_steps(results, standing)
        finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
        return reached, sorted(finite)[len(finite) // 2]

    best = min(results.standings, key=key)
    steps = _default_steps(results, best)
    if math.isinf(steps):
        return (
            "Untuned, at its default values, no contender reached the target in half of its runs; "
            f"{best.contender.label} came closest by test loss."
        )
    shared = [s for s in results.standings if _default_steps(results, s) == steps]
    if len(shared) > 1:
        listed = _listed([standing.contender.label for standing in shared])
        return f"Untuned, at their default values, {listed} were fastest, each by {_steps(steps)}."
    return (
        f"Untuned, at its default values, {best.contender.label} was fastest with a median of "
        f"{_steps(steps)}."
    )


def _default_steps(results: Results, standing: Standing) -> float:
    times = sorted(time_to(record, results.target, "test")[0] for record in standing.defaults)
    middle = len(times) // 2
    return times[middle] if len(times) % 2 else (times[middle - 1] + times[middle]) / 2


def _limits(results: Results) -> str:
    plan = results.plan
    return (
        f"All of this holds for {plan.problem}, {plan.steps} steps, "
        f"{counted(plan.trials, 'tuning trial')} a study and the spaces listed; it says nothing of "
        "longer training, other networks or a larger tuning budget."
    )


def _spread(standing: Standing) -> str:
    """In brackets; of one run there is none."""
    if len(standing.finals) == 1:
        return ""
    low, high = standing.interval
    ends = [_number(end) if math.isfinite(end) else "unreached" for end in (low, high)]
    return f" (95 % bootstrap interval {ends[0]} to {ends[1]})"


def _steps(steps: float) -> str:
    return f"{_number(steps)} steps" if math.isfinite(steps) else "no number of steps, unreached,"


def _number(steps: float) -> str:
    """A median of whole numbers."""
    return f"{steps:,.1f}".removesuffix(".0")


def _p(p: float) -> str:
    return f"p = {p:.2g}"


def _listed(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
