import gzip
import os
import pickle
import struct
import zipfile

import h5py
import numpy as np
import pytest

from dlsuite.data.load import load_dataset, read_source
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data


def images(count=12, *shape, dtype=np.uint8, seed=0):
    made = np.random.default_rng(seed).integers(0, 256, (count, *(shape or (5, 4))))
    return made.astype(dtype)


def labels(count=12, classes=3):
    return np.arange(count) % classes


@pytest.fixture
def archive(tmp_path):
    """Saves arrays as npz and reads them."""

    def read(settings=None, **arrays):
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return read_source(Data(name=f"npz:{path}", **(settings or {})))

    return read


def test_grey_images_get_a_channel_axis_and_splits_their_names(archive):
    made = archive(x_train=images(), y_train=labels(), x_test=images(6), y_test=labels(6))
    assert made.image_shape == (5, 4, 1)
    assert made.class_names == ("0", "1", "2")
    assert made.value_range == (0.0, 255.0)
    assert list(made.splits) == ["train", "test"]
    assert np.array_equal(made.splits["test"].images[..., 0], images(6))
    assert made.splits["train"].names[3].endswith("data.npz/train/3")


@pytest.mark.parametrize("names", [("images", "labels"), ("train_images", "train_labels"),
                                   ("X", "y"), ("X_train", "y_train")])  # fmt: skip
def test_usual_names_are_found(archive, names):
    made = archive(**{names[0]: images(), names[1]: labels()})
    assert made.splits["train"].num_examples == 12


def test_floats_of_any_channel_count_keep_their_range(archive):
    values = np.random.default_rng(0).normal(size=(12, 5, 4, 7))
    made = archive(images=values, labels=labels())
    stored = made.splits["train"].images
    assert stored.dtype == np.float32
    assert np.array_equal(stored, values.astype(np.float32))
    assert made.value_range == (stored.min(), stored.max())
    large = archive(images=images(dtype=np.uint16) * 200, labels=labels())
    assert large.splits["train"].images.dtype == np.float32
    assert large.value_range[1] > 255
    masks = archive(images=images() > 99, labels=labels())
    assert masks.value_range == (0.0, 1.0)
    assert masks.splits["train"].images.dtype == np.uint8


def test_labels_may_be_strings(archive):
    made = archive(images=images(), labels=np.array(["pear", "apple", "fig"])[labels()])
    assert made.class_names == ("apple", "fig", "pear")
    assert made.splits["train"].labels[:3].tolist() == [2, 0, 1]


def test_images_are_resized_and_converted_when_asked(archive):
    made = archive({"image_size": 3, "channels": 3}, images=images(), labels=labels())
    assert made.image_shape == (3, 3, 3)
    with pytest.raises(DlsuiteError, match=r"data.channels=1 for images of 2 channels"):
        archive({"channels": 1}, images=images(12, 5, 4, 2), labels=labels())


def test_labels_may_be_booleans(archive):
    made = archive(images=images(), labels=labels(classes=2).astype(bool))
    assert made.class_names == ("0", "1")
    assert made.splits["train"].labels.tolist() == [0, 1] * 6


def test_the_range_is_that_of_training(archive):
    values = np.random.default_rng(0).normal(size=(12, 5, 4)).astype(np.float32)
    made = archive(x_train=values, y_train=labels(), x_test=3 * values, y_test=labels())
    assert made.value_range == (values.min(), values.max())
    assert np.array_equal(made.splits["test"].images[..., 0], 3 * values)


def test_a_layout_that_may_be_channels_first_is_noted(archive):
    made = archive(images=images(12, 3, 32, 48), labels=labels())
    assert made.image_shape == (3, 32, 48)
    (note,) = made.notes
    assert "3 rows, 32 columns and 48 channels" in note
    assert "numpy.moveaxis(images, 1, -1)" in note
    assert archive(images=images(12, 32, 48, 3), labels=labels()).notes == []
    assert archive(images=images(12, 5, 4, 7), labels=labels()).notes == []


