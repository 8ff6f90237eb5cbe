"""`dlsuite loss-landscape` on a small run: files, the same numbers twice, messages."""

import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import dlsuite
from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")


def run(*arguments):
    return CliRunner().invoke(cli, ["loss-landscape", *map(str, arguments)])


def values(folder):
    with np.load(next(folder.glob("[!c]*.npz"))) as stored:
        return stored["values"]


@pytest.mark.parametrize("mode", ["line", "plane"])
def test_the_same_command_gives_the_same_numbers_twice(mode, small_run, tmp_path):
    reports = []
    for name in ("one", "two"):
        result = run(small_run.path, "--mode", mode, "--resolution", 3, "--samples", 50,
                     "--output", tmp_path / name, "--json")  # fmt: skip
        assert result.exit_code == 0, result.output
        reports.append(json.loads(result.stdout))
    assert np.array_equal(values(tmp_path / "one"), values(tmp_path / "two"))
    # a file that a full disk left empty is computed anew
    next((tmp_path / "two").glob("[!c]*.npz")).write_bytes(b"")
    again = run(small_run.path, "--mode", mode, "--resolution", 3, "--samples", 50,
                "--output", tmp_path / "two", "--json")  # fmt: skip
    assert again.exit_code == 0, again.output
    assert np.array_equal(values(tmp_path / "one"), values(tmp_path / "two"))
    assert reports[0]["runs"] == reports[1]["runs"]
    assert all((tmp_path / "one" / name).stat().st_size for name in reports[0]["files"])
    section = PAGE.split("## dlsuite loss-landscape\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"`([\w]+)`", section))
    assert set(reports[0]) | set(reports[0]["runs"][0]) <= documented


def test_the_middle_is_the_loss_that_the_run_has(small_run, tmp_path):
    result = run(small_run.path, "--mode", "line", "--resolution", 3, "--samples", 1000,
                 "--output", tmp_path, "--json")  # fmt: skip
    assert json.loads(result.stdout)["runs"][0]["points"] == 5 * 3
    with np.load(next(tmp_path.glob("*.npz"))) as stored:
        middle = stored["values"][0, 1, 1]
    evaluated = small_run.evaluate(split="test")
    # 896 of the 1,000 test digits: whole batches
    assert middle[1] == pytest.approx(evaluated.accuracy, abs=0.03)


def test_a_path_is_drawn_with_its_true_losses(tmp_path):
    made = dlsuite.train(
        "mnist-mlp", epochs=3, run_dir=tmp_path / "run",
        settings={"data.train_limit": 300, "model.hidden": [8], "train.trajectory": True,
                  "schedule.warmup_epochs": 0.0},
    )  # fmt: skip
    result = run(made.path, "--mode", "trajectory", "--resolution", 5, "--samples", 50, "--json")
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)["runs"][0]
    true, plane = row["along_path"]["train_true"], row["along_path"]["train_plane"]
    assert len(true) == len(plane) == 4
    assert true[-1] == pytest.approx(plane[-1], rel=1e-5)
    assert true[0] > true[-1]
    assert 0.5 < sum(row["explained_variance"]) <= 1
    page = (made.path / "landscape" / "trajectory.html").read_text()
    assert "from the ring to the dot" in page
    track = json.loads(re.search(r"const data = (.*);", page)[1])[0]["track"]
    assert [loss for *_, loss in track] == pytest.approx(plane, abs=1e-6)


