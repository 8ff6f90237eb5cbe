import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dlsuite.cli.main import COMMANDS, cli
from dlsuite.data.check import check_dataset
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data


def findings(name, **settings):
    report = check_dataset(Data(name=str(name), **settings))
    return report, {finding.kind: finding for finding in report.findings}


@pytest.fixture
def photos(make_folder):
    return make_folder({"train": ["a", "b"], "test": ["a", "b"]}, count=10, size=(9, 9))


def test_a_sound_folder_has_no_findings(photos):
    report, found = findings(f"folder:{photos}")
    assert found == {}
    assert report.class_counts == {"train": {"a": 10, "b": 10}, "test": {"a": 10, "b": 10}}
    assert report.sizes == {"9x9": 40}
    assert report.modes == {"RGB": 40}


def test_copies_are_found_by_their_pixels(photos):
    train, test = photos / "train", photos / "test"
    # the same pixels in another file format
    Image.open(train / "a" / "0.png").save(test / "a" / "copy.bmp")
    shutil.copy(train / "a" / "1.png", train / "b" / "other.png")
    shutil.copy(train / "b" / "2.png", train / "b" / "twice.png")
    report, found = findings(f"folder:{photos}")
    assert set(found) == {"leak", "conflict", "duplicate"}
    assert report.num_errors == 0
    assert report.num_warnings == 3
    assert found["leak"].count == 1
    assert "train/a/0.png (a)" in found["leak"].examples[0]
    assert "test/a/copy.bmp (a)" in found["leak"].examples[0]
    assert "accuracy will be too high" in found["leak"].message
    assert found["conflict"].count == 1
    assert found["duplicate"].count == 2


def test_every_broken_file_is_found(photos):
    (photos / "train" / "a" / "text.png").write_text("not an image")
    whole = (photos / "test" / "b" / "0.png").read_bytes()
    (photos / "test" / "b" / "0.png").write_bytes(whole[:-40])
    report, found = findings(f"folder:{photos}")
    assert found["unreadable"].severity == "error"
    assert found["unreadable"].count == 2
    assert "2 of 41" in found["unreadable"].message
    said = " ".join(found["unreadable"].examples)
    assert "text.png" in said
    assert "test/b/0.png" in said
    assert "data.corrupt=skip" in found["unreadable"].remedy
    assert report.num_errors == 1


