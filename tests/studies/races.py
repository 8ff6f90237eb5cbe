"""A race without TensorFlow: a problem whose curves are a formula of the trial."""

import math

import numpy as np

from dlsuite.studies.plan import RacePlan, make_baselines, make_contenders
from dlsuite.studies.records import Record

BEST_RATE = {"adam": 0.01, "sgd": 0.1}


class FormulaProblem:
    """Accuracy rises the faster, the nearer the rate is to the optimizer's best one.

    A rate a hundred times too large diverges. The seed adds noise.
    """

    measure = "accuracy"

    def __init__(self):
        self.prepared = []
        self.ran = []

    def prepare(self, contender, *, steps, evaluate_every):
        self.prepared.append(contender.label)
        self._contender, self._steps = contender, list(range(0, steps + 1, evaluate_every))

    def run(self, trial):
        assert trial.contender == self._contender.label, "prepared for another contender"
        self.ran.append(trial.name)
        best = BEST_RATE[self._contender.optimizer]
        off = math.log10(trial.parameters["learning_rate"] / best)
        noise = np.random.default_rng(trial.seed).normal(scale=0.05)
        speed = math.exp(-(off**2) + noise)
        accuracy = [1 - 0.9 * math.exp(-speed * step / 30) for step in self._steps]
        loss = [1 - a for a in accuracy]
        diverged = off > 2
        return Record(
            trial=trial,
            status="diverged" if diverged else "ended",
            diverged_at=5 if diverged else None,
            steps=self._steps[: 1 if diverged else None],
            curves={
                name: values[: 1 if diverged else None]
                for name, values in {
                    "loss": [None, *loss[1:]],
                    "moved": [None, *loss[1:]],
                    "validation_loss": loss,
                    "validation_accuracy": accuracy,
                    "test_loss": loss,
                    "test_accuracy": accuracy,
                }.items()
            },
            seconds=[0.001 * step for step in self._steps[: 1 if diverged else None]],
            state_values=2.0,
        )


def formula_plan(optimizers=("adam", "sgd"), spaces=(), **changes):
    """A plan of 60 steps for it."""
    settings = {
        "dlsuite": "0",
        "problem": "formula",
        "recipe": None,
        "contenders": make_contenders(optimizers, ["none"], spaces),
        "trials": 4,
        "studies": 3,
        "final_seeds": 6,
        "steps": 60,
        "evaluate_every": 5,
        "target": 0.7,
        "seed": 0,
    }
    settings |= changes
    baselines = make_baselines() if settings["target"] is None else ()
    return RacePlan(**settings, baselines=baselines)
