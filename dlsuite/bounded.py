"""Small text files, which may come from others, read within bounds."""

import errno
import stat
from pathlib import Path


def read_text(path: Path, *, most_bytes: int) -> str:
    """Returns the text of an ordinary file in UTF-8.

    Raises:
        OSError: it can't be read, is a pipe or a device, which may never end, or is larger than
            `most_bytes`; ``strerror`` says so in words.
        UnicodeDecodeError: it isn't UTF-8.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no ordinary file")
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes / 2**20:g} MB")
    return content.decode("utf-8")
