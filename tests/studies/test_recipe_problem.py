"""A recipe as the ground of a race: what a trial that leaves the finite numbers gives."""

import pytest

from dlsuite.recipes.resolve import resolve
from dlsuite.studies.plan import Trial, make_contenders
from dlsuite.studies.recipe_problem import RecipeProblem


@pytest.mark.parametrize("rate", [1e20, 1e38])
def test_a_trial_ends_where_its_loss_or_its_weights_are_no_finite_numbers(rate):
    """At 1e20 the second step's loss overflows, at 1e38 the weights do after the first step."""
    settings = {
        "model.hidden": [8],
        "train.threads": 1,
        "train.batch_size": 50,
        "data.train_limit": 300,
    }
    problem = RecipeProblem(resolve("mnist-mlp", settings=settings).recipe)
    (contender,) = make_contenders(["sgd"], ["none"], [])
    problem.prepare(contender, steps=4, evaluate_every=1)
    record = problem.run(
        Trial(
            phase="final",
            contender="sgd",
            study=0,
            number=0,
            seed=0,
            parameters={"learning_rate": rate},
        )
    )
    assert record.status == "diverged"
    assert record.diverged_at == (2 if rate == 1e20 else 1)
    assert len(record.steps) < 5