BAD = np.arange(240, dtype=np.float32).reshape(12, 5, 4)
BAD[7, 3, 2] = np.nan
HUGE = np.zeros((12, 5, 4))
HUGE[1, 0, 3] = 1e300


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": BAD, "labels": labels()}, r"nan in 'images', image 7, row 3, column 2"),
        ({"images": HUGE, "labels": labels()}, r"1e\+300 in 'images', image 1, row 0, column 3"),
        (
            {"images": images(), "labels": labels(), "x_test": images()},
            r"come together\. Received: 'x_test'.*without its labels",
        ),
        ({"images": images(), "labels": labels(11)}, r"12 in 'images' and 11 in 'labels'"),
        ({"images": images()[:, 0], "labels": labels()}, r"shape \(12, 4\)"),
        ({"images": images()[:, 0, 0], "labels": labels()}, r"shape \(12,\)"),
        ({"images": images()[:0], "labels": labels(0)}, r"shape \(0, 5, 4\)"),
        ({"images": images()[:, :0], "labels": labels()}, r"shape \(12, 0, 4\)"),
        ({"images": images(12, 3, 8, 8), "labels": labels()}, r"\(12, 3, 8, 8\).*moveaxis"),
        ({"images": images().astype("U3"), "labels": labels()}, r"of type <U3"),
        ({"images": images(), "labels": np.eye(3)[labels()]}, r"\(12, 3\).*argmax"),
        ({"images": images(), "labels": labels() + 1}, r"0 to K-1.*1, 2, 3 in 'labels'"),
        ({"images": images(), "labels": labels() * 2}, r"Received: 0, 2, 4 in"),
        ({"images": images(), "labels": labels() - 1}, r"Received: -1, 0, 1 in"),
        ({"images": images(), "labels": labels() / 2}, r"integers.*type float64"),
        ({"images": images(), "labels": labels() * 0}, r"at least two classes.*only 0"),
        ({"images": np.full((12, 5, 4), 0.5), "labels": labels()}, r"0.5 for every value"),
        (
            {"images": images(), "labels": np.array([b"caf\xe9", b"tea", b"bun"])[labels()]},
            r"UTF-8. Received: b'caf\\xe9' in 'labels'",
        ),
        (
            {"x_train": images(), "y_train": np.array(["0", "1", "2"])[labels()],
             "x_test": images(), "y_test": labels()},
            r"one type. Received: <U1 in 'y_train' and int64 in 'y_test'",
        ),
        ({"pixels": images(), "classes": labels()}, r"Received: classes, pixels in"),
        (
            {"x_train": images(), "y_train": labels(), "x_test": images(), "y_test": labels(12, 4)},
            r"Received: 3 in 'y_test' but not in 'y_train'",
        ),
        (
            {"x_train": images(), "y_train": labels(), "x_test": images(12, 5, 5),
             "y_test": labels()},
            r"\(5, 4, 1\) in train and \(5, 5, 1\) in test",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_arrays_is_said(archive, arrays, words):
    with pytest.raises(DlsuiteError, match=words):
        archive(**arrays)


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_archives_are_never_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", images=images(), labels=np.array([Hostile()] * 12, dtype=object))
    with pytest.raises(DlsuiteError, match=r"Python objects.*never unpickles"):
        read_source(Data(name="npz:data.npz"))
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(DlsuiteError, match=r"plain.npz"):
        read_source(Data(name="npz:plain.npz"))
    assert not (tmp_path / "executed").exists()


def test_archives_that_are_none_or_too_large_are_refused(tmp_path, archive):
    text = tmp_path / "text.npz"
    text.write_text("no archive")
    with pytest.raises(DlsuiteError, match=r"numpy.savez writes.*text.npz"):
        read_source(Data(name=f"npz:{text}"))
    np.save(tmp_path / "one.npy", images())
    with pytest.raises(DlsuiteError, match=r"one.npy.*single array"):
        read_source(Data(name=f"npz:{tmp_path}/one.npy"))
    np.savez_compressed(tmp_path / "small.npz", images=images(), labels=labels())
    with pytest.raises(DlsuiteError, match=r"0.00 GB.*memory_gb=1e-09.*numpy.savez"):
        read_source(Data(name=f"npz:{tmp_path}/small.npz", memory_gb=1e-9))
    with pytest.raises(DlsuiteError, match=r"npz:PATH reads a file.*which is a folder"):
        read_source(Data(name=f"npz:{tmp_path}"))


def test_what_numpy_would_read_in_place_of_what_was_measured_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, images=images(), labels=labels())
    with zipfile.ZipFile(path, "a") as file:
        # np.load gives this one for "images"; its size isn't that of images.npy
        file.writestr("images", file.read("images.npy"))
    with pytest.raises(DlsuiteError, match=r"'images' doesn't end in .npy"):
        read_source(Data(name=f"npz:{path}"))
    np.savez(path, images=images(), labels=labels())
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("images.npy", file.read("images.npy"))
    with pytest.raises(DlsuiteError, match=r"holds 'images.npy' twice"):
        read_source(Data(name=f"npz:{path}"))


