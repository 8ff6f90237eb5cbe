"""Runs in several parts: what each was computed with, and what the workers of one agree on."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

import dlsuite
from dlsuite.engine.training import Observer
from dlsuite.resuming import plan_resume
from dlsuite.runs.folder import RunFolder
from tests.smallest import SMALLEST

SETTINGS = {
    **SMALLEST,
    "train.epochs": 1,
    "optimizer.learning_rate": 1e-12,  # nothing improves after the first epoch
    "train.early_stopping": 2,
    "schedule.name": "constant",
    "schedule.warmup_epochs": 0.0,
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    place = tmp_path_factory.mktemp("parts") / "run"
    return dlsuite.train("mnist-mlp", settings=SETTINGS, run_dir=place).path


@pytest.fixture
def run(begun, tmp_path):
    return RunFolder(shutil.copytree(begun, tmp_path / "run"))


def test_what_a_part_in_between_was_computed_with_is_not_forgotten(run, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
        made, notes = plan_resume(run.path, epochs=2)
        assert any("ONEDNN_MAX_CPU_ISA was None and is 'SSE41'" in note for note in notes)
        replace(made, execution=replace(made.execution, replicas=2)).resume(run)
    (row,) = map(json.loads, (run.path / "parts.jsonl").read_text().splitlines())
    assert row["execution"]["replicas"] == 2
    assert row["environment"]["variables"]["ONEDNN_MAX_CPU_ISA"] == "SSE41"
    # the third part is computed with what the first was
    said = " ".join(plan_resume(run.path, epochs=3)[1])
    assert "ONEDNN_MAX_CPU_ISA was 'SSE41' and is None" in said
    assert "replicas was 2 and is 1" in said
    # which the first steps are, that a verification repeats, and all of them were the first part's
    assert row["step"] == 3
    found = dlsuite.verify(run.path)
    assert (found.status, list(found.differences)) == ("identical", [])
    run.write_text("parts.jsonl", json.dumps(row | {"step": 0}) + "\n")
    assert len(dlsuite.verify(run.path).differences) == 2


def test_equal_parts_are_no_news(run):
    dlsuite.resume(run.path, epochs=2)
    assert plan_resume(run.path, epochs=3)[1] == ["The schedule now ends with epoch 3."]


@pytest.mark.slow
def test_a_worker_that_comes_late_follows_the_chief_past_an_early_stop(run):
    """It may read the status when the chief has set it to running already."""
    stopped = dlsuite.resume(run.path, epochs=9)
    assert stopped.status == "stopped"
    made, _ = plan_resume(run.path, epochs=20)
    run.update(status="running")

    class Count(Observer):
        epochs = 0

        def on_epoch(self, row, is_best):
            self.epochs += 1

    late = SimpleNamespace(is_chief=False, on_chief=lambda function: "stopped", highest=int)
    vars(made)["workers"], observer = late, Count()
    made.resume(run, observer=observer)
    assert observer.epochs == 2, "its patience begins anew"
