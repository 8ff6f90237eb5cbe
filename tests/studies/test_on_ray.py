"""A race on a real Ray, of this machine, comes to what it comes to locally."""

import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.studies.on_ray import connect, run_race_on_ray
from dlsuite.studies.paper import PaperProblem
from dlsuite.studies.race import is_complete, run_race
from dlsuite.studies.records import RaceFolder
from tests.studies.races import formula_plan

ray = pytest.importorskip("ray", reason="Ray is an extra")


def plan():
    problem = PaperProblem("quadratic")
    return formula_plan(
        ["adam", "sgd"], problem="quadratic", target=problem.target, steps=50, evaluate_every=1,
        trials=2, studies=1, final_seeds=2,
    )  # fmt: skip


def test_without_a_cluster_it_says_how_to_start_one(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def refuse(**options):
        raise ConnectionError

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(DlsuiteError, match=r"Start one with `ray start --head`"):
        connect()


@pytest.mark.slow
def test_a_race_on_ray_is_the_local_one(tmp_path):
    local = RaceFolder.create(tmp_path / "local", plan())
    for _ in run_race(plan(), local, PaperProblem("quadratic")):
        pass
    folder = RaceFolder.create(tmp_path / "ray", plan())
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        events = list(run_race_on_ray(plan(), folder, "loss"))
    finally:
        ray.shutdown()
    assert is_complete(plan(), folder.target(), folder.records())
    assert len(events) == len(local.records())
    assert {name: (r.trial, r.curves) for name, r in folder.records().items()} == {
        name: (r.trial, r.curves) for name, r in local.records().items()
    }
