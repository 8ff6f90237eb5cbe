"""`dlsuite evaluate`: its numbers, its folder, and what it refuses."""

import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import dlsuite
from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError

FILES = [
    "confusion_matrix.png",
    "reliability.png",
    "roc.png",
    "precision_recall.png",
    "mistakes.png",
    "predictions.npz",
    "evaluation.json",
]
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "json.md"


def invoke(*arguments):
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


@pytest.fixture
def run(small_run, tmp_path):
    """A copy of the small run that the test may write into."""
    return shutil.copytree(small_run.path, tmp_path / "digits")


@pytest.fixture(scope="module")
def by_numpy(small_run):
    """Accuracy and likelihood on the test split, from the model's own call and NumPy."""
    split = small_run.load_data().splits["test"]
    logits = small_run.model(split.read(np.arange(1000)).astype(np.float32)).numpy().astype(float)
    likelihood = logits[np.arange(1000), split.labels] - np.log(np.exp(logits).sum(axis=1))
    return np.mean(logits.argmax(axis=1) == split.labels), -np.mean(likelihood)


def test_json_has_the_models_numbers_at_top_level(run, by_numpy):
    result = invoke(run, "--json", "--batch-size", "300")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    accuracy, nll = by_numpy
    assert 0.2 < value["accuracy"] < 1  # chance is 0.1
    assert value["accuracy"] == accuracy
    # float32 logits from batches of another size
    assert value["nll"] == pytest.approx(nll, abs=1e-5)
    assert value["num_examples"] == 1000
    assert (value["run"], value["data"], value["split"]) == (str(run), "mnist_5k", "test")
    assert value["folder"] == str(run / "evaluation")
    assert value["files"] == FILES


def test_figures_and_numbers_lie_in_the_run_folder(run):
    result = invoke(run)
    assert result.exit_code == 0, result.output
    folder = run / "evaluation"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    value = json.loads((folder / "evaluation.json").read_text())
    assert f"{100 * value['accuracy']:.2f} %" in result.stdout
    assert f"{value['nll']:.4f}" in result.stdout
    assert f"Figures and numbers: {folder}" in result.stdout
    assert "Most frequent confusions" in result.stdout
    # one row a class, with its 100 test digits
    assert len(re.findall(r"^\d +100 ", result.stdout, re.MULTILINE)) == 10


def test_another_split_gets_a_folder_of_its_own(run):
    assert invoke(run).exit_code == 0
    before = (run / "evaluation" / "evaluation.json").read_bytes()
    result = invoke(run, "--split", "validation", "--json")
    assert json.loads(result.stdout)["num_examples"] == 100
    assert json.loads(result.stdout)["folder"] == str(run / "evaluation" / "mnist_5k-validation")
    assert (run / "evaluation" / "evaluation.json").read_bytes() == before


