"""Frames into GIF and MP4."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


def frame(figure: Figure, *, dpi: int = 110) -> np.ndarray:
    """Returns a figure as pixels, (H, W, 3), uint8, of even height and width as MP4 needs."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])


def write_animation(frames: Iterable[np.ndarray], path: Path, *, fps: float) -> list[Path]:
    """Writes ``PATH.gif``, and ``PATH.mp4`` where ffmpeg is installed, and returns their paths.

    Args:
        frames: of one size, (H, W, 3), uint8.
        path: without a suffix.
        fps: frames a second.

    Raises:
        OSError: the folder can't be written.
    """
    frames = list(frames)
    gif = path.with_name(path.name + ".gif")
    # one palette for all, so that what stands still does not flicker
    first = Image.fromarray(frames[len(frames) // 2]).quantize(128, Image.Quantize.MEDIANCUT)
    images = [Image.fromarray(one).quantize(palette=first, dither=0) for one in frames]
    images[0].save(gif, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)
    written = [gif]
    if shutil.which("ffmpeg"):
        written.append(_mp4(frames, path.with_name(path.name + ".mp4"), fps))
    return written


def _mp4(frames: list[np.ndarray], path: Path, fps: float) -> Path:
    height, width = frames[0].shape[:2]
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    # yuv420p is what browsers play
    command += ["-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]
    stream = b"".join(one.tobytes() for one in frames)
    subprocess.run(command, input=stream, check=True, capture_output=True)
    return path
