"""Where the commands put a figure."""

from pathlib import Path
from typing import TYPE_CHECKING

from dlsuite.errors import DlsuiteError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_figure(path: Path) -> None:
    """Checks, before the work begins, that a figure can be written there.

    Raises:
        DlsuiteError: no PNG file, or one in a folder that does not exist.
    """
    if path.suffix.lower() != ".png" or not path.absolute().parent.is_dir():
        raise DlsuiteError(
            f"A figure is a PNG file in a folder that exists. Received: {path}. "
            "Use for example --figure figure.png"
        )


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a figure.

    Raises:
        DlsuiteError: the place can't be written.
    """
    from dlsuite.reports import style

    try:
        style.save(figure, path)
    except OSError as error:
        raise DlsuiteError(
            f"A figure needs a place that can be written. Received: {path}: {error.strerror}. "
            "Choose another with --figure."
        ) from error
