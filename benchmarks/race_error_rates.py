"""How often a race declares a winner between equals, and how often it tells unequals apart.

    python benchmarks/race_error_rates.py --folder error-rates

Runs a large number of independent studies of Adam on a small MLP, each with trial points, initial
weights and data order of its own, and keeps their files. Then draws pairs of groups of studies
without a common member: one optimizer under two names. Every winner among them is a false alarm.
Power: Adam at its tuned rate against Adam at a tenth of it, fresh runs of each, by the same test.
Running it again goes on where it was; with everything there it only draws and prints.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlsuite import __version__
from dlsuite.recipes.resolve import resolve
from dlsuite.runtime import prepare
from dlsuite.studies.plan import Contender, RacePlan, make_baselines, make_contenders, rounded_steps
from dlsuite.studies.race import run_race
from dlsuite.studies.records import RaceFolder
from dlsuite.studies.scoring import time_to
from dlsuite.studies.statistics import LEVEL, pairwise

_EPOCHS = 3
_DRAWS = 200
_GROUPS = (4, 6, 8)  # studies a contender
_SETTINGS = {"model.hidden": [64], "train.threads": 1}


def main() -> None:
    """Runs what is missing, draws, and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=64, help="independent studies of Adam")
    parser.add_argument("--runs", type=int, default=48, help="runs of each fixed rate")
    arguments = parser.parse_args()
    prepare()
    from dlsuite.studies.recipe_problem import RecipeProblem

    problem = RecipeProblem(resolve("mnist-mlp", settings=_SETTINGS).recipe)
    adam = make_contenders(["adam"], ["none"], [])
    first = _race(problem, arguments.folder / "target", adam, seed=10_000, target=None)
    target = first.target()
    studies = [
        _race(problem, arguments.folder / f"study-{seed}", adam, seed=seed, target=target)
        for seed in range(arguments.studies)
    ]
    steps = np.array([_final_steps(folder, target)[0] for folder in studies])
    rate = float(np.median([_winner(folder)["learning_rate"] for folder in studies]))
    fixed = {}
    for label, value in (("tuned", rate), ("tenth", rate / 10)):
        contender = make_contenders(
            [f"{label}=adam"], ["none"], [f"{label}.learning_rate={value!r}", f"{label}.beta_1=0.9"]
        )
        folder = _race(
            problem,
            arguments.folder / label,
            contender,
            seed=20_000 if label == "tuned" else 30_000,
            target=target,
            final_seeds=arguments.runs,
        )
        fixed[label] = np.array(_final_steps(folder, target))
    print(
        json.dumps(
            {
                "target": target.test,
                "independent_studies": len(steps),
                "steps_to_target": [None if np.isinf(s) else s for s in steps],
                "tuned_rate": rate,
                "draws": _DRAWS,
                "false_alarms": {n: _declared(steps, steps, n, same=True) for n in _GROUPS},
                "told_apart": {
                    n: _declared(fixed["tuned"], fixed["tenth"], n, same=False) for n in _GROUPS
                },
            },
            indent=1,
        )
    )


def _race(
    problem, path: Path, contenders: Sequence[Contender], *, seed: int, target, final_seeds: int = 1
) -> RaceFolder:
    """A race of one study, run as far as it is missing."""
    if (path / "plan.json").exists():
        folder = RaceFolder.open(path)
    else:
        steps, every = rounded_steps(_EPOCHS * problem.steps_per_epoch)
        plan = RacePlan(
            dlsuite=__version__,
            problem="mnist-mlp",
            recipe=problem.recipe,
            contenders=contenders,
            baselines=make_baselines() if target is None else (),
            trials=4,
            studies=1,
            final_seeds=final_seeds,
            steps=steps,
            evaluate_every=every,
            target=None if target is None else target.validation,
            seed=seed,
        )
        folder = RaceFolder.create(path, plan)
        if target is not None:
            folder.write("target.json", target.model_dump(mode="json"))
    for _ in run_race(folder.plan(), folder, problem):
        pass
    return folder


def _final_steps(folder: RaceFolder, target) -> list[float]:
    finals = [r for r in folder.records().values() if r.trial.phase == "final"]
    return [time_to(record, target, "test")[0] for record in finals]


def _winner(folder: RaceFolder) -> dict[str, float]:
    return next(r.trial.parameters for r in folder.records().values() if r.trial.phase == "final")


def _declared(one: np.ndarray, other: np.ndarray, group: int, *, same: bool) -> int:
    """In how many of the draws a winner is declared."""
    rng = np.random.default_rng(group)
    declared = 0
    for _ in range(_DRAWS):
        if same:  # two groups without a common member
            chosen = rng.choice(len(one), 2 * group, replace=False)
            units = one[chosen].reshape(2, group)
        else:
            units = np.array([rng.choice(runs, group, replace=False) for runs in (one, other)])
        declared += pairwise(["a", "b"], units)["a", "b"] <= LEVEL
    return declared


if __name__ == "__main__":
    main()
