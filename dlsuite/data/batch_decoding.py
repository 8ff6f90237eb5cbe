"""Encoded images of one size decoded many at a time, by TensorFlow's own operations."""

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_FRAME, _SCAN, _JPEG_END = b"\xff\xc0", b"\xff\xda", b"\xff\xd9"  # a baseline JPEG's markers
# What stands in a file whose pixels alone are not the picture: camera data, which say how
# the camera was held, Adobe's, which may say that the colours are CMYK, a transparent colour.
_CAMERA, _ADOBE = b"\xff\xe1", b"\xff\xee"
_PNG_MORE = (b"eXIf", b"tRNS")
_CHUNK, _CHECKSUM = struct.Struct(">L4s"), struct.Struct(">L")
_COLOURS = {1: 0, 3: 2}  # a PNG's number for grey and RGB without an alpha channel or palette
# A graph with one operation for each image takes a fifth less time than a loop in the graph, but
# half a millisecond to call.
_TOGETHER = 128


def plain_check(image_shape: tuple[int, int, int]) -> Callable[[bytes], bool]:
    """Returns whether an image's pixels, as a file stores them, are the picture at a shape.

    True for a baseline JPEG or a PNG of 8 bits that is whole, of this shape, and needn't be turned
    or converted. Of a JPEG the header and the end are looked at; of a PNG the checksums too, which
    Pillow forgives in the pixels and TensorFlow doesn't.

    Args:
        image_shape: (H, W, C).
    """
    height, width, channels = image_shape
    # a frame's length of segment comes first
    frame_holds = struct.pack(">BHHB", 8, height, width, channels)
    png_holds = struct.pack(">LLBB", width, height, 8, _COLOURS.get(channels, 255))

    def check(encoded: bytes) -> bool:
        if encoded.startswith(_JPEG):
            scan = encoded.find(_SCAN)
            return (
                encoded.startswith(frame_holds, encoded.find(_FRAME) + 4)
                and encoded.find(_CAMERA, 0, scan) < 0
                and encoded.find(_ADOBE, 0, scan) < 0
                and encoded.endswith(_JPEG_END)
            )
        return (
            encoded.startswith(_PNG)
            and encoded.startswith(png_holds, len(_PNG) + _CHUNK.size)
            and _has_plain_chunks(encoded)
        )

    return check


def _has_plain_chunks(png: bytes) -> bool:
    """Whether a PNG is whole, by its checksums, and has no chunk that changes its pixels."""
    content, place, name = memoryview(png), len(_PNG), b""
    while name != b"IEND":
        if place + _CHUNK.size > len(png):
            return False
        length, name = _CHUNK.unpack_from(png, place)
        end = place + _CHUNK.size + length
        place = end + _CHECKSUM.size
        if name in _PNG_MORE or place > len(png):
            return False
        # the checksum is of the name and what follows it
        if _CHECKSUM.unpack_from(png, end) != (
            zlib.crc32(content[end - length - len(name) : end]),
        ):
            return False
    return True


def decode_plain(encoded: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Returns the images of plain files, bit for bit Pillow's, inside a graph.

    JPEGs are decoded by the accurate integer transform, which is Pillow's.

    Args:
        encoded: (B,), string, with B known when the graph is made.
        image_shape: (H, W, C).

    Shapes:
        the result: (B, H, W, C), uint8.

    Raises:
        tf.errors.InvalidArgumentError: a file is damaged behind its header.
    """
    images = [
        # decodes PNG too
        tf.ensure_shape(tf.io.decode_jpeg(one, dct_method="INTEGER_ACCURATE"), image_shape)
        for one in tf.unstack(encoded)
    ]
    return tf.stack(images)


class BatchDecoder:
    """Decodes plain files outside a graph, several times as fast as one after the other.

    Args:
        image_shape: (H, W, C).
    """

    def __init__(self, image_shape: tuple[int, int, int]):
        self._is_plain = plain_check(image_shape)
        self._decode = tf.function(
            lambda encoded: decode_plain(encoded, image_shape),
            input_signature=[tf.TensorSpec((_TOGETHER,), tf.string)],
            autograph=False,
        )

    def accepts(self, encoded: Iterable[bytes]) -> bool:
        """Whether all of these files are plain."""
        return all(map(self._is_plain, encoded))

    def __call__(self, encoded: Sequence[bytes]) -> np.ndarray | None:
        """Returns the images, (B, H, W, C), uint8, or None where a file isn't plain or is
        damaged: a slower reader knows what to do with it and how to name it."""
        if not self.accepts(encoded):
            return None
        parts = []
        with tf.device("CPU:0"):
            for start in range(0, len(encoded), _TOGETHER):
                part = encoded[start : start + _TOGETHER]
                filled = [*part, *[part[-1]] * (_TOGETHER - len(part))]
                try:
                    parts.append(self._decode(tf.constant(filled)).numpy()[: len(part)])
                except tf.errors.InvalidArgumentError:
                    return None
        return np.concatenate(parts)
