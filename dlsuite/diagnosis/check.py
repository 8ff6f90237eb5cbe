"""What a check of the machine or the installation finds."""

import shlex
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: what was looked at.
        status: ``failed`` means that dlsuite can't work, ``warning`` that something is amiss,
            ``absent`` that an optional feature isn't installed.
        result: what was found.
        remedy: what to do; empty where nothing is to be done.
    """

    name: str
    status: Literal["ok", "absent", "warning", "failed"]
    result: str
    remedy: str = ""


def install_line(*requirements: str, again: bool = False) -> str:
    """Returns the command that installs packages, as a shell takes it.

    dlsuite itself comes from no registry: what it lacks is named, not dlsuite.

    Args:
        requirements: as pip takes them, such as ``keras<3.16,>=3.15``.
        again: also over what is there already, and without what that asks for in turn.
    """
    options = ("--force-reinstall", "--no-deps") if again else ()
    return shlex.join(["pip", "install", *options, *requirements])


def first_line(error: Exception) -> str:
    """Returns the error's class and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
