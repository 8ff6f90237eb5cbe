"""What HDF5 files may refer to, claim and hold beyond plain arrays."""

import h5py
import numpy as np
import pytest

from dlsuite.data.load import read_source
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

LABELS = np.arange(12) % 3


def images():
    return np.random.default_rng(0).integers(0, 256, (12, 5, 4), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.h5"


def read(path, names="images,labels", **settings):
    return read_source(Data(name=f"h5:{path}#{names}", **settings))


@pytest.mark.parametrize("memory_gb", [2.0, 0.0])
def test_other_files_are_never_read(path, tmp_path, memory_gb):
    secret = tmp_path / "secret"
    secret.write_bytes(b"private key " * 20)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["images"] = images()
    with h5py.File(path, "w") as file:
        file["labels"] = LABELS
        file.create_dataset("raw", (12, 5, 4), "u1", external=[(str(secret), 0, 240)])
        layout = h5py.VirtualLayout((12, 5, 4), "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "images", (12, 5, 4))
        file.create_virtual_dataset("virtual", layout)
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "images")
    for name in ("raw", "virtual", "linked"):
        with pytest.raises(
            DlsuiteError, match=rf"in the file itself. Received: '{name}'.*another file"
        ):
            read(path, f"{name},labels", memory_gb=memory_gb)


def test_links_within_the_file_are_followed_and_dangling_ones_are_not_there(path):
    with h5py.File(path, "w") as file:
        file["maps"], file["labels"] = images(), LABELS
        file["images"] = h5py.SoftLink("/maps")
        file["x"] = h5py.SoftLink("/nowhere")
        file["y"] = h5py.ExternalLink("nowhere.h5", "/images")
    made = read_source(Data(name=f"h5:{path}"))
    assert np.array_equal(made.splits["train"].images[..., 0], images())
    for name in ("x", "y"):
        with pytest.raises(
            DlsuiteError, match=rf"no dataset of that name. Received: '{name}'.*labels, maps"
        ):
            read(path, f"{name},labels")


def test_claimed_sizes_are_checked_before_anything_is_read(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (2**40, 1, 1), "u1", chunks=(1024, 1, 1))
        file.create_dataset("labels", (2**40,), "i8", chunks=(1024,))
        file["few"] = LABELS
    with pytest.raises(DlsuiteError, match=r"Labels are held.*Received: 8192.00 GB in .*#labels"):
        read(path)
    with pytest.raises(DlsuiteError, match=r"1099511627776 in 'images' and 12 in 'few'"):
        read(path, "images,few")


def test_what_is_no_array_of_numbers_is_refused(path):
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = images(), LABELS
        file["empty"] = h5py.Empty("i8")
        ragged = file.create_dataset("ragged", (12,), h5py.vlen_dtype("i4"))
        ragged[:] = [np.arange(n) for n in range(12)]
        file["pairs"] = np.zeros(12, [("a", "i4"), ("b", "i4")])
    with pytest.raises(DlsuiteError, match=r"numbers or strings.*'empty'.*holds nothing"):
        read(path, "images,empty")
    with pytest.raises(DlsuiteError, match=r"'empty'.*holds nothing"):
        read(path, "empty,labels")
    with pytest.raises(DlsuiteError, match=r"'ragged'.*values of varying length"):
        read(path, "images,ragged")
    with pytest.raises(DlsuiteError, match=r"integers from 0 on, or strings.*'pairs' of type"):
        read(path, "images,pairs")


@pytest.mark.parametrize("memory_gb", [2.0, 0.0])
def test_a_damaged_chunk_is_one_sentence(path, memory_gb):
    values = np.random.default_rng(0).integers(0, 255, (12, 5, 4)).astype(np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=values, chunks=(12, 5, 4), fletcher32=True)
        file["labels"] = LABELS
    content = path.read_bytes()
    place = content.index(values.tobytes())
    path.write_bytes(content[:place] + bytes(16) + content[place + 16 :])
    with pytest.raises(DlsuiteError, match=r"values must be readable.*install hdf5plugin"):
        read(path, "images,labels", memory_gb=memory_gb)


def test_folders_and_files_may_have_a_hash_sign(tmp_path):
    folder = tmp_path / "run#3"
    folder.mkdir()
    with h5py.File(folder / "a#b.h5", "w") as file:
        file["images"], file["labels"], file["x#1"] = images(), LABELS, images()
    assert read(folder / "a#b.h5").splits["train"].num_examples == 12
    assert read(folder / "a#b.h5", "x#1,labels").image_shape == (5, 4, 1)
    assert read_source(Data(name=f"h5:{folder}/a#b.h5")).class_names == ("0", "1", "2")
    with pytest.raises(DlsuiteError, match=r"h5:PATH reads a file.*which is not there"):
        read(folder / "none.h5")


def test_the_range_is_that_of_training_in_memory_and_by_index(path):
    values = np.random.default_rng(0).normal(size=(12, 5, 4)).astype(np.float32)
    masks = np.ones((12, 5, 4), bool)
    with h5py.File(path, "w") as file:
        file["images"], file["labels"], file["test"] = values, LABELS, 10 * values
        file["masks"] = masks
    for memory_gb in (2.0, 0.0):
        made = read(path, "images,labels,test,labels", memory_gb=memory_gb)
        assert made.value_range == (values.min(), values.max())
        # what is evaluated isn't cut to that range
        tested = made.splits["test"].read(np.arange(12))[..., 0]
        assert np.array_equal(tested, 10 * values)
        assert read(path, "masks,labels", memory_gb=memory_gb).value_range == (0, 1)
