"""A race on a real Ray, of this machine, comes to what it comes to locally."""

import contextlib

import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.recipes.resolve import resolve
from dlsuite.studies.on_ray import connect, num_workers, run_race_on_ray
from dlsuite.studies.paper import PaperProblem
from dlsuite.studies.race import is_complete, run_race
from dlsuite.studies.records import RaceFolder
from tests.studies.races import formula_plan


def ray():
    return pytest.importorskip("ray", reason="Ray is an extra")


@contextlib.contextmanager
def local_cluster():
    """A cluster of this machine, apart from one that may be there."""
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray().init(address="local", num_cpus=2, **quiet)
    try:
        yield
    finally:
        ray().shutdown()


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

    monkeypatch.setattr(ray(), "init", refuse)
    with pytest.raises(DlsuiteError, match=r"Start one with `ray start --head`"):
        connect()


class Cluster:
    """Nodes with so many cores each, as Ray lists them."""

    def __init__(self, *cores):
        self._cores = cores

    def nodes(self):
        alive = [{"Alive": True, "Resources": {"CPU": float(n)}} for n in self._cores]
        return [*alive, {"Alive": False, "Resources": {"CPU": 64.0}}]


def test_a_worker_has_its_cores_on_one_node():
    recipe = resolve("mnist-mlp", settings={"train.threads": 2, "train.device": "cpu"}).recipe
    of_two = formula_plan(recipe=recipe)
    assert num_workers(Cluster(3, 3, 8), of_two) == 6
    # two cores in all are not two on a node
    with pytest.raises(DlsuiteError, match=r"on one node, which needs 2 CPU free"):
        num_workers(Cluster(1, 1), of_two)
    on_gpu = formula_plan(recipe=recipe.model_copy(
        update={"train": recipe.train.model_copy(update={"device": "gpu:0"})}
    ))  # fmt: skip
    with pytest.raises(DlsuiteError, match="needs 2 CPU and 1 GPU free"):
        num_workers(Cluster(8), on_gpu)


@pytest.mark.slow
def test_a_worker_that_fails_is_one_sentence_and_loses_no_trial(tmp_path):
    """The driver knows the data that no worker finds: as on a node without them."""
    settings = {"data.name": f"npz:{tmp_path / 'gone.npz'}", "train.threads": 1}
    missing = resolve("mnist-mlp", settings=settings)
    lost = formula_plan(problem="mnist-mlp", recipe=missing.recipe)
    folder = RaceFolder.create(tmp_path / "race", lost)
    words = r"(?s)gone\.npz.*--resume .*race --executor ray"
    with local_cluster(), pytest.raises(DlsuiteError, match=words):
        list(run_race_on_ray(lost, folder, "accuracy"))


@pytest.mark.slow
def test_a_race_on_ray_is_the_local_one(tmp_path):
    local = RaceFolder.create(tmp_path / "local", plan())
    for _ in run_race(plan(), local, PaperProblem("quadratic")):
        pass
    folder = RaceFolder.create(tmp_path / "ray", plan())
    with local_cluster():
        events = list(run_race_on_ray(plan(), folder, "loss"))
    assert is_complete(plan(), folder.target(), folder.records())
    assert len(events) == len(local.records())
    assert {name: (r.trial, r.curves) for name, r in folder.records().items()} == {
        name: (r.trial, r.curves) for name, r in local.records().items()
    }
