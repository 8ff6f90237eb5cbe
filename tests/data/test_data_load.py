import subprocess
import sys

import numpy as np
import pytest

from dlsuite.data import DATASETS
from dlsuite.data.load import absolute_name, load_dataset, load_for_evaluation, resolve
from dlsuite.data.splits import stratified_indices
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data


def name_of(root):
    return f"folder:{root}"


def test_shares_are_drawn_by_class_with_the_largest_remainders():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    np.random.default_rng(0).shuffle(labels)
    share, rest = stratified_indices(labels, 11)
    # 11 * (50, 30, 20) / 100 = 5.5, 3.3, 2.2: the remaining one goes to class 0
    assert np.bincount(labels[share]).tolist() == [6, 3, 2]
    assert sorted([*share, *rest]) == list(range(100))
    assert np.array_equal(share, stratified_indices(labels, 11)[0])
    # drawn, not the first of each class
    assert not np.array_equal(share[labels[share] == 0], np.flatnonzero(labels == 0)[:6])


@pytest.mark.parametrize(("validation", "expected"), [(4, 4), (0.25, 5), (1, 1)])
def test_validation_is_cut_from_training(make_folder, validation, expected):
    root = make_folder({"train": ["a", "b"], "test": ["a", "b"]}, count=10)
    made = load_dataset(Data(name=name_of(root), validation=validation))
    assert made.splits["validation"].num_examples == expected
    assert made.splits["train"].num_examples == 20 - expected
    names = [set(split.names) for split in made.splits.values()]
    assert len(set.union(*names)) == sum(map(len, names)) == 40
    assert all("/test/" not in name for name in made.splits["validation"].names)


def test_the_validation_cut_is_the_same_on_every_machine(make_folder):
    root = make_folder({"": ["a", "b"]}, count=10)
    made = load_dataset(Data(name=name_of(root), validation=4))
    names = [name.removeprefix(f"{root}/") for name in made.splits["validation"].names]
    # what NumPy's frozen RandomState draws with the fixed seed
    random = np.random.RandomState(20150521)
    drawn = [sorted(random.permutation(10)[:2]) for _ in range(2)]
    assert names == [f"{c}/{n}.png" for c, chosen in zip("ab", drawn, strict=True) for n in chosen]


def test_an_own_validation_split_is_kept(make_folder):
    root = make_folder({"train": ["a", "b"], "val": ["a", "b"]}, count=3)
    made = load_dataset(Data(name=name_of(root)))
    assert list(made.splits) == ["train", "validation"]
    assert made.splits["validation"].num_examples == 6
    assert made.notes == ["The dataset has no test split."]


def test_training_can_be_limited_by_class_after_validation_is_cut(make_folder):
    root = make_folder({"": ["a", "b"]}, count=10)
    made = load_dataset(Data(name=name_of(root), validation=4, train_limit=6))
    assert np.bincount(made.splits["train"].labels).tolist() == [3, 3]
    whole = load_dataset(Data(name=name_of(root), validation=4))
    assert made.splits["validation"].names == whole.splits["validation"].names
    pixels = made.splits["train"].images.reshape(-1, 3).astype(np.float64)
    assert made.mean == pytest.approx(pixels.mean(axis=0))


def test_splits_that_would_be_empty_are_refused(make_folder):
    root = make_folder({"": ["a", "b"]}, count=2)
    with pytest.raises(DlsuiteError, match=r"data.validation=4, which takes 4 of 4"):
        load_dataset(Data(name=name_of(root), validation=4))
    with pytest.raises(DlsuiteError, match=r"data.validation=0.01, which takes 0 of 4"):
        load_dataset(Data(name=name_of(root), validation=0.01))
    with pytest.raises(DlsuiteError, match=r"none of a among 1.*raise data.train_limit=1"):
        load_dataset(Data(name=name_of(root), validation=1, train_limit=1))


def test_a_class_that_validation_takes_whole_is_named(make_folder):
    root = make_folder({"": ["a", "b", "c"]}, count=1)
    with pytest.raises(DlsuiteError, match=r"none of a among 2.*lower data.validation=1\.$"):
        load_dataset(Data(name=name_of(root), validation=1))


def test_labels_follow_the_order_of_a_trained_network(make_folder):
    root = make_folder({"": ["a", "b", "c"]}, count=2)
    made = load_dataset(Data(name=name_of(root), validation=1), class_names=["c", "a", "b"])
    assert made.class_names == ("c", "a", "b")
    for split in made.splits.values():
        for name, label in zip(split.names, split.labels, strict=True):
            assert f"/{made.class_names[label]}/" in name
    with pytest.raises(DlsuiteError, match=r"the 3 classes.*without d and with c besides"):
        load_dataset(Data(name=name_of(root)), class_names=["a", "b", "d"])


