"""The one way from an image file to pixels, for training, evaluation and prediction.

What files hold beyond plain grey and RGB is turned into these: the camera's orientation
(EXIF) is applied; palettes are looked up; transparent pixels are laid over white; 16-bit grey
is scaled to 8 bits; CMYK, YCbCr and Lab become RGB; of an animation the first frame is taken.
Resizing ignores the aspect ratio and averages over the area each new pixel covers.
"""

import io
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dlsuite.errors import DlsuiteError

EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        "png",
        *("jpg", "jpeg", "jpe", "jfif", "jp2"),
        *("tif", "tiff"),
        *("bmp", "gif", "webp"),
        *("ppm", "pgm", "pbm", "pnm"),
    )
)

# Pillow would try all it knows whatever the extension, Ghostscript for EPS among them. JPEG
# includes MPO, which some cameras write into .jpg.
_FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP", "GIF", "WEBP", "PPM")
_KNOWN = "PNG, JPEG, JPEG 2000, TIFF, BMP, GIF, WebP or PNM"

# Above the limit `_opened` raises, which says more than Pillow's warning would.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_GREY_MODES = frozenset(["1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "I"])
_LIMIT = Image.MAX_IMAGE_PIXELS
_ORIENTATION = 0x0112
# What brings a picture upright, by the orientation that the camera noted (EXIF 2.3, section 4.6.4).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True)
class Header:
    """What an image file says of itself, without its pixels.

    Attributes:
        height: in pixels, the camera's orientation applied.
        width: likewise.
        mode: Pillow's name of the pixel type.
        format: Pillow's name of the file format.
    """

    height: int
    width: int
    mode: str
    format: str

    @property
    def channels(self) -> int:
        """1 for grey, 3 for what becomes RGB."""
        return 1 if self.mode in _GREY_MODES else 3


def read_image(path: str | Path, *, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Returns the image of a file as (H, W, C), uint8, resized and converted as needed.

    Args:
        path: of the file.
        image_shape: (H, W, C) to return; C is 1 (luma) or 3 (RGB).

    Raises:
        DlsuiteError: the file is missing, no image, truncated, too large or of float type.
    """
    return read_sized_image(path, image_shape=image_shape)[0]


def read_sized_image(
    path: str | Path, *, image_shape: tuple[int, int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns the image of a file as `read_image` does, and the (H, W) it had before."""
    return _decoded(path, str(path), image_shape)


def decode_image(encoded: bytes, *, name: str, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Returns the image of a file's bytes, as `read_image` does; `name` is for messages."""
    return _decoded(io.BytesIO(encoded), name, image_shape)[0]


def read_header(path: str | Path) -> Header:
    """Returns size and type of an image file without decoding it.

    Raises:
        DlsuiteError: the file is missing, no image or too large.
    """
    return _header(path, str(path))


def decode_header(encoded: bytes, *, name: str) -> Header:
    """Returns size and type of an image from a file's bytes, as `read_header` does."""
    return _header(io.BytesIO(encoded), name)


def resize_array(image: np.ndarray, side: int) -> np.ndarray:
    """Returns an image of any channel count resized to a square, each channel by itself.

    Shapes:
        image: (H, W, C), uint8 or float32; the result (side, side, C) of the same type.
    """
    if image.shape[:2] == (side, side):
        return image
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(image[..., channel])).resize(
                (side, side), Image.Resampling.BILINEAR
            )
        )
        for channel in range(image.shape[-1])
    ]
    return np.stack(channels, axis=-1)


