"""Problems on paper: minima, gradients and each optimizer's first ten steps against NumPy."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import OPTIMIZERS
from dlsuite.reports.race import write_report
from dlsuite.studies.paper import PaperProblem
from dlsuite.studies.plan import Trial, make_contenders
from dlsuite.studies.race import run_race
from dlsuite.studies.records import RaceFolder
from dlsuite.studies.scoring import score_race
from dlsuite.studies.surfaces import PROBLEMS, is_on_paper, surface
from tests.studies.races import formula_plan

sys.path.append(str(Path(__file__).parents[1] / "optimizers"))
from numpy_updates import UPDATES

STEPS = 10
# Muon's is that of matrices and adafactor's factored: a point on paper is a vector, which takes
# AdamW's step and an unfactored one. LAMB's trust ratio is of the whole tensor, as in NumPy.
CLOSED = sorted(set(UPDATES) - {"muon", "adafactor"})


def gradient(problem, point, step=1e-6):
    """Central differences in double precision."""
    value = surface(problem).value
    shifts = np.eye(2) * step
    return np.array(
        [(value(*(point + s), np) - value(*(point - s), np)) / (2 * step) for s in shifts]
    )


@pytest.mark.parametrize("problem", [*PROBLEMS, "quadratic:300"])
def test_a_minimum_is_one(problem):
    ground = surface(problem)
    rng = np.random.default_rng(0)
    for minimum in ground.minima:
        assert ground.value(*minimum, np) == pytest.approx(ground.lowest, abs=1e-12)
        around = np.array(minimum)[:, None] + 0.05 * rng.normal(size=(2, 200))
        assert (ground.value(*around, np) > ground.lowest).all()
    assert np.abs(gradient(problem, np.array(ground.minima[0]))).max() < 1e-4


def test_a_quadratic_has_its_condition_number():
    hessian = [
        (gradient("quadratic:300", shift) - gradient("quadratic:300", -shift)) / 2
        for shift in np.eye(2)
    ]
    assert np.linalg.cond(np.array(hessian)) == pytest.approx(300, rel=1e-6)
    for text in ("quadratic:0.5", "quadratic:many"):
        with pytest.raises(DlsuiteError, match=r"at least 1\. Received: 'quadratic"):
            surface(text)
    assert is_on_paper("quadratic:300") and not is_on_paper("mnist-mlp")


@pytest.mark.parametrize("name", CLOSED)
def test_the_first_ten_steps_are_the_papers(name):
    problem = PaperProblem("quadratic:5")
    contender = make_contenders([name], ["none"], [])[0]
    problem.prepare(contender, steps=STEPS, evaluate_every=1)
    rate = OPTIMIZERS[name].details["learning_rate"]
    parameters = {"learning_rate": rate}
    record = problem.run(
        Trial(phase="final", contender=name, study=0, number=0, seed=1, parameters=parameters)
    )
    found = np.array([record.values("x"), record.values("y")]).T
    point, state = problem.start(1).astype(float), {}
    expected = [point]
    for number in range(1, STEPS + 1):
        slope = np.array([1.0, 5.0]) * point  # the quadratic's gradient by hand
        point = point - UPDATES[name](slope, number, rate, state, point)
        expected.append(point)
    # float32 keeps seven digits of points of size 4
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_all_optimizers_of_the_table_walk_on_paper():
    problem = PaperProblem("ravine")
    for name in OPTIMIZERS:
        contender = make_contenders([name], ["none"], [])[0]
        problem.prepare(contender, steps=STEPS, evaluate_every=1)
        parameters = {"learning_rate": OPTIMIZERS[name].details["learning_rate"]}
        record = problem.run(
            Trial(phase="final", contender=name, study=0, number=0, seed=0, parameters=parameters)
        )
        assert record.values("loss")[-1] < record.values("loss")[0], name


def raced(folder, problem_name, optimizers, spaces, **options):
    """The results of a race on a problem on paper."""
    problem = PaperProblem(problem_name)
    plan = formula_plan(
        optimizers,
        spaces,
        problem=problem_name,
        target=problem.target,
        steps=problem.steps,
        evaluate_every=1,
        studies=1,
        **options,
    )
    race = RaceFolder.create(folder, plan)
    for _ in run_race(plan, race, problem):
        pass
    return score_race(plan, race.target(), race.records())


@pytest.mark.slow
def test_a_race_on_paper_draws_and_animates_the_paths(tmp_path):
    results = raced(
        tmp_path / "race",
        "rosenbrock",
        ["adam", "sgd", "slow=sgd"],
        ["slow.learning_rate=1e-6"],
        trials=2,
        final_seeds=2,
    )
    slow = next(s for s in results.standings if s.contender.label == "slow")
    assert np.isinf(slow.steps).all()
    names = {path.name for path in write_report(results, tmp_path / "report")}
    assert {"paths.png", "paths.gif", "index.html"} <= names
    assert (tmp_path / "report" / "paths.gif").read_bytes()[:4] == b"GIF8"
    assert "paths.gif" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_a_path_that_diverges_at_once_is_drawn_too(tmp_path):
    results = raced(
        tmp_path / "race", "beale", ["sgd"], ["sgd.learning_rate=1e30"], trials=1, final_seeds=1
    )
    assert results.standings[0].finals[0].steps == [0]
    paths = write_report(results, tmp_path / "report")
    assert all(path.stat().st_size for path in paths)
