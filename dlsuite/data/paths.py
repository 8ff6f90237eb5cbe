"""Paths that users name, checked before they are read."""

import os
from collections.abc import Callable
from pathlib import Path

from dlsuite.errors import DlsuiteError


def existing_file(argument: str, reader: str) -> Path:
    """Returns the path of a file that exists and may be read; ``~`` is the home folder.

    Raises:
        DlsuiteError: nothing is there, a folder, or what can't be read.
    """
    path = _named(argument, reader, "a file")
    if not is_file(path):
        raise _missing(argument, reader, "a file", "a folder" if is_folder(path) else "not there")
    return _readable(path, argument, reader, "a file")


def existing_folder(argument: str, reader: str) -> Path:
    """Returns the path of a folder that exists and may be read; ``~`` is the home folder.

    Raises:
        DlsuiteError: nothing is there, a file, or what can't be read.
    """
    path = _named(argument, reader, "a folder")
    if not is_folder(path):
        raise _missing(argument, reader, "a folder", "a file" if is_file(path) else "not there")
    return _readable(path, argument, reader, "a folder")


def place_and_names(argument: str) -> tuple[str, str]:
    """Returns the path of a file and what stands after its ``#``; folders may have that sign too.

    The path ends at the first ``#`` behind which a file lies; where there is none, at the first.
    """
    parts = argument.split("#")
    for count in range(1, len(parts) + 1):
        place = "#".join(parts[:count])
        if is_file(expanded(place)):
            return place, "#".join(parts[count:])
    place, _, names = argument.partition("#")
    return place, names


def is_file(path: Path) -> bool:
    """Whether there is a file; a path that the system refuses, too long a name say, is none."""
    return _is(path.is_file)


def is_folder(path: Path) -> bool:
    """Whether there is a folder, likewise."""
    return _is(path.is_dir)


def exists(path: Path) -> bool:
    """Whether anything is there, likewise."""
    return _is(path.exists)


def expanded(argument: str) -> Path:
    """Returns the path with the home folder in place of ``~``, if that can be found."""
    try:
        return Path(argument).expanduser()
    except RuntimeError:
        # no such user: the path as it stands isn't there, and that is what will be said
        return Path(argument)


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:
        return False


def _named(argument: str, reader: str, wanted: str) -> Path:
    if not argument:
        raise DlsuiteError(
            f"{reader}:PATH needs {wanted}. Received: no path. Write {reader}: and the path."
        )
    return expanded(argument)


def _readable(path: Path, argument: str, reader: str, wanted: str) -> Path:
    if not os.access(path, os.R_OK):
        raise _missing(argument, reader, wanted, "closed to this user")
    return path


def _missing(argument: str, reader: str, wanted: str, received: str) -> DlsuiteError:
    return DlsuiteError(
        f"{reader}:PATH reads {wanted}. Received: {argument!r}, which is {received}. "
        f"Check the path; the working folder is {Path.cwd()}."
    )
