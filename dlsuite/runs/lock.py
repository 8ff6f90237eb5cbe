"""One process a run folder: a lock that ends with its process."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from dlsuite.errors import DlsuiteError
from dlsuite.runs.folder import RunFolder, writing


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Holds the run, or race, for this process.

    The kernel drops the lock when the process ends, however it ends, so a lock file that was
    left behind holds nobody up; its text only says who wrote it.

    Raises:
        DlsuiteError: another process holds the run, or it can't be locked.
    """
    with writing(folder.path):
        opened = (folder.path / "lock").open("a+", encoding="utf-8")
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DlsuiteError(
                f"One process at a time works on a {folder.kind}. Received: '{folder.path}', held "
                f"by {_in_words(file)}. Wait for it, or end it first."
            ) from None
        except OSError as error:  # as a cluster's file system says that is mounted without locks
            raise DlsuiteError(
                f"A {folder.kind} folder must lie where files can be locked. Received: "
                f"'{folder.path}' ({error.strerror}). Choose a place on another file system, or "
                f"copy the {folder.kind} to one."
            ) from None
        holder = {"host": socket.gethostname(), "pid": os.getpid()}
        text = json.dumps(holder | {"since": datetime.now(UTC).isoformat()})
        with suppress(OSError):  # a full disk: the lock holds without its text
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), text.encode())
        try:
            yield
        finally:
            # emptied, not removed: a process that has just opened it must find this very file
            with suppress(OSError):  # it must not hide what ended the run, as a lost disk does
                os.ftruncate(file.fileno(), 0)


def is_broken_off(folder: RunFolder) -> bool:
    """Whether the process that held it was killed: it is gone and did not let go.

    Of a process on another host nothing is known, and it counts as alive.
    """
    try:
        with (folder.path / "lock").open(encoding="utf-8") as file:
            holder = _holder(file)
        if holder is not None and holder["host"] == socket.gethostname():
            os.kill(holder["pid"], 0)  # 0 sends nothing
    except ProcessLookupError:
        return True
    except (OSError, TypeError, OverflowError):  # no lock, another user's process, or no number
        pass
    return False


def _in_words(file: TextIO) -> str:
    holder = _holder(file)
    if holder is None:
        return "another process"
    return f"process {holder['pid']} on {holder['host']} since {holder['since']}"


def _holder(file: TextIO) -> dict[str, Any] | None:
    """The host, pid and since of a lock's text; None where it has none, as when let go of."""
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return {key: holder[key] for key in ("host", "pid", "since")}
    except (ValueError, KeyError, TypeError):
        return None