def test_another_dataset_with_the_same_classes(run, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (240, 28, 28, 1), dtype=np.uint8)
    labels = np.arange(240) % 10
    path = tmp_path / "others.npz"
    np.savez(
        path, x_train=images[:200], y_train=labels[:200], x_test=images[200:], y_test=labels[200:]
    )
    result = invoke(run, "--data", f"npz:{path}", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["data"] == f"npz:{path}"
    assert value["num_examples"] == 40
    folder = Path(value["folder"])
    assert folder.parent == run / "evaluation"
    # of a path the last part is kept; a hash tells equal ones apart
    assert re.fullmatch(r"npz-others\.npz-[0-9a-f]{8}-test", folder.name)


def test_a_bare_name_is_a_run_of_the_runs_folder(run, tmp_path, monkeypatch):
    (tmp_path / "here" / "runs").mkdir(parents=True)
    shutil.copytree(run, tmp_path / "here" / "runs" / "digits-1")
    monkeypatch.chdir(tmp_path / "here")
    value = json.loads(invoke("digits-1", "--json").stdout)
    assert value["run"] == "runs/digits-1"
    assert value["folder"] == "runs/digits-1/evaluation"
    assert Path(value["folder"], "evaluation.json").is_file()


def test_the_library_gives_what_the_command_prints(small_run, run):
    value = json.loads(invoke(run, "--json").stdout)
    evaluation = dlsuite.load(run).evaluate().to_json()
    assert {key: value[key] for key in evaluation} == evaluation


def test_an_evaluation_is_not_overwritten_by_another(run, tmp_path):
    report = tmp_path / "report"
    assert invoke(run, "--output", report).exit_code == 0
    before = (report / "evaluation.json").read_bytes()
    assert invoke(run, "--output", report).exit_code == 0  # the same one again
    result = invoke(run, "--split", "validation", "--output", report)
    assert isinstance(result.exception, DlsuiteError)
    assert re.search("not overwritten.*report.*'split': 'test'", str(result.exception))
    assert (report / "evaluation.json").read_bytes() == before


def test_a_folder_that_is_below_a_file_is_refused_before_the_work(run):
    (run / "evaluation").write_text("in the way")
    result = invoke(run)
    assert isinstance(result.exception, DlsuiteError)
    assert re.search("writable.*is a file.*--output", str(result.exception))
    assert result.stdout == ""


def test_a_full_disk_loses_the_figures_but_not_the_numbers(run, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dlsuite.reports.classification.write_evaluation", full)
    result = invoke(run, "--json")
    assert result.exit_code == 1
    assert re.search("No space left.*--output", str(result.exception))
    value = json.loads(result.stdout)
    assert value["folder"] is None
    assert value["num_examples"] == 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "tset"], "'tset'.*Did you mean 'test'"),
        (["--data", "mnist_6k"], "'mnist_6k'.*Did you mean 'mnist_5k'"),
    ],
)
def test_unknown_names_are_refused(run, arguments, words):
    result = invoke(run, *arguments)
    assert isinstance(result.exception, DlsuiteError)
    assert re.search(words, str(result.exception))


def test_a_run_without_its_model_is_refused(run):
    (run / "model.keras").unlink()
    (run / "checkpoints" / "last.keras").unlink()
    result = invoke(run)
    assert isinstance(result.exception, DlsuiteError)
    assert "model.keras" in str(result.exception)
    assert not (run / "evaluation").exists()


def test_a_batch_size_that_is_not_positive_is_wrong_usage(run):
    result = invoke(run, "--batch-size", "0")
    assert result.exit_code == 2
    assert "x>=1" in result.stderr


def test_no_run_ends_the_process_with_one_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dlsuite.cli", "evaluate", "absent"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"Error: A run is a folder.*'absent'.*`dlsuite runs`\.\n", done.stderr)


def test_many_classes_show_the_worst_ones_only(capsys):
    from dlsuite.analysis.classification import evaluate_logits
    from dlsuite.cli.console import out
    from dlsuite.cli.evaluation_classification import _class_table

    labels = np.repeat(np.arange(25), 4)
    logits = 5.0 * np.eye(25)[labels]
    logits[:3] = logits[-1]  # three of the four of class 0 taken for class 24
    evaluation = evaluate_logits(logits, labels, class_names=[f"[class]{k}" for k in range(25)])
    out.print(_class_table(evaluation))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "The 10 classes of lowest F1, of 25"
    # F1 of class 0: 2 / (4 + 1); of class 24: 8 / (4 + 7)
    assert lines[2].split()[:5] == ["[class]0", "4", "1.0000", "0.2500", "0.4000"]
    assert lines[3].split()[:5] == ["[class]24", "4", "0.5714", "1.0000", "0.7273"]
    assert len(lines) == 12


def test_every_key_of_the_json_is_documented(run):
    section = DOCUMENTATION.read_text().split("## dlsuite evaluate")[1].split("\n## ")[0]
    value = json.loads(invoke(run, "--json").stdout)
    documented = set(re.findall(r"^\| `([\w.\[\]]+)`", section, re.MULTILINE))
    keys = set(value)
    for name in ("classes", "reliability", "mistakes"):
        keys |= {f"{name}[].{key}" for key in value[name][0]}
    assert documented == keys