def write_idx(path, array, code=0x08):
    content = struct.pack(">BBBB", 0, 0, code, array.ndim)
    content += struct.pack(f">{array.ndim}I", *array.shape)
    content += array.astype({0x08: ">u1", 0x0D: ">f4"}[code]).tobytes()
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as file:
        file.write(content)
    return content


def test_idx_folders_plain_and_gzipped(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images())
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels())
    write_idx(tmp_path / "t10k-images.idx3-ubyte", images(6, seed=1))
    write_idx(tmp_path / "t10k-labels.idx1-ubyte", labels(6))
    made = read_source(Data(name=f"idx:{tmp_path}"))
    assert np.array_equal(made.splits["train"].images[..., 0], images())
    assert np.array_equal(made.splits["test"].images[..., 0], images(6, seed=1))
    assert made.splits["test"].labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_idx_floats_are_big_endian(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", images() / 7, code=0x0D)
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels())
    made = read_source(Data(name=f"idx:{tmp_path}"))
    expected = (images() / 7).astype(np.float32)
    assert np.array_equal(made.splits["train"].images[..., 0], expected)


def test_what_is_wrong_with_idx_files_is_said(tmp_path):
    name = f"idx:{tmp_path}"
    with pytest.raises(DlsuiteError, match=r"Received: an empty folder"):
        read_source(Data(name=name))
    path = tmp_path / "train-images-idx3-ubyte"
    content = write_idx(path, images())
    with pytest.raises(DlsuiteError, match=r"train-images-idx3-ubyte without its other half"):
        read_source(Data(name=name))
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels())
    path.write_bytes(content[:-1])
    with pytest.raises(DlsuiteError, match=r"\(12, 5, 4\) needs 240 bytes and it has 239"):
        read_source(Data(name=name))
    path.write_bytes(content + b"x")
    with pytest.raises(DlsuiteError, match=r"needs 240 bytes and it has more"):
        read_source(Data(name=name))
    path.write_bytes(b"text, no IDX")
    with pytest.raises(DlsuiteError, match=r"begins with 74 65 78 74"):
        read_source(Data(name=name))
    path.write_bytes(struct.pack(">BBBB", 0, 0, 8, 100) + struct.pack(">100I", *[1] * 100) + b"x")
    with pytest.raises(DlsuiteError, match=r"claims 100 axes"):
        read_source(Data(name=name))
    path.write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, 2**31, 2**31, 2**31))
    with pytest.raises(DlsuiteError, match=r"needs 9903520314283042199192993792 bytes.*has 0"):
        read_source(Data(name=name))


