"""What data from others can't do: claim memory that isn't there, or hold a command up for ever."""

import gzip
import os
import struct
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image

from dlsuite.data.load import read_source
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

LABELS = np.arange(12) % 3


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("version", [2, 3])
def test_a_huge_header_is_refused_before_it_is_read(folder, version):
    header = b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<I", 2**32 - 1)
    with zipfile.ZipFile("data.npz", "w") as archive:
        archive.writestr("images.npy", header + b" " * 1000)
        archive.writestr("labels.npy", b"")
    with pytest.raises(DlsuiteError, match=r"header of 'images' claims 4,294,967,295 bytes"):
        read_source(Data(name="npz:data.npz"))
    (folder / "maps.npy").write_bytes(header)
    os.truncate(folder / "maps.npy", 2**33)  # of holes
    with pytest.raises(DlsuiteError, match=r"header of 'maps.npy' claims 4,294,967,295 bytes"):
        read_source(Data(name="npy:maps.npy"))


def npy_claiming(shape, descr="|u1"):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape})
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize("memory_gb", [2.0, 0.0])
@pytest.mark.parametrize("shape", [(2**40, 8, 8), (2**32, 2**32, 1), (12, 2**31, 2**31)])
def test_an_archive_holds_what_its_header_claims(folder, shape, memory_gb):
    with zipfile.ZipFile("data.npz", "w") as archive:
        archive.writestr("images.npy", npy_claiming(shape) + b" " * 100)
        with archive.open("labels.npy", "w") as file:
            np.save(file, LABELS)
    with pytest.raises(DlsuiteError, match=r"all that its header announces.*bytes for an array"):
        read_source(Data(name="npz:data.npz", memory_gb=memory_gb))
    with zipfile.ZipFile("data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy_claiming(shape) + b" " * 100)
        with archive.open("labels.npy", "w") as file:
            np.save(file, LABELS)
    with pytest.raises(DlsuiteError, match=r"Compressed arrays are held in memory"):
        read_source(Data(name="npz:data.npz", memory_gb=memory_gb))


@pytest.mark.parametrize("memory_gb", [2.0, 0.0])
@pytest.mark.parametrize(
    ("header", "words"),
    [
        (npy_claiming((2**64, 1, 1), "<f4"), r"claims the shape \(18446744073709551616, 1, 1\)"),
        (npy_claiming((2**64, 0, 1), "<f4"), r"claims the shape \(18446744073709551616, 0, 1\)"),
        (npy_claiming((-1, 8, 8), "<f4"), r"claims the shape \(-1, 8, 8\)"),
        (npy_claiming((2**40, 8, 8), "<f4"), r"all that its header announces.*bytes for an array"),
        (npy_claiming((2**62, 0, 8), "<f4"), r"maps.npy.*array is too big"),
        (npy_claiming((), "<f4"), r"at least one image each.*0 in 'maps.npy'"),
        (npy_claiming((12, 8, 8), "|O"), r"Python objects, which dlsuite never unpickles"),
        (npy_claiming((12, 8, 8), "<f4")[:40], r"header of 'maps.npy' can't be read"),
        (b"\x93NUMPY\x04\x00", r"header of 'maps.npy' is of a version \(4, 0\)"),
    ],
)  # fmt: skip
def test_an_array_is_what_its_header_claims(folder, header, words, memory_gb):
    (folder / "maps.npy").write_bytes(header + b" " * 100)
    with pytest.raises(DlsuiteError, match=words) as caught:
        read_source(Data(name="npy:maps.npy", memory_gb=memory_gb))
    assert "\n" not in str(caught.value)


def test_labels_of_a_few_bytes_claim_no_memory(folder):
    with zipfile.ZipFile("data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy_claiming((2**40, 1, 1)))
        archive.writestr("labels.npy", npy_claiming((2**40,)))
    with pytest.raises(DlsuiteError, match=r"Labels are held in memory.*1024.00 GB.*labels"):
        read_source(Data(name="npz:data.npz"))


def test_a_gzipped_idx_bomb_is_read_no_further_than_its_header(folder):
    header = struct.pack(">BBBBIII", 0, 0, 8, 3, 12, 8, 8)
    bomb = gzip.compress(header + bytes(2**26))  # 64 MB of zeros in 64 kB
    (folder / "train-images-idx3-ubyte.gz").write_bytes(bomb)
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, 12))
    with pytest.raises(DlsuiteError, match=r"\(12, 8, 8\) needs 768 bytes and it has more"):
        read_source(Data(name=f"idx:{folder}"))


def test_an_hdf5_chunk_beyond_memory_is_refused(folder):
    with h5py.File("data.h5", "w") as file:
        file.create_dataset("images", (12, 2**15, 2**13), "u1", chunks=(12, 2**15, 2**13))
        file["labels"] = LABELS
    with pytest.raises(DlsuiteError, match=r"chunks of 1 GB at most.*\(12, 32768, 8192\)"):
        read_source(Data(name="h5:data.h5", memory_gb=0.0))


def test_pipes_and_devices_are_no_images(folder):
    for label in ("a", "b"):
        (folder / "photos" / label).mkdir(parents=True)
        Image.new("RGB", (8, 8), (label == "a" and "red") or "blue").save(
            folder / "photos" / label / "0.png"
        )
    os.mkfifo(folder / "photos" / "a" / "1.png")
    (folder / "list.csv").write_text(
        "path,label\nphotos/a/0.png,a\nphotos/b/0.png,b\n/dev/zero,b\n"
    )
    for name in (f"folder:{folder}/photos", f"csv:{folder}/list.csv"):
        with pytest.raises(DlsuiteError, match=r"(1.png|/dev/zero)': it is a pipe or a device"):
            read_source(Data(name=name))


@pytest.mark.parametrize("text", ["a" * 200_000, '"' + "x\n" * 100_000])
def test_a_list_with_a_huge_field_is_refused(folder, text):
    (folder / "list.csv").write_text(f"path,label\n{text},a\n")
    with pytest.raises(DlsuiteError, match=r"csv:PATH reads text in UTF-8.*field larger"):
        read_source(Data(name=f"csv:{folder}/list.csv"))
