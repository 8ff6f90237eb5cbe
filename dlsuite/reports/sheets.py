"""Sheets of many images beside each other, and films of such sheets."""

import math
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from dlsuite.errors import DlsuiteError
from dlsuite.runs.folder import replacing

# Fields such as convergence, which have no colours of their own.
_COLOUR_MAP = "magma"
_GAP = 1
_GREY = 96


class Painter:
    """Turns images as stored into pixels for the eye, all on one scale.

    Pixels of 0 to 255 are shown as they are. Other values of one channel get a colour map
    between the 0.5 and 99.5 percentile of the images that the scale was made from; of three or
    more channels the first three are red, green and blue on that scale.

    Args:
        images: what the scale is made from, (N, H, W, C).
        value_range: of stored values.
    """

    def __init__(self, images: np.ndarray, value_range: tuple[float, float]):
        self._is_plain = tuple(value_range) == (0, 255)
        low, high = (0, 255) if self._is_plain else np.percentile(images, [0.5, 99.5])
        self._low, self._span = float(low), float(high - low) or 1.0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns (N, H, W, 3), uint8."""
        shown = np.clip((images.astype(np.float32) - self._low) / self._span, 0, 1)
        if images.shape[-1] >= 3:
            shown = shown[..., :3]
        elif self._is_plain:
            shown = np.repeat(shown[..., :1], 3, axis=-1)
        else:
            shown = matplotlib.colormaps[_COLOUR_MAP](shown[..., 0])[..., :3]
        return np.rint(shown * 255).astype(np.uint8)


def sheet(pixels: np.ndarray, *, columns: int | None = None, smallest: int = 512) -> Image.Image:
    """Returns the images in rows, enlarged by whole numbers to about the smallest width.

    Args:
        pixels: (N, H, W, 3), uint8.
        columns: images a row; None makes the sheet nearly square.
        smallest: width to enlarge to [pixel].
    """
    count, height, width, _ = pixels.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    step_y, step_x = height + _GAP, width + _GAP
    canvas = np.full((rows * step_y + _GAP, columns * step_x + _GAP, 3), _GREY, np.uint8)
    for number, image in enumerate(pixels):
        y, x = number // columns * step_y + _GAP, number % columns * step_x + _GAP
        canvas[y : y + height, x : x + width] = image
    factor = max(1, smallest // canvas.shape[1])
    return Image.fromarray(canvas.repeat(factor, axis=0).repeat(factor, axis=1))


def save_sheet(image: Image.Image, path: Path) -> Path:
    """Writes a sheet as PNG and returns the path.

    Raises:
        OSError: it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        image.save(temporary, format="png")
    return path


def save_film(frames: Iterable[Image.Image], path: Path, *, fps: float) -> Path:
    """Writes frames as they come, as an endless GIF or as an MP4 by ffmpeg; returns the path.

    Args:
        frames: of one size.
        path: ends in ``.gif`` or ``.mp4``.
        fps: frames a second. A GIF counts in hundredths of a second.

    Raises:
        DlsuiteError: another ending, or no ffmpeg for an MP4.
        OSError: it can't be written.
    """
    suffix = path.suffix.lower()
    if suffix not in (".gif", ".mp4"):
        raise DlsuiteError(f"A film is a .gif or .mp4 file. Received: {path}. Rename it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    iterator = iter(frames)
    first = next(iterator)
    with replacing(path) as temporary:
        if suffix == ".gif":
            first.save(
                temporary, format="gif", save_all=True, append_images=iterator, loop=0,
                duration=max(20, round(1000 / fps)),
            )  # fmt: skip
        else:
            _encode(first, iterator, temporary, fps)
    return path


def _encode(first: Image.Image, rest: Iterator[Image.Image], path: Path, fps: float) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        raise DlsuiteError(
            "An MP4 is written by ffmpeg. Received: a machine without it. Install ffmpeg, or "
            "use --format gif."
        )
    # the common pixel format wants even sides
    even = "pad=ceil(iw/2)*2:ceil(ih/2)*2"
    command = [
        program, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-s", f"{first.width}x{first.height}", "-r", f"{fps:g}", "-i", "-",
        "-vf", even, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-f", "mp4", str(path),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        process.stdin.write(first.tobytes())
        for frame in rest:
            process.stdin.write(frame.tobytes())
    except BrokenPipeError:
        pass  # its message says why
    _, message = process.communicate()
    if process.returncode:
        reason = message.decode(errors="replace").strip().splitlines() or ["no message"]
        raise DlsuiteError(
            f"ffmpeg must be able to encode the film. Received: {reason[-1]}. Use --format gif."
        )