def test_odd_images_are_found(photos):
    folder = photos / "train" / "a"
    Image.new("L", (1, 1)).save(folder / "tiny.png")
    noise = np.random.default_rng(9).integers(0, 256, (10, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "long.png")
    Image.new("RGB", (9, 9), "red").save(folder / "red.png")
    Image.fromarray(noise[:9, :9]).save(folder / "wrong.jpg", format="PNG")
    (folder / "notes.txt").write_text("x")
    report, found = findings(f"folder:{photos}")
    assert set(found) == {"size", "mode", "tiny", "aspect", "constant", "extension", "note"}
    # a setting away from training, and recipes such as finetune-folder have it
    assert found["size"].severity == "warning"
    assert "3 sizes, the most frequent being 9x9; others: 2." in found["size"].message
    assert "--set data.image_size=9" in found["size"].remedy
    assert "--image-size 9" in found["size"].remedy
    assert "42 RGB, 1" not in found["mode"].message
    assert "43 RGB, 1 L" in found["mode"].message
    assert found["tiny"].examples[0].endswith("tiny.png (1x1)")
    assert found["aspect"].examples[0].endswith("long.png (30x10)")
    assert found["constant"].examples[0].endswith("red.png (9x9)")
    assert found["extension"].examples[0].endswith("wrong.jpg: PNG")
    report, found = findings(f"folder:{photos}", image_size=9)
    assert "size" not in found
    assert report.num_errors == 0


def test_uneven_and_scarce_classes_are_found(make_folder):
    root = make_folder({"": ["a"]}, count=25)
    make_folder({"": ["b"]}, count=2, root=root)
    _, found = findings(f"folder:{root}")
    assert "'a' has 25 training examples and 'b' 2" in found["imbalance"].message
    assert found["few"].examples == ["b: 2"]


def test_splits_with_other_classes_are_an_error_and_files_are_checked_all_the_same(photos):
    (photos / "test" / "b").rename(photos / "test" / "c")
    (photos / "train" / "a" / "text.png").write_text("x")
    _, found = findings(f"folder:{photos}")
    assert "only train has 'b', only test has 'c'" in found["refused"].message
    assert found["unreadable"].count == 1


def test_what_is_left_out_and_what_is_missing_is_said(photos):
    (photos / "train").rename(photos / "holdout")
    (photos / "test" / "a" / "notes.txt").write_text("x")
    report, found = findings(f"folder:{photos}")
    assert set(found) == {"note", "no_train"}
    notes = [finding.message for finding in report.findings if finding.kind == "note"]
    assert notes == [
        "Files without an image's extension, left out: 1.",
        "Folders beside the splits were left out: holdout.",
    ]
    assert found["no_train"].severity == "warning"
    assert report.class_counts == {"test": {"a": 10, "b": 10}}


def test_arrays_are_checked(tmp_path):
    images = np.random.default_rng(0).normal(size=(40, 9, 9, 2)).astype(np.float32)
    labels = np.arange(40) % 2
    images[7], images[9] = images[3], 5.0
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    _, found = findings(f"npz:{tmp_path}/a.npz")
    assert set(found) == {"duplicate", "constant"}
    images[11, 2, 3, 1] = np.nan
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    report, found = findings(f"npz:{tmp_path}/a.npz")
    assert "image 11, row 2, column 3, channel 1" in found["refused"].message
    assert report.num_errors == 1


def test_a_csv_is_checked(photos, tmp_path):
    rows = [f"photos/train/{c}/{n}.png,{c}" for c in "ab" for n in range(10)]
    listing = tmp_path / "list.csv"
    listing.write_text("\n".join(["path,label", *rows, "photos/none.png,a"]))
    _, found = findings(f"csv:{listing}")
    assert "no such file" in found["unreadable"].examples[0]


def test_what_cannot_be_looked_at_is_an_error(tmp_path):
    with pytest.raises(DlsuiteError, match="not there"):
        check_dataset(Data(name=f"folder:{tmp_path}/none"))
    with pytest.raises(DlsuiteError, match=r"'folder' needs"):
        check_dataset(Data(name="folder"))


def test_the_command_reports_on_stdout_and_by_its_exit_code(photos):
    run = CliRunner().invoke(cli, ["check-data", f"folder:{photos}", "--json"])
    assert run.exit_code == 0
    report = json.loads(run.stdout)
    assert report["num_errors"] == 0
    assert report["class_counts"]["train"] == {"a": 10, "b": 10}
    (photos / "train" / "a" / "[text].png").write_text("x")
    run = CliRunner().invoke(cli, ["check-data", f"folder:{photos}"])
    assert run.exit_code == 1
    assert "Files that can't be read: 1 of 41." in run.stdout
    assert "[text].png" in run.stdout
    run = CliRunner().invoke(cli, ["check-data", f"folder:{photos}", "--json"])
    assert run.exit_code == 1
    assert json.loads(run.stdout)["findings"][0]["kind"] == "unreadable"


def test_images_without_labels_are_checked_too(tmp_path):
    maps = np.random.default_rng(0).normal(size=(40, 16, 16)).astype(np.float32)
    maps[39] = maps[0]
    np.save(tmp_path / "maps.npy", maps)
    run = CliRunner().invoke(cli, ["check-data", f"npy:{tmp_path / 'maps.npy'}"])
    assert run.exit_code == 0, run.output
    assert "without a label" in run.stdout
    assert "Images in more than one split" in run.stdout


def test_the_listing_shows_datasets_and_readers():
    run = CliRunner().invoke(cli, ["datasets"])
    assert run.exit_code == 0
    for word in ("mnist_5k", "cifar100", "folder:PATH", "h5:PATH#images,labels", "NAME[:20%]"):
        assert word in run.stdout
    listed = json.loads(CliRunner().invoke(cli, ["datasets", "--json"]).stdout)
    assert "mnist_5k" in [entry["name"] for entry in listed["datasets"]]
    assert {entry["name"] for entry in listed["readers"]} == {
        "csv", "folder", "h5", "idx", "npy", "npz", "tfds",
    }  # fmt: skip


@pytest.mark.parametrize("verb", ["datasets", "check-data"])
def test_help_begins_as_the_list_of_commands_says_and_shows_an_example(verb):
    run = CliRunner().invoke(cli, [verb, "--help"])
    lines = [line.strip() for line in run.stdout.splitlines()]
    assert COMMANDS[verb] in lines
    assert any(line.startswith(f"dlsuite {verb}") for line in lines)


def test_listing_and_checking_a_folder_import_no_tensorflow(photos):
    for arguments in (["datasets"], ["check-data", f"folder:{photos}"]):
        code = (
            "import sys; from dlsuite.cli.main import cli\n"
            f"try: cli({arguments!r})\n"
            "except SystemExit as done: assert not done.code\n"
            "assert 'tensorflow' not in sys.modules"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_curated_names_are_known_to_tfds():
    import tensorflow_datasets

    from dlsuite.cli.datasets import _TFDS

    known = tensorflow_datasets.list_builders(with_community_datasets=False)
    assert not set(_TFDS) - set(known)
