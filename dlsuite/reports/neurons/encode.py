"""Pictures as data URIs, so that a page needs no other file."""

import base64
import io

import numpy as np
from PIL import Image

# Up to this side a picture is kept without loss and shown with its pixels.
_SMALL = 40
_QUALITY = 82


def picture_uri(image: np.ndarray) -> str:
    """Returns an image as a data URI: PNG where it is small, else WebP.

    Shapes:
        image: (H, W, C), uint8; grey for one channel, colour for three, else the mean in grey.
    """
    pillow = Image.fromarray(shown(image))
    held = io.BytesIO()
    small = min(image.shape[:2]) <= _SMALL
    if small:
        pillow.save(held, "PNG", optimize=True)
    else:
        pillow.save(held, "WEBP", quality=_QUALITY, method=4)
    encoded = base64.b64encode(held.getvalue()).decode("ascii")
    return f"data:image/{'png' if small else 'webp'};base64,{encoded}"


def shown(image: np.ndarray) -> np.ndarray:
    """Returns an image as Pillow and the eye take it: (H, W) or (H, W, 3), uint8."""
    if image.shape[-1] == 3:
        return image
    return np.rint(image.mean(axis=-1)).astype(np.uint8)


def strip(images: np.ndarray) -> np.ndarray:
    """Returns images (k, H, W, C) side by side, (H, k W, C)."""
    return np.concatenate(list(images), axis=1)


def kernel_picture(kernel: np.ndarray) -> np.ndarray:
    """Returns a kernel (h, w, C) as uint8: grey is zero, its own largest weight black or white."""
    peak = np.abs(kernel).max() or 1.0
    return np.rint(127.5 + 127.5 * kernel / peak).astype(np.uint8)
