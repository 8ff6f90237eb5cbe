"""Checkpoints: the whole state of a run, written by a thread while training goes on.

A run's numbers depend on the variables of model, optimizers and metrics (weights, seeds, slots,
moving averages, loss scale, running means) and on a few plain values: the step, the epoch, the
history, the best epoch, what callbacks remember. A checkpoint holds all of them, those of every
replica where replicas differ. The position in the data is arithmetic on the step and needs
nothing.
"""

import errno
import functools
import hashlib
import json
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf

from dlsuite.engine.state import State
from dlsuite.runs.folder import RunFolder

# the last ones; an older one serves where a newer one is damaged
_KEPT = 3
# What reading a damaged file, or one of another make, raises.
_DAMAGE = (
    *(safetensors.SafetensorError, OSError),
    *(ValueError, KeyError, TypeError, RecursionError),
)


class Checkpoints:
    """The checkpoints of one run folder.

    Args:
        folder: the run.
    """

    def __init__(self, folder: RunFolder):
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, state: State, plain: Mapping[str, Any], *, step: int, best: int) -> None:
        """Takes a snapshot and writes it in the background.

        Args:
            state: the variables.
            plain: what the run remembers besides.
            step: of the snapshot.
            best: the step that ended the best epoch, whose checkpoint is kept; 0 without one.

        Raises:
            DlsuiteError: the write before this one failed.
        """
        self.wait()
        snapshot = state.of_all_workers(state.snapshot())
        if not self._folder.writes:
            return
        text = json.dumps(plain)
        self._thread = threading.Thread(target=self._write, args=(snapshot, text, step, best))
        self._thread.start()

    def wait(self) -> None:
        """Returns when nothing is being written any more.

        Raises:
            DlsuiteError: the last write failed.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, snapshot: Mapping[str, tf.Tensor], plain: str, step: int, best: int) -> None:
        try:
            values = {name: np.asarray(t, order="C") for name, t in snapshot.items()}
            path = self._path(step)
            about = {"plain": plain, _CHECKSUM: _checksum(values, plain, _CHECKSUM)}
            with self._folder.saving(path) as temporary:
                try:
                    safetensors.numpy.save_file(values, temporary, about)
                except safetensors.SafetensorError as error:
                    # a full disk, in its own words
                    raise OSError(errno.EIO, str(error)) from error
            # after a resume there may be damaged ones of later steps
            for old in self._folder.checkpoint_paths[_KEPT:]:
                if old not in (path, self._path(best)):
                    old.unlink(missing_ok=True)
        except BaseException as error:  # raised where training can see it
            self._error = error

    def load(self, note: Callable[[str], None]) -> tuple[dict[str, np.ndarray], Any] | None:
        """Returns the values and plain values of the newest undamaged checkpoint, if any.

        Args:
            note: told a sentence about each damaged newer one.
        """
        for path in self._folder.checkpoint_paths:
            try:
                with safetensors.safe_open(path, "numpy") as file:
                    about = file.metadata()
                    values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                kind = next((kind for kind in _CHECKSUMS if kind in about), _CHECKSUM)
                if about[kind] != _checksum(values, about["plain"], kind):
                    raise ValueError("its checksum is wrong")
                return values, json.loads(about["plain"])
            except _DAMAGE as error:
                reason = str(error).splitlines()[0]
                note(f"The checkpoint {path.name} is damaged ({reason}); the one before serves.")
        return None

    @property
    def are_there(self) -> bool:
        """Whether there is any, damaged or not."""
        return bool(self._folder.checkpoint_paths)

    def _path(self, step: int) -> Path:
        return self._folder.path / "checkpoints" / f"step-{step:010d}.safetensors"


class _Crc32:
    """CRC-32 with the methods of a hash."""

    def __init__(self):
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


# Against damage, not against forgery, which a hash in the same file couldn't tell either: CRC-32
# takes half the time of SHA-256. The other two are those of older checkpoints.
_CHECKSUM = "crc32"
_CHECKSUMS = {
    _CHECKSUM: _Crc32,
    "sha256": hashlib.sha256,
    "digest": functools.partial(hashlib.blake2b, digest_size=16),
}


def _checksum(values: Mapping[str, np.ndarray], plain: str, kind: str) -> str:
    checksum = _CHECKSUMS[kind]()
    checksum.update(plain.encode())
    for name in sorted(values):
        value = values[name]
        checksum.update(f"{name} {value.dtype} {value.shape}".encode())
        # as bytes: bfloat16 has no buffer of its own
        checksum.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    return checksum.hexdigest()


def callback_state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Returns what a callback remembers, as far as it is plain numbers and texts.

    Or dictionaries of these. NumPy's numbers are given as Python's.
    """
    held = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in vars(callback).items()
    }
    return {
        name: value
        for name, value in held.items()
        if not name.startswith("_") and name != "params" and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return isinstance(value, (int, float, str, bool, type(None)))