def test_a_plain_folder_is_evaluated_whole(make_folder):
    root = make_folder({"": ["a", "b"]}, count=1)
    made = load_for_evaluation(Data(name=name_of(root)), class_names=["b", "a"])
    assert made.splits["test"].num_examples == 2
    assert made.splits["test"].labels.tolist() == [1, 0]
    assert any("stands for it: 2 images" in note for note in made.notes)


def test_evaluation_needs_no_training_split(make_folder, tmp_path):
    root = make_folder({"test": ["a", "b"]}, count=3)
    made = load_for_evaluation(Data(name=name_of(root)), class_names=["a", "b"])
    assert list(made.splits) == ["test"]
    assert made.mean is None
    assert made.std is None
    images = np.random.default_rng(0).normal(size=(6, 4, 4))
    np.savez(tmp_path / "a.npz", x_test=images, y_test=np.arange(6) % 2)
    made = load_for_evaluation(Data(name=f"npz:{tmp_path}/a.npz"), class_names=["0", "1"])
    assert made.splits["test"].num_examples == 6
    with pytest.raises(DlsuiteError, match=r"training split.*with test alone.*dlsuite evaluate"):
        load_dataset(Data(name=f"npz:{tmp_path}/a.npz"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("folder:~/my photos", ("folder", "~/my photos")),
        ("h5:a.h5#x,y", ("h5", "a.h5#x,y")),
        ("mnist_5k", ("mnist_5k", "")),
        ("mnist_5k[:20%]", ("mnist_5k", "[:20%]")),
        ("cifar10:3.0.2", ("tfds", "cifar10:3.0.2")),
        ("imagenette/160px-v2[:5%]", ("tfds", "imagenette/160px-v2[:5%]")),
        ("tfds:mnist", ("tfds", "mnist")),
    ],
)
def test_names_resolve_to_readers(name, expected):
    assert resolve(name) == expected


def test_readers_without_a_path_and_paths_without_a_reader_are_explained(tmp_path):
    with pytest.raises(DlsuiteError, match=r"'folder' needs.*Write folder:PATH"):
        resolve("folder")
    with pytest.raises(DlsuiteError, match=rf"Write folder:{tmp_path}[^;]*$"):
        resolve(str(tmp_path))
    for path in ("./mistyped", "~nosuchuser/photos", "/" + 300 * "x"):
        with pytest.raises(DlsuiteError, match=rf"A path needs.*Write folder:{path}"):
            resolve(path)
    # too long for a file, but no path by its looks
    assert resolve(300 * "x") == ("tfds", 300 * "x")


def test_a_folder_that_hides_a_dataset_of_tfds_leaves_a_way_to_it(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DlsuiteError, match=r"Write folder:mnist.*tfds:mnist is the dataset"):
        resolve("mnist")
    assert resolve("tfds:mnist") == ("tfds", "mnist")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("folder:photos", "folder:{}/photos"),
        ("folder:../a#b", "folder:{}/../a#b"),
        ("h5:a.h5#maps/x,kinds", "h5:{}/a.h5#maps/x,kinds"),
        ("npz:/data/a.npz", "npz:/data/a.npz"),
        ("mnist_5k[:20%]", "mnist_5k[:20%]"),
        ("tfds:mnist", "tfds:mnist"),
        ("cifar10", "cifar10"),
    ],
)
def test_paths_are_made_absolute(tmp_path, monkeypatch, name, expected):
    monkeypatch.chdir(tmp_path)
    assert absolute_name(name) == expected.format(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute_name("csv:~/list.csv") == f"csv:{tmp_path}/list.csv"


def test_listing_datasets_imports_nothing_heavy():
    code = (
        "import sys; from dlsuite.data import DATASETS; assert len(DATASETS) >= 7;"
        "heavy = {'tensorflow', 'keras', 'numpy', 'tensorflow_datasets', 'h5py', 'PIL'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", list(DATASETS))
def test_every_entry_says_what_it_is_and_how_to_write_it(name):
    entry = DATASETS[name]
    assert entry.description
    assert entry.source
    assert entry.details["kind"] in ("dataset", "reader")
    assert entry.details["syntax"]
    assert callable(DATASETS.load(name))
