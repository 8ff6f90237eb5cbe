"""Paths that users name, checked before they are read."""

from pathlib import Path

from dlsuite.errors import DlsuiteError


def existing_file(argument: str, reader: str) -> Path:
    """Returns the path of a file that exists; ``~`` is the home folder.

    Raises:
        DlsuiteError: nothing is there, or a folder.
    """
    path = Path(argument).expanduser()
    if not argument or not path.is_file():
        raise _missing(argument, reader, "a file", "a folder" if path.is_dir() else "not there")
    return path


def existing_folder(argument: str, reader: str) -> Path:
    """Returns the path of a folder that exists; ``~`` is the home folder.

    Raises:
        DlsuiteError: nothing is there, or a file.
    """
    path = Path(argument).expanduser()
    if not argument or not path.is_dir():
        raise _missing(argument, reader, "a folder", "a file" if path.is_file() else "not there")
    return path


def _missing(argument: str, reader: str, wanted: str, received: str) -> DlsuiteError:
    if not argument:
        return DlsuiteError(
            f"{reader}:PATH needs {wanted}. Received: no path. Write {reader}: and the path."
        )
    return DlsuiteError(
        f"{reader}:PATH reads {wanted}. Received: {argument!r}, which is {received}. "
        f"Check the path; the working folder is {Path.cwd()}."
    )
