import numpy as np
import pytest
from PIL import Image

from dlsuite.data.load import load_dataset, read_source
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data


def source(path, **settings):
    return read_source(Data(name=f"folder:{path}", **settings))


def test_a_folder_without_splits_is_all_training(make_folder):
    root = make_folder({"": ["dog", "cat", "ant"]}, count=5)
    made = source(root)
    assert made.class_names == ("ant", "cat", "dog")
    assert made.image_shape == (6, 8, 3)
    assert list(made.splits) == ["train"]
    train = made.splits["train"]
    assert train.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    for index in (0, 7, 14):
        stored = np.asarray(Image.open(train.names[index]))
        assert np.array_equal(train.images[index], stored)
        assert np.array_equal(train.read(np.array([index]))[0], stored)


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("train", "validation", "test"), ("Training", "val", "Testing"), ("TRAIN", "valid", "test")],
)
def test_split_folders_become_splits(make_folder, train, validation, test):
    root = make_folder({train: ["a", "b"], validation: ["a", "b"], test: ["a", "b"]})
    made = source(root)
    assert list(made.splits) == ["train", "validation", "test"]
    assert {split.num_examples for split in made.splits.values()} == {8}
    names = {name for split in made.splits.values() for name in split.names}
    assert len(names) == 24


def test_two_folders_for_one_split_are_refused(make_folder):
    root = make_folder({"train": ["a", "b"], "val": ["a", "b"], "validation": ["a", "b"]})
    with pytest.raises(DlsuiteError, match=r"Received: val and validation in.*both for validation"):
        source(root)


def test_folders_beside_the_splits_are_named(make_folder):
    root = make_folder({"train": ["a", "b"], "test": ["a", "b"], "holdout": ["a", "b"]})
    made = source(root)
    assert list(made.splits) == ["train", "test"]
    assert made.notes == ["Folders beside the splits were left out: holdout."]


def test_a_class_may_be_called_as_a_split_is(make_folder):
    made = source(make_folder({"": ["bus", "car", "train"]}))
    assert made.class_names == ("bus", "car", "train")
    assert made.splits["train"].num_examples == 12
    assert made.notes == []


def test_what_may_be_a_split_or_a_class_is_refused(make_folder):
    root = make_folder({"": ["bus", "car", "train"], "train": ["freight"]})
    with pytest.raises(
        DlsuiteError, match=r"/train' with folders and 4 images.*Rename it.*csv:PATH"
    ):
        source(root)


def test_class_folders_beside_a_split_of_classes_are_not_dropped(make_folder):
    root = make_folder({"": ["bus", "car"], "train": ["freight", "passenger"]})
    with pytest.raises(
        DlsuiteError,
        match=r"train with class folders beside bus, car with images.*folder:.*/train; if",
    ):
        source(root)
    assert source(root / "train").class_names == ("freight", "passenger")


def test_unlabelled_split_folders_are_no_classes(make_folder):
    root = make_folder({"": ["train", "test"]})
    with pytest.raises(DlsuiteError, match=r"one sub-folder a class.*/train' with none and 4"):
        source(root)
    labelled = make_folder({"train": ["a", "b"], "": ["test"]}, root=root.parent / "labelled")
    with pytest.raises(DlsuiteError, match=r"one sub-folder a class.*/test' with none and 4"):
        source(labelled)


def test_stray_images_and_linked_folders_are_counted(make_folder):
    root = make_folder({"": ["a", "b"]})
    elsewhere = make_folder({"": ["more"]}, root=root.parent / "elsewhere")
    (root / "a" / "linked").symlink_to(elsewhere / "more", target_is_directory=True)
    Image.new("RGB", (8, 6)).save(root / "stray.png")
    made = source(root)
    assert made.splits["train"].num_examples == 8
    assert made.notes == [
        "Linked folders within class folders, left out: 1.",
        "Images beside the class folders, left out: 1.",
    ]


