"""Arrays of generated images on disk, written piece by piece and gone on with after a stop."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from dlsuite.errors import DlsuiteError

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

    def __init__(self, path: Path, *, shape: tuple[int, int, int, int], about: Mapping[str, Any]):
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
        self.done = self._left_off()
        self._file, self._images = self._open()
        self._noted = self.done

    def _left_off(self) -> int:
        try:
            before = json.loads(self._note.read_text(encoding="utf-8"))
            done = before.pop("done")
        except (OSError, ValueError, KeyError, AttributeError):
            return 0
        if before != self._about or not self._part.exists():
            return 0
        return int(done)

    def _open(self) -> tuple[h5py.File | None, Any]:
        if self._path.suffix == ".npy":
            mode = "r+" if self.done else "w+"
            return None, np.lib.format.open_memmap(
                self._part, mode=mode, dtype=np.float32, shape=self._shape
            )
        file = h5py.File(self._part, "r+" if self.done else "w")
        if not self.done:
            chunk = (min(64, self._shape[0]), *self._shape[1:])
            images = file.create_dataset("images", self._shape, np.float32, chunks=chunk)
            for key, value in self._about.items():
                images.attrs[key] = "none" if value is None else value
        return file, file["images"]

    def append(self, images: np.ndarray) -> None:
        """Writes the next images."""
        self._images[self.done : self.done + len(images)] = images
        self.done += len(images)
        if self.done - self._noted >= _NOTED_EVERY:
            self._flush()

    def _flush(self) -> None:
        (self._images if self._file is None else self._file).flush()
        if self._file is None:
            # the written pages leave memory; those to come are mapped anew
            self._images = np.lib.format.open_memmap(self._part, mode="r+")
        temporary = self._note.with_suffix(".writing")
        text = json.dumps({**self._about, "done": self.done})
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self._note)
        self._noted = self.done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        self._flush()
        if self._file is not None:
            self._file.close()
        self._images = None
        if self.done == self._shape[0] and kind is None:
            os.replace(self._part, self._path)
            self._note.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Returns a digest of a file's bytes, 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