@pytest.mark.parametrize("values", [images(), images() / 7], ids=["uint8", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_archives_larger_than_memory_are_read_by_index(tmp_path, values, order):
    arrays = {"images": np.asarray(values, order=order), "labels": labels()}
    arrays |= {"test_images": values[:5], "test_labels": labels(5)}
    np.savez(tmp_path / "data.npz", **arrays)
    name = f"npz:{tmp_path}/data.npz"
    check_same_by_index(read_source(Data(name=name)), read_source(Data(name=name, memory_gb=0.0)))


@pytest.mark.parametrize(("values", "code"), [(images(), 0x08), (images() / 7, 0x0D)])
def test_idx_files_larger_than_memory_are_read_by_index(tmp_path, values, code):
    for prefix, count in (("train", 12), ("t10k", 5)):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", values[:count], code=code)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", labels(count))
    name = f"idx:{tmp_path}"
    check_same_by_index(read_source(Data(name=name)), read_source(Data(name=name, memory_gb=0.0)))
    path = tmp_path / "train-images-idx3-ubyte"
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    with pytest.raises(DlsuiteError, match=r"memory_gb=0. Raise.*gunzip train-images"):
        read_source(Data(name=name, memory_gb=0.0))


def check_same_by_index(held, lazy):
    assert lazy.splits["train"].images is None and held.splits["train"].images is not None
    assert lazy.value_range == held.value_range
    assert any("are read from" in note for note in lazy.notes)
    for split in ("train", "test"):
        indices = np.array([4, 0, 3, 3])
        one, other = lazy.splits[split].read(indices), held.splits[split].read(indices)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


@pytest.fixture
def hdf5(tmp_path):
    """Writes datasets and returns the file's path."""

    def write(**datasets):
        path = tmp_path / "data.h5"
        with h5py.File(path, "w") as file:
            for name, array in datasets.items():
                file[name.replace("__", "/")] = array
        return path

    return write


def test_hdf5_by_name_in_memory_and_by_index(hdf5):
    values = np.random.default_rng(0).normal(size=(30, 5, 4, 6)).astype(np.float64)
    path = hdf5(group__maps=values, group__kinds=labels(30), t=values[:5], l=labels(5))
    name = f"h5:{path}#group/maps,group/kinds,t,l"
    held = read_source(Data(name=name))
    lazy = read_source(Data(name=name, memory_gb=0.0))
    assert held.image_shape == lazy.image_shape == (5, 4, 6)
    assert held.value_range == lazy.value_range
    assert lazy.splits["train"].images is None
    indices = np.array([29, 0, 3, 3, 17])
    for split in ("train", "test"):
        take = indices % held.splits[split].num_examples
        assert np.array_equal(lazy.splits[split].read(take), held.splits[split].read(take))
    assert np.array_equal(held.splits["train"].images, values.astype(np.float32))


def test_hdf5_strings_and_known_names(hdf5):
    kinds = np.array([b"ant", b"bee", b"cow"])[labels()]
    made = read_source(Data(name=f"h5:{hdf5(images=images(), labels=kinds)}"))
    assert made.class_names == ("ant", "bee", "cow")


@pytest.mark.parametrize("memory_gb", [2.0, 0.0])
def test_nan_in_hdf5_is_named_by_its_index(hdf5, memory_gb):
    values = np.zeros((600, 3, 3, 2), np.float32)
    values[513, 1, 2, 1] = np.inf
    path = hdf5(images=values, labels=labels(600))
    with pytest.raises(
        DlsuiteError, match=r"inf in 'images', image 513, row 1, column 2, channel 1"
    ):
        read_source(Data(name=f"h5:{path}#images,labels", memory_gb=memory_gb))


def test_what_is_wrong_with_hdf5_is_said(hdf5, tmp_path):
    path = hdf5(images=images(), labels=labels())
    with pytest.raises(DlsuiteError, match=r"'maps' in .*It has: images, labels"):
        read_source(Data(name=f"h5:{path}#maps,labels"))
    with pytest.raises(DlsuiteError, match=r"Received: 3 in 'a,b,c'"):
        read_source(Data(name=f"h5:{path}#a,b,c"))
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(DlsuiteError, match=r"reads HDF5 files.*text.h5"):
        read_source(Data(name=f"h5:{tmp_path}/text.h5"))


def test_statistics_are_those_of_numpy(archive, tmp_path):
    values = np.random.default_rng(0).normal(1000, 0.5, size=(3000, 2, 2, 3))
    values[..., 1] = 7
    np.savez(tmp_path / "data.npz", images=values, labels=labels(3000))
    made = load_dataset(Data(name=f"npz:{tmp_path}/data.npz", validation=300))
    train = made.splits["train"].images.astype(np.float64)
    # float64 over 10,800 values; the pitfall is the difference of large sums
    assert np.allclose(made.mean, train.mean(axis=(0, 1, 2)), rtol=1e-12)
    assert np.allclose(np.array(made.std)[[0, 2]], train.std(axis=(0, 1, 2))[[0, 2]], rtol=1e-9)
    assert made.std[1] == 1
    assert any("Channel 1 is constant" in note for note in made.notes)