def test_stray_images_in_a_split_are_counted(make_folder):
    root = make_folder({"train": ["a", "b"], "test": ["a", "b"]})
    Image.new("RGB", (8, 6)).save(root / "train" / "stray.png")
    made = source(root)
    assert list(made.splits) == ["train", "test"]
    assert made.notes == ["Images beside the class folders, left out: 1."]


@pytest.mark.parametrize(
    "path", ["~nosuchuser/photos", "x" * 300, "a\0b"], ids=["no user", "long", "null"]
)
@pytest.mark.parametrize("reader", ["folder", "npz", "h5", "csv", "idx"])
def test_paths_that_the_system_refuses_are_not_there(reader, path):
    with pytest.raises(DlsuiteError, match=rf"{reader}:PATH reads a f.*which is not there"):
        read_source(Data(name=f"{reader}:{path}"))


def test_grey_folders_stay_grey_and_mixed_ones_become_rgb(make_folder, tmp_path):
    root = make_folder({"": ["a", "b"]}, mode="L")
    assert source(root).image_shape == (6, 8, 1)
    assert source(root, channels=3).image_shape == (6, 8, 3)
    Image.new("RGB", (8, 6), "red").save(root / "a" / "colour.png")
    assert source(root).image_shape == (6, 8, 3)
    assert source(root, channels=1).image_shape == (6, 8, 1)


def test_hidden_and_other_files_are_left_out_and_nested_ones_found(make_folder):
    root = make_folder({"": ["a", "b"]}, count=2)
    (root / "a" / "notes.txt").write_text("x")
    (root / "a" / ".hidden.png").write_text("x")
    (root / ".cache").mkdir()
    (root / "a" / "deeper").mkdir()
    Image.new("RGB", (8, 6)).save(root / "a" / "deeper" / "c.JPG", format="JPEG")
    made = source(root)
    assert made.splits["train"].num_examples == 5
    assert made.notes == ["Files without an image's extension, left out: 1."]


def test_more_than_memory_allows_is_read_when_needed(make_folder):
    root = make_folder({"train": ["a", "b"], "test": ["a", "b"]})
    held, lazy = source(root), source(root, memory_gb=0.0)
    assert lazy.splits["train"].images is None
    indices = np.array([7, 0, 3, 3])
    for split in ("train", "test"):
        assert np.array_equal(lazy.splits[split].read(indices), held.splits[split].images[indices])
    assert any("memory_gb=0" in note for note in lazy.notes)
    measured = load_dataset(Data(name=f"folder:{root}", validation=2, memory_gb=0.0))
    expected = load_dataset(Data(name=f"folder:{root}", validation=2))
    assert measured.mean == expected.mean
    assert measured.splits["train"].names == expected.splits["train"].names


def test_differing_sizes_need_a_size(make_folder):
    root = make_folder({"": ["a", "b"]})
    Image.new("RGB", (20, 10)).save(root / "a" / "large.png")
    Image.new("RGB", (1, 1)).save(root / "a" / "one.png")
    with pytest.raises(
        DlsuiteError, match=r"one size.*8x6 \(8\).*20x10 \(1\).*1x1 \(1\).*data.image_size=6"
    ):
        source(root)
    made = source(root, image_size=5)
    assert made.image_shape == (5, 5, 3)
    assert made.splits["train"].num_examples == 10


