"""Arrays of generated images on disk, written piece by piece and gone on with after a stop."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from dlsuite.errors import DlsuiteError
from dlsuite.runs.folder import replacing

Shape = tuple[int, int, int, int]
# Images between two notes of how far the file is.
_NOTED_EVERY = 4096


class ArrayFile:
    """A ``.npy`` or ``.h5`` file of images, float32, that appears under its name when complete.

    Until then it is ``NAME.part``, and ``NAME.part.json`` says how many images are safely in it
    and what they are of. Opened again for the same images it goes on there. An HDF5 file holds
    the dataset ``images`` and what decides them as its attributes.

    Both formats are a head, written first, and the values after it, as they come.

    Args:
        path: ends in ``.npy`` or ``.h5``.
        shape: (N, H, W, C).
        about: what decides the images; plain values.

    Attributes:
        done: images in the file.

    Raises:
        DlsuiteError: the file is there already, or a part of other images.
        OSError: it can't be written.
    """

    def __init__(self, path: Path, *, shape: Shape, about: Mapping[str, Any]):
        self._path, self._total, self._stride = path, shape[0], 4 * math.prod(shape[1:])
        self._part = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self._about = {**about, "shape": list(shape)}
        if path.exists():
            raise DlsuiteError(
                f"An array is not overwritten. Received: '{path}', which exists. Remove it, or "
                "name another file with --output."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done, self._start = self._left_off()
        if not self.done:
            self._begin(shape)
        self._noted = self.done
        # written and not mapped, and without a buffer: a full disk is an error, and what it has no
        # room for doesn't stand before what follows
        self._images = self._part.open("r+b", buffering=0)

    def _left_off(self) -> tuple[int, int]:
        """Returns how many images are in the file and the byte that they begin at."""
        if not (self._part.exists() and self._note.exists()):
            return 0, 0
        try:
            before = json.loads(self._note.read_text(encoding="utf-8"))
            done, start = int(before.pop("done")), int(before.pop("start"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._foreign("a note that can't be read") from None
        other = [key for key, value in self._about.items() if before.get(key) != value]
        if done and other:
            begun, now = (
                ", ".join(f"{key} {values.get(key)}" for key in other)
                for values in (before, self._about)
            )
            raise self._foreign(f"{done:,} images of {begun}, and now {now}")
        return done, start

    def _foreign(self, what: str) -> DlsuiteError:
        return DlsuiteError(
            "An array begun goes on with the model and options that it was begun with. Received: "
            f"'{self._part}' with {what}. Finish it with its own, name another file with "
            "--output, or remove it."
        )

    def _begin(self, shape: Shape) -> None:
        self._note.unlink(missing_ok=True)
        begin = _begin_npy if self._path.suffix.lower() == ".npy" else _begin_hdf5
        self._start = begin(self._part, shape, self._about)
        with replacing(self._note) as temporary:
            temporary.write_bytes(self._text())

    def append(self, images: np.ndarray) -> None:
        """Writes the next images."""
        self._images.seek(self._start + self.done * self._stride)
        left = np.ascontiguousarray(images, "<f4").data.cast("B")
        while left:
            left = left[self._images.write(left) :]
        self.done += len(images)
        if self.done - self._noted >= _NOTED_EVERY:
            self._note_done()

    def _text(self) -> bytes:
        return json.dumps({**self._about, "start": self._start, "done": self.done}).encode()

    def _note_done(self) -> None:
        os.fsync(self._images.fileno())
        # in its place, where a full disk has room for it; it never gets shorter
        with self._note.open("r+b", buffering=0) as file:
            file.write(self._text())
            os.fsync(file.fileno())
        self._noted = self.done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        with self._images:
            self._note_done()
        if self.done == self._total and kind is None:
            os.replace(self._part, self._path)
            self._note.unlink(missing_ok=True)


def _begin_npy(path: Path, shape: Shape, about: Mapping[str, Any]) -> int:
    """Writes a header of NumPy's and returns the byte that the images begin at."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        return file.tell()


def _begin_hdf5(path: Path, shape: Shape, about: Mapping[str, Any]) -> int:
    """Writes an HDF5 file without its images, and returns the byte that they begin at.

    They lie in one piece, whose place is settled here: HDF5 is not open when the disk fills up or
    the process is killed.
    """
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    try:
        with h5py.File(path, "w") as file:
            images = file.create_dataset("images", shape, "<f4", dcpl=layout)
            for key, value in about.items():
                images.attrs[key] = "none" if value is None else value
            return images.id.get_offset()
    except (OSError, RuntimeError) as error:
        # where it can't close a file HDF5 says so with either, and more than a sentence
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error).splitlines()[0]
        raise OSError(number, reason) from error


def digest(path: Path) -> str:
    """Returns a digest of a file's bytes, 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
