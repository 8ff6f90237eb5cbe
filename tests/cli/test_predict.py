"""`dlsuite predict`: table, JSON and CSV, and files that can't be read."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "json.md"


@pytest.fixture(scope="module")
def digits(small_run, tmp_path_factory):
    """Five test digits as PNG files, and the model's own probabilities for them."""
    folder = tmp_path_factory.mktemp("digits")
    images = small_run.load_data().splits["test"].read(np.arange(0, 1000, 200))
    for number, image in enumerate(images):
        Image.fromarray(image[:, :, 0]).save(folder / f"{number}.png")
    logits = small_run.model(images.astype(np.float32)).numpy().astype(float)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return folder, exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.fixture
def predict(small_run):
    def invoke(*arguments):
        return CliRunner().invoke(cli, ["predict", *map(str, (small_run.path, *arguments))])

    return invoke


def test_csv_has_a_column_a_class(predict, digits):
    folder, probabilities = digits
    result = predict(folder, "--format", "csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.reader(io.StringIO(result.stdout)))
    assert rows[0] == ["path", "label", "probability", *"0123456789"]
    assert [row[0] for row in rows[1:]] == [str(folder / f"{n}.png") for n in range(5)]
    values = np.array([row[3:] for row in rows[1:]], float)
    # six digits are printed of float32 arithmetic
    np.testing.assert_allclose(values, probabilities, rtol=2e-5)
    assert [row[1] for row in rows[1:]] == [str(k) for k in probabilities.argmax(axis=1)]
    np.testing.assert_allclose([float(row[2]) for row in rows[1:]], values.max(axis=1))


def test_json_is_one_object(predict, digits, small_run):
    folder, probabilities = digits
    result = predict(folder, "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["run"] == str(small_run.path)
    assert value["class_names"] == list("0123456789")
    assert value["failures"] == []
    first = value["predictions"][0]
    assert list(first["probabilities"]) == list("0123456789")
    np.testing.assert_allclose(list(first["probabilities"].values()), probabilities[0], rtol=2e-5)
    assert first["probability"] == first["probabilities"][first["label"]]
    assert predict(folder, "--format", "json").stdout == result.stdout


def test_top_leaves_the_most_probable_classes(predict, digits):
    folder, probabilities = digits
    order = np.argsort(-probabilities, axis=1)[:, :2].astype(str)
    value = json.loads(predict(folder, "--json", "--top", 2).stdout)
    assert [list(row["probabilities"]) for row in value["predictions"]] == order.tolist()
    rows = list(csv.reader(io.StringIO(predict(folder, "--format", "csv", "--top", 2).stdout)))
    assert rows[0] == ["path", "label", "probability", "label_2", "probability_2"]
    assert [[row[1], row[3]] for row in rows[1:]] == order.tolist()
    # more than there are classes is all of them
    value = json.loads(predict(folder, "--json", "--top", 99).stdout)
    assert len(value["predictions"][0]["probabilities"]) == 10


def test_the_table_names_label_probability_and_runners_up(predict, digits):
    folder, probabilities = digits
    result = predict(folder / "3.png")
    assert result.exit_code == 0, result.output
    header, row = result.stdout.splitlines()
    assert header.split() == ["image", "label", "probability", "next"]
    best = np.argsort(-probabilities[3])[:3]
    words = [str(folder / "3.png")]
    for k in best:
        words += [str(k), f"{probabilities[3, k]:.4f}"]
    assert row.replace(",", "").split() == words
    (header, row) = predict(folder / "3.png", "--top", 1).stdout.splitlines()
    assert header.split() == ["image", "label", "probability"]
    assert row.split() == words[:3]


def test_a_file_takes_the_format_of_its_suffix(predict, digits, tmp_path):
    folder, _ = digits
    result = predict(folder, "--output", tmp_path / "a.json")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "a.json" in result.stderr
    assert len(json.loads((tmp_path / "a.json").read_text())["predictions"]) == 5
    predict(folder, "--output", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == predict(folder, "--format", "csv").stdout
    predict(folder, "--output", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == predict(folder).stdout


def test_it_says_how_many_images_it_resized(predict, digits, tmp_path):
    folder, _ = digits
    assert "another size" not in predict(folder).stderr
    Image.new("L", (40, 30)).save(tmp_path / "wide.png")
    result = predict(folder / "0.png", tmp_path / "wide.png", "--json")
    assert "1 of 2 images had another size and became 28 x 28 pixels" in result.stderr
    sizes = [row["size"] for row in json.loads(result.stdout)["predictions"]]
    assert sizes == [[28, 28], [30, 40]]


def test_unreadable_files_are_named_and_the_others_done(predict, digits, tmp_path):
    folder, _ = digits
    bad = tmp_path / "[bold]text.png"
    bad.write_text("no image")
    # a name that the system refuses to look for
    absent = tmp_path / ("absent" * 60 + ".jpg")
    result = predict(folder / "0.png", bad, folder / "1.png", absent, "--json")
    assert result.exit_code == 1
    value = json.loads(result.stdout)
    assert [Path(row["path"]).name for row in value["predictions"]] == ["0.png", "1.png"]
    assert [failure["path"] for failure in value["failures"]] == [str(bad), str(absent)]
    assert all(failure["path"] in failure["reason"] for failure in value["failures"])
    for line, path in zip(result.stderr.splitlines(), (bad, absent), strict=False):
        assert line.startswith("Error: ")
        assert str(path) in line
    assert "2 could not be classified." in result.stderr


def test_only_unreadable_files_still_give_valid_output(predict, tmp_path):
    result = predict(tmp_path / "absent.png", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["predictions"] == []


def test_the_output_file_is_complete_or_absent(predict, digits, tmp_path, monkeypatch):
    folder, _ = digits
    target = tmp_path / "a.csv"
    target.write_text("before")

    def break_down(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("dlsuite.analysis.prediction.Forward.__call__", break_down)
    result = predict(folder, "--output", target)
    assert isinstance(result.exception, RuntimeError)
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_an_output_that_can_not_be_written_is_refused(predict, digits, tmp_path):
    folder, _ = digits
    result = predict(folder, "--output", tmp_path / "no" / "folder.csv")
    assert isinstance(result.exception, DlsuiteError)
    assert re.search(r"writable.*folder\.csv.*No such file.*--output", str(result.exception))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "--format", "csv"], "--json is short for --format json.*csv"),
        (["--output", "image.png"], r"\.csv, \.json or \.txt.*'image\.png'"),
        (["--top", "0"], "x>=1"),
    ],
)
def test_wrong_usage_ends_with_2(predict, digits, arguments, words):
    result = predict(digits[0], *arguments)
    assert result.exit_code == 2
    assert re.search(words, " ".join(result.stderr.split()))
    assert result.stdout == ""


def test_no_image_is_wrong_usage(predict):
    result = predict()
    assert result.exit_code == 2
    assert "IMAGE..." in result.stderr


def test_a_table_of_many_rows_comes_in_pieces(predict, digits, monkeypatch):
    folder, _ = digits
    monkeypatch.setattr("dlsuite.cli.predict._TABLE_ROWS", 2)
    lines = predict(folder).stdout.splitlines()
    assert [line.split()[0] == "image" for line in lines].count(True) == 3
    assert len(lines) == 5 + 3


def test_every_key_of_the_json_is_documented(predict, digits, tmp_path):
    section = DOCUMENTATION.read_text().split("## dlsuite predict")[1].split("\n## ")[0]
    value = json.loads(predict(digits[0] / "0.png", tmp_path / "absent.png", "--json").stdout)
    documented = set(re.findall(r"^\| `([\w.\[\]]+)`", section, re.MULTILINE))
    keys = set(value)
    for name in ("predictions", "failures"):
        keys |= {f"{name}[].{key}" for key in value[name][0]}
    assert documented == keys