def convert_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Returns grey images as RGB or RGB images as grey (luma of ITU-R BT.601).

    Shapes:
        images: (..., 1 or 3), uint8 or float32; the result of the same type.

    Raises:
        DlsuiteError: images of another channel count.
    """
    if images.shape[-1] == channels:
        return images
    if images.shape[-1] == 1:
        return np.repeat(images, channels, axis=-1)
    if images.shape[-1] != 3:
        raise DlsuiteError(
            "Only grey and RGB images convert into each other. Received: "
            f"data.channels={channels} for images of {images.shape[-1]} channels. "
            "Leave data.channels unset."
        )
    luma = images.astype(np.float32) @ np.array([[0.299], [0.587], [0.114]], np.float32)
    return np.rint(luma).astype(np.uint8) if images.dtype == np.uint8 else luma


def _decoded(
    file: str | Path | io.BytesIO, name: str, image_shape: tuple[int, int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    height, width, channels = image_shape
    with _opened(file, name) as image:
        try:
            image.load()
        except Exception as error:
            # Pillow's decoders raise many kinds for damaged files, SyntaxError among them.
            raise _unreadable(name, f"its pixels can't be decoded ({error})") from None
        if (turn := _UPRIGHT.get(_orientation(image))) is not None:
            image = image.transpose(turn)
        image = _converted(image, "L" if channels == 1 else "RGB", name)
        size = image.size
        if size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(image_shape), size[::-1]


def _header(file: str | Path | io.BytesIO, name: str) -> Header:
    with _opened(file, name) as image:
        width, height = image.size
        if _orientation(image) in _SIDEWAYS:
            width, height = height, width
        return Header(height, width, image.mode, image.format)


def _opened(file: str | Path | io.BytesIO, name: str) -> Image.Image:
    try:
        if not isinstance(file, io.BytesIO) and not _may_end(os.stat(file).st_mode):
            raise _unreadable(name, "it is a pipe or a device")
        image = Image.open(file, formats=_FORMATS)
    except DlsuiteError:
        raise
    except FileNotFoundError:
        raise _unreadable(name, "there is no such file") from None
    except IsADirectoryError:
        raise _unreadable(name, "it is a folder") from None
    except PermissionError:
        raise _unreadable(name, "it may not be read") from None
    except UnidentifiedImageError:
        raise _unreadable(name, _what_else(file)) from None
    except Image.DecompressionBombError:
        raise _unreadable(name, f"its size exceeds Pillow's limit of {_LIMIT} pixels") from None
    except Exception as error:  # of damaged headers Pillow raises many kinds
        raise _unreadable(name, f"its header is damaged ({error})") from None
    if image.width * image.height > _LIMIT:
        size = f"{image.width}x{image.height}"
        image.close()
        raise _unreadable(name, f"its size {size} exceeds Pillow's limit of {_LIMIT} pixels")
    return image


def _may_end(mode: int) -> bool:
    """Whether reading a file of that mode ends; a folder refuses by itself."""
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _orientation(image: Image.Image) -> int:
    """The camera's orientation, 1 (upright) where the file has none or a damaged one."""
    # asking for EXIF data costs time, and decodes a PNG
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged camera data, of which Pillow's parser raises many kinds
        return 1


def _what_else(file: str | Path | io.BytesIO) -> str:
    """What a file of no known format seems to be."""
    if isinstance(file, io.BytesIO):
        start = file.getvalue()[:512]
    else:
        with open(file, "rb") as opened:
            start = opened.read(512)
    if not start:
        return "it is empty"
    if b"\0" in start:
        return f"it is no image of type {_KNOWN}"
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        # the block may end within a character
        if error.start < len(start) - 3:
            return f"it is no image of type {_KNOWN}"
    return "it holds text"


def _unreadable(name: str, reason: str) -> DlsuiteError:
    return DlsuiteError(
        f"An image must be a readable file. Received: {name!r}: {reason}. Replace or remove it."
    )


def _converted(image: Image.Image, mode: str, name: str) -> Image.Image:
    """Returns the image in mode L or RGB."""
    if image.mode == mode:
        return image
    if image.mode == "F":
        raise _unreadable(name, "its pixels are floats, which npz: or h5: read as they are")
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise _unreadable(name, "its pixels have more than 16 bits, which npz: or h5: read")
        # 257 takes 65535 to 255 and 0 to 0
        image = Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode == "LAB":  # Pillow has a way from it to RGB alone
        image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image).convert("RGB")
    return image.convert(mode)
