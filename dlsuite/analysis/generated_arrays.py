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

Shape = tuple[int, int, int, int]
# Images between two notes of how far the file is.
_NOTED_EVERY = 4096


class ArrayFile:
    """A ``.npy`` or ``.h5`` file of images, float32, that appears under its name when complete.

    Until then it is ``NAME.part``, and ``NAME.part.json`` says how many images are safely in it
    and what they are of. Opened again for the same images it goes on there. An HDF5 file holds
    the dataset ``images`` and what decides them as its attributes.

    Args:
        path: ends in ``.npy`` or ``.h5``.
        shape: (N, H, W, C).
        about: what decides the images; plain values.

    Attributes:
        done: images in the file.

    Raises:
        DlsuiteError: the file is there already, of other images.
        OSError: it can't be written.
    """

    def __init__(self, path: Path, *, shape: Shape, about: Mapping[str, Any]):
        self._path, self._shape = path, shape
        self._part = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self._about = {**about, "shape": list(shape)}
        if path.exists():
            raise DlsuiteError(
                f"An array is not overwritten. Received: '{path}', which exists. Remove it, or "
                "name another file with --output."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done = self._noted = self._left_off()
        kind = _Npy if path.suffix.lower() == ".npy" else _Hdf5
        self._images = kind(self._part, shape, self._about, is_new=not self.done)

    def _left_off(self) -> int:
        try:
            before = json.loads(self._note.read_text(encoding="utf-8"))
            done = before.pop("done")
        except (OSError, ValueError, KeyError, AttributeError):
            return 0
        if before != self._about or not self._part.exists():
            return 0
        return int(done)

    def append(self, images: np.ndarray) -> None:
        """Writes the next images."""
        self._images.write(self.done, images)
        self.done += len(images)
        if self.done - self._noted >= _NOTED_EVERY:
            self._note_done()

    def _note_done(self) -> None:
        self._images.flush()
        temporary = self._note.with_suffix(".writing")
        text = json.dumps({**self._about, "done": self.done})
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self._note)
        self._noted = self.done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        try:
            self._note_done()
        finally:
            self._images.close()
        if self.done == self._shape[0] and kind is None:
            os.replace(self._part, self._path)
            self._note.unlink(missing_ok=True)


class _Npy:
    """Images behind a header of NumPy's, written and not mapped: a full disk is an error."""

    def __init__(self, path: Path, shape: Shape, about: Mapping[str, Any], *, is_new: bool):
        # without a buffer: what a full disk has no room for doesn't stand before what follows
        self._file = path.open("wb" if is_new else "r+b", buffering=0)
        if is_new:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(self._file, header)
        else:
            np.lib.format.read_magic(self._file)
            np.lib.format.read_array_header_1_0(self._file)
        self._start, self._stride = self._file.tell(), 4 * math.prod(shape[1:])

    def write(self, index: int, images: np.ndarray) -> None:
        self._file.seek(self._start + index * self._stride)
        left = np.ascontiguousarray(images, "<f4").data.cast("B")
        while left:
            left = left[self._file.write(left) :]

    def flush(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class _Hdf5:
    """Images in the dataset ``images`` of an HDF5 file, and what decides them as its attributes."""

    def __init__(self, path: Path, shape: Shape, about: Mapping[str, Any], *, is_new: bool):
        self._file = h5py.File(path, "w" if is_new else "r+")
        if is_new:
            chunk = (min(64, shape[0]), *shape[1:])
            images = self._file.create_dataset("images", shape, np.float32, chunks=chunk)
            for key, value in about.items():
                images.attrs[key] = "none" if value is None else value

    def write(self, index: int, images: np.ndarray) -> None:
        self._file["images"][index : index + len(images)] = images

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def digest(path: Path) -> str:
    """Returns a digest of a file's bytes, 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