@pytest.mark.slow
def test_a_line_between_two_runs_ends_at_both(small_run, tmp_path):
    other = dlsuite.train(
        "mnist-mlp", epochs=1, run_dir=tmp_path / "other", seed=1,
        settings={"data.train_limit": 300, "data.validation": 100, "model.hidden": [16],
                  "schedule.warmup_epochs": 0.0},
    )  # fmt: skip
    result = run(small_run.path, other.path, "--mode", "between", "--resolution", 5,
                 "--samples", 50, "--output", tmp_path / "out", "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    straight, curve = values(tmp_path / "out")[:, :, 0, 0]  # at -0.5, 0, 0.5, 1 and 1.5
    assert curve[[1, 3]] == pytest.approx(straight[[1, 3]], rel=1e-5)
    assert curve[2] < straight[2]
    rises = json.loads(result.stdout)["runs"][0]["barriers"]["train"]
    higher = max(straight[1], straight[3])
    assert rises["straight"] == pytest.approx(max(straight[1:4]) - higher, rel=1e-5, abs=1e-6)
    assert rises["curve"] == pytest.approx(max(curve[1:4]) - higher, rel=1e-5, abs=1e-6)
    along = straight
    for place, path in ((1, small_run.path), (3, other.path)):
        result = run(path, "--mode", "line", "--resolution", 3, "--samples", 50,
                     "--output", tmp_path / path.name, "--json")  # fmt: skip
        assert values(tmp_path / path.name)[0, 1, 0, 0] == pytest.approx(along[place], rel=1e-5)
    wider = dlsuite.train(
        "mnist-mlp", epochs=1, run_dir=tmp_path / "wider",
        settings={"data.train_limit": 300, "model.hidden": [17], "schedule.warmup_epochs": 0.0},
    )  # fmt: skip
    result = run(small_run.path, wider.path, "--mode", "between", "--output", tmp_path / "no")
    assert "only between networks of one shape" in str(result.exception)
    # of one shape, but another function: on images as stored
    raw = dlsuite.train(
        "mnist-mlp", epochs=1, run_dir=tmp_path / "raw",
        settings={"data.train_limit": 300, "data.validation": 100, "model.hidden": [16],
                  "data.normalize": "none", "schedule.warmup_epochs": 0.0},
    )  # fmt: skip
    result = run(small_run.path, raw.path, "--mode", "between", "--output", tmp_path / "no")
    assert "two that differ in their weights alone" in str(result.exception)
    assert not (tmp_path / "no").exists()


def test_a_split_that_one_run_lacks_is_left_out_and_said(small_run, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "without.npz", x_train=rng.integers(0, 256, (300, 28, 28), dtype=np.uint8),
             y_train=np.arange(300) % 10)  # fmt: skip
    other = dlsuite.train(
        "mnist-mlp", data=f"npz:{tmp_path / 'without.npz'}", epochs=1, run_dir=tmp_path / "other",
        settings={"model.hidden": [16], "schedule.warmup_epochs": 0.0},
    )  # fmt: skip
    for place, runs in enumerate([(small_run.path, other.path), (other.path, small_run.path)]):
        result = run(*runs, "--resolution", 3, "--samples", 50, "--output", tmp_path / str(place),
                     "--json")  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "Not drawn, since not every run has it: the test split" in result.stderr
        drawn = json.loads(result.stdout)["files"]
        assert "contours-train.png" in drawn and "contours-test.png" not in drawn


@pytest.mark.slow
def test_a_run_of_half_precision_is_measured_in_float32(tmp_path):
    made = dlsuite.train(
        "mnist-mlp", epochs=1, run_dir=tmp_path / "half", precision="float16", batch_size=50,
        settings={"data.train_limit": 300, "model.hidden": [8], "schedule.warmup_epochs": 0.0},
    )  # fmt: skip
    reports = {}
    for name in ("half", "whole"):
        result = run(made.path, "--mode", "hessian", "--samples", 40, "--output", tmp_path / name,
                     "--json")  # fmt: skip
        assert result.exit_code == 0, result.output
        reports[name] = json.loads(result.stdout)["runs"][0]
        if name == "half":
            assert "was trained in float16; its loss is in float32" in result.stderr
            # the same weights under float32's policy throughout
            whole = keras.models.clone_model(
                made.model,
                clone_function=lambda layer: type(layer).from_config(
                    {**layer.get_config(), "dtype": "float32"}
                ),
            )
            whole.set_weights(made.model.get_weights())
            whole.save(made.path / "model.keras")
    for key in ("eigenvalues", "trace", "sharpness", "loss"):
        # nothing but float32's rounding
        assert reports["half"][key] == pytest.approx(reports["whole"][key], rel=1e-4)


def test_a_line_from_a_network_to_itself_is_refused(small_run, tmp_path):
    result = run(small_run.path, small_run.path, "--mode", "between", "--output", tmp_path / "no")
    assert "needs two different ends" in str(result.exception)
    assert not (tmp_path / "no").exists()


def test_a_bare_name_writes_into_the_run(small_run, tmp_path, monkeypatch):
    shutil.copytree(small_run.path, tmp_path / "runs" / "small")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # nothing that the first one writes may stand for the run in the second
        result = run("small", "--mode", "line", "--resolution", 3, "--samples", 50)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "runs" / "small" / "landscape" / "line.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.slow
def test_the_hessian_is_measured_and_repeats(small_run, tmp_path):
    reports = []
    for name in ("one", "two"):
        result = run(small_run.path, "--mode", "hessian", "--samples", 30,
                     "--output", tmp_path / name, "--json")  # fmt: skip
        assert result.exit_code == 0, result.output
        reports.append(json.loads(result.stdout)["runs"][0])
    assert reports[0] == reports[1]
    assert reports[0]["eigenvalues"] == sorted(reports[0]["eigenvalues"], reverse=True)
    assert (tmp_path / "one" / "hessian.png").stat().st_size > 1000
    again = run(small_run.path, "--mode", "hessian", "--samples", 30,
                "--output", tmp_path / "one", "--json")  # fmt: skip
    assert "All Hessians are there already" in again.stderr
    assert json.loads(again.stdout)["runs"][0] == reports[0]


def test_two_runs_of_one_name_keep_a_file_each(small_run, tmp_path):
    for parent in ("a", "b"):
        shutil.copytree(small_run.path, tmp_path / parent / "run")
    result = run(tmp_path / "a" / "run", tmp_path / "b" / "run", "--mode", "line", "--resolution",
                 3, "--samples", 50, "--output", tmp_path / "out", "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert [row["run"] for row in json.loads(result.stdout)["runs"]] == ["a-run", "b-run"]
    assert sorted(path.name[:6] for path in (tmp_path / "out").glob("*.npz")) == [
        "a-run-",
        "b-run-",
    ]


@pytest.mark.parametrize("mode", ["line", "hessian"])
def test_an_output_that_cannot_be_written_is_one_sentence(mode, small_run, tmp_path):
    (tmp_path / "file").write_text("")
    result = run(small_run.path, "--mode", mode, "--resolution", 3, "--samples", 50,
                 "--output", tmp_path / "file" / "out")  # fmt: skip
    assert isinstance(result.exception, DlsuiteError)
    assert "The output must be writable. Received: " in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resolution", 2], "at least 3 places"),
        (["--resolution", 8], "an odd number of places"),
        (["--mode", "trajectory"], "which kept none. Train with --set train.trajectory=true"),
        (["--mode", "between"], "has two ends. Received: 1 run."),
        ([], "A run is a folder"),
    ],
)
def test_mistakes_are_one_sentence(arguments, words, small_run, tmp_path):
    place = small_run.path if arguments else tmp_path / "nothing"
    result = run(place, *arguments, "--output", tmp_path / "out")
    assert isinstance(result.exception, DlsuiteError)
    assert words in str(result.exception)