@pytest.mark.parametrize("memory_gb", [2.0, 0.0])
def test_corrupt_files_end_the_run_or_are_counted(make_folder, memory_gb):
    root = make_folder({"": ["a", "b"]})
    (root / "a" / "text.png").write_text("no image at all")
    whole = (root / "b" / "0.png").read_bytes()
    (root / "b" / "0.png").write_bytes(whole[: len(whole) // 2])
    skipping = source(root, corrupt="skip", memory_gb=memory_gb)
    train = skipping.splits["train"]
    assert train.num_examples == 7
    assert train.labels.tolist() == [0] * 4 + [1] * 3
    assert not any("text.png" in name for name in train.names)
    assert any(
        "Unreadable files of train left out: 2" in n and "text.png" in n for n in skipping.notes
    )
    with pytest.raises(DlsuiteError, match=r"text.png.*it holds text"):
        source(root, memory_gb=memory_gb).splits["train"].read(np.arange(9))


def test_nothing_but_corrupt_files_names_the_first(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "bad.png").write_text("no image")
    with pytest.raises(DlsuiteError, match=r"a/bad.png.*it holds text"):
        source(tmp_path)
    with pytest.raises(
        DlsuiteError, match=r"image that can be read. Received: none in train of a, b"
    ):
        source(tmp_path, corrupt="skip", image_size=4, channels=3)


def test_what_is_wrong_with_a_folder_is_said(make_folder, tmp_path):
    root = make_folder({"train": ["a", "b", "c"], "test": ["a", "b", "d"]})
    with pytest.raises(DlsuiteError, match=r"same classes.*only train has 'c', only test has 'd'"):
        source(root)
    (root / "test" / "d").rename(root / "test" / "c")
    (root / "train" / "empty").mkdir()
    with pytest.raises(DlsuiteError, match=r"must hold images.*train/empty.*0 files"):
        source(root)
    with pytest.raises(DlsuiteError, match=r"reads a folder.*which is not there"):
        source(tmp_path / "nowhere")
    with pytest.raises(DlsuiteError, match=r"reads a folder.*which is a file"):
        source(root / "train" / "a" / "0.png")
    with pytest.raises(DlsuiteError, match=r"one sub-folder a class.*4 images"):
        source(root / "train" / "a")
    with pytest.raises(DlsuiteError, match=r"folder:PATH needs a folder.*no path"):
        source("")


def test_a_single_class_and_a_missing_training_split_are_refused(make_folder):
    root = make_folder({"test": ["a", "b"]})
    with pytest.raises(DlsuiteError, match=r"needs a training split.*with test alone"):
        load_dataset(Data(name=f"folder:{root}"))
    (root / "test").rename(root / "train")
    (root / "train" / "b").rename(root.parent / "b")
    with pytest.raises(DlsuiteError, match=r"at least two classes. Received: a\."):
        source(root)


def test_a_csv_lists_paths_relative_to_itself(make_folder, tmp_path):
    root = make_folder({"": ["a", "b"]})
    rows = ["\ufeffpath, label ,split,more"]
    rows += [f"photos/{label}/{n}.png,{label},{'test' if n == 3 else 'train'},1"
             for n in range(4) for label in "ba"]  # fmt: skip
    listing = tmp_path / "list.csv"
    listing.write_text("\n".join(rows), encoding="utf-8")
    made = read_source(Data(name=f"csv:{listing}"))
    assert made.class_names == ("a", "b")
    assert {name: split.num_examples for name, split in made.splits.items()} == {
        "train": 6,
        "test": 2,
    }
    assert made.splits["train"].labels.tolist() == [1, 0, 1, 0, 1, 0]
    expected = np.asarray(Image.open(root / "b" / "0.png"))
    assert np.array_equal(made.splits["train"].images[0], expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.png,x\n", r"columns path and label. Received: file, label.*path"),
        ("", r"Received: an empty file"),
        ("path,label\na.png,\n", r"path 'a.png' and label ''.*line 2"),
        ("path,label\na.png\n", r"label ''.*line 2"),
        ("path,label,split\na.png,x,dev\n", r"Received: 'dev'.*line 2"),
        ("path,label\n", r"must hold images.*list.csv' without a line"),
        ("path,label\na.png,x\nb.png,y\n", r"a.png.*there is no such file"),
        ("path,label\na.png,x\n", r"at least two classes. Received: x"),
    ],
)
def test_what_is_wrong_with_a_csv_is_said(tmp_path, text, words):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(DlsuiteError, match=words):
        read_source(Data(name=f"csv:{path}"))
