"""`dlsuite verify`: the same run again, another recipe, another machine."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import dlsuite
from dlsuite.cli.main import COMMANDS, cli
from dlsuite.errors import DlsuiteError

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")


@pytest.fixture
def copied(small_run, tmp_path):
    return Path(shutil.copytree(small_run.path, tmp_path / "copy"))


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def as_if_from_another_keras(run):
    version = json.loads((run / "environment.json").read_text())["versions"]["keras"]
    edit(run / "environment.json", f'"keras": "{version}"', '"keras": "3.14.0"')


def test_a_run_repeats_itself(small_run):
    before = {path: path.read_bytes() for path in small_run.path.rglob("*") if path.is_file()}
    done = CliRunner().invoke(cli, ["verify", str(small_run.path), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["status"] == "identical"
    assert said["steps"] >= 10
    assert said["digests"][0]["step"] == 1
    assert all(row["recorded"] == row["now"] for row in said["digests"])
    assert len({row["now"] for row in said["digests"]}) == len(said["digests"])
    assert (said["differences"], said["first_difference"]) == ([], None)
    assert said["loss_deviation"] == 0
    after = {path: path.read_bytes() for path in small_run.path.rglob("*") if path.is_file()}
    assert after == before
    section = PAGE.split("## dlsuite verify\n")[1].split("\n## ")[0]
    assert set(said) <= set(re.findall(r"`([\w]+)`", section))


def test_another_recipe_is_found_out(copied):
    edit(copied / "recipe.toml", "learning_rate = 0.01", "learning_rate = 0.02")
    done = CliRunner().invoke(cli, ["verify", str(copied), "--steps", "1"])
    assert done.exit_code == 1
    assert "Different: from step 1 on. Nothing of versions, processor, device" in done.stderr


def test_rounding_on_another_machine_is_no_difference(copied):
    # a millionth of the rate changes the bits and not the loss, as another library might
    edit(copied / "recipe.toml", "learning_rate = 0.01", "learning_rate = 0.01000001")
    as_if_from_another_keras(copied)
    done = CliRunner().invoke(cli, ["verify", str(copied)])
    assert done.exit_code == 0, done.output
    assert "Note: keras was '3.14.0' and is '3." in done.stderr
    assert "Reproduced: not bit for bit from step 1 on" in done.stderr


@pytest.mark.parametrize(("deterministic", "exit_code"), [(False, 0), (True, 1)])
def test_a_gpu_is_compared_over_its_first_steps_unless_it_repeats_itself(
    copied, monkeypatch, deterministic, exit_code
):
    """On a CPU that is taken for one: other bits from a third record on, and another loss there."""
    monkeypatch.setattr("dlsuite.engine.device.resolve_device", lambda name: "/GPU:0")
    monkeypatch.setattr("tensorflow.config.experimental.enable_op_determinism", lambda: None)
    monkeypatch.setattr("dlsuite.engine.device.is_op_determinism_enabled", lambda: deterministic)
    monkeypatch.setattr("dlsuite.verification.GPU_STEPS", 20)
    path = copied / "digests.jsonl"
    last = json.loads(path.read_text().splitlines()[-1])
    path.write_text(path.read_text() + json.dumps(last | {"step": 36, "weights": "0" * 32}) + "\n")
    rows = [json.loads(line) for line in (copied / "metrics.jsonl").read_text().splitlines()]
    assert 20 < rows[-1]["step"] <= 36
    rows[-1]["loss"] *= 1.05
    (copied / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if deterministic:
        edit(copied / "recipe.toml", "deterministic = false", "deterministic = true")
    edit(copied / "run.json", '"device": "/CPU:0"', '"device": "/GPU:0"')
    done = CliRunner().invoke(cli, ["verify", str(copied)])
    assert done.exit_code == exit_code, done.output
    if deterministic:
        assert "the loss deviates by 4.8e-02 of itself" in done.stderr  # 1 / 1.05 - 1
    else:
        assert "a GPU chooses and sums anew each time without train.deterministic" in done.stderr
        assert "Reproduced: not bit for bit" in done.stderr
        assert "the loss deviates by 0.0e+00 of itself" in done.stderr


def test_other_vector_instructions_are_named_and_unknown_ones_are_not(copied):
    path = copied / "environment.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    described["cpu_instructions"] = ["avx", "avx1024"]
    path.write_text(json.dumps(described), encoding="utf-8")
    done = CliRunner().invoke(cli, ["verify", str(copied), "--steps", "1"])
    assert "cpu_instructions was ['avx', 'avx1024'] and is" in done.stderr
    del described["cpu_instructions"]  # as in folders of before
    path.write_text(json.dumps(described), encoding="utf-8")
    done = CliRunner().invoke(cli, ["verify", str(copied), "--steps", "1", "--json"])
    assert json.loads(done.stdout)["differences"] == []


def test_another_recipe_is_found_out_on_another_machine_too(copied):
    edit(copied / "recipe.toml", "learning_rate = 0.01", "learning_rate = 0.1")
    as_if_from_another_keras(copied)
    found = dlsuite.verify(copied)
    assert found.status == "different"
    assert found.loss_deviation > 0.01


def test_a_run_that_was_resumed_to_another_epoch_repeats_itself(copied):
    """The schedule of its first steps was that of the epochs it had then."""
    dlsuite.resume(copied, epochs=9)
    rows = [json.loads(line) for line in (copied / "digests.jsonl").read_text().splitlines()]
    assert [row["epochs"] for row in rows] == [3, 3, 9]
    found = dlsuite.verify(copied)
    assert found.status == "identical"
    assert [row["step"] for row in found.digests] == [row["step"] for row in rows[:2]]


def test_a_run_without_hashes(copied):
    with pytest.raises(DlsuiteError, match=r"has its first at step 3\. Take more steps\."):
        (copied / "digests.jsonl").write_text('{"step": 3, "weights": "00"}\n')
        dlsuite.verify(copied, steps=2)
    (copied / "digests.jsonl").unlink()
    with pytest.raises(DlsuiteError, match="without any: it ended before its first step"):
        dlsuite.verify(copied)


def test_rows_that_are_damaged_or_cut_short_are_left_out(copied):
    from dlsuite.runs.folder import RunFolder

    (copied / "digests.jsonl").write_bytes(
        b'{"step": 1, "weights": "00"}\n\xff\xfe{"step": 5}\n{"step": 7, "weights": "0\xff"}\n'
        b'{"st\xffp": 9}\n{"step": 10, "wei'
    )
    folder = RunFolder(copied)
    assert folder.read_rows("digests.jsonl") == [{"step": 1, "weights": "00"}]
    assert folder.read_rows("none.jsonl") == []


def test_help_line_is_the_listings():
    from dlsuite.cli import verify

    assert verify.command.help.splitlines()[0] == COMMANDS["verify"]
