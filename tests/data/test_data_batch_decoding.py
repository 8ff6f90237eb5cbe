"""Images decoded by the batch are Pillow's, and what is odd is left to the slower reader."""

import io

import numpy as np
import pytest
from PIL import Image

SHAPE = (12, 10, 3)


@pytest.fixture(scope="module")
def decode(keras_ready):
    from dlsuite.data.batch_decoding import BatchDecoder

    return BatchDecoder(SHAPE)


def picture(seed, size=(10, 12), mode="RGB"):
    """A smooth picture with fine noise, so that a JPEG of it has all frequencies."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (3, 3, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(int)
    noisy = smooth + random.integers(-20, 20, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert(mode)


def encoded(image, kind, **more):
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "more"), [("JPEG", {"quality": 90}), ("PNG", {})])
def test_images_are_bit_for_bit_pillows(decode, kind, more):
    files = [encoded(picture(seed), kind, **more) for seed in range(8)]
    expected = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    np.testing.assert_array_equal(decode(files), expected)


def with_wrong_checksum():
    """A PNG that Pillow reads, though the checksum of its pixels is wrong."""
    file = bytearray(encoded(picture(1), "PNG"))
    place = file.index(b"IDAT")
    length = int.from_bytes(file[place - 4 : place], "big")
    file[place + 4 + length] ^= 1
    Image.open(io.BytesIO(file)).load()
    return bytes(file)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(lambda: b"no image at all", id="damaged"),
        pytest.param(lambda: encoded(picture(1), "JPEG")[:200], id="cut off"),
        pytest.param(lambda: encoded(picture(1), "PNG")[:-1], id="cut off at the end"),
        pytest.param(lambda: encoded(picture(1), "PNG")[:60], id="cut off in a chunk"),
        pytest.param(with_wrong_checksum, id="wrong checksum"),
        pytest.param(lambda: encoded(picture(1, size=(12, 10)), "PNG"), id="another size"),
        pytest.param(lambda: encoded(picture(1, mode="L"), "PNG"), id="grey"),
        pytest.param(lambda: encoded(picture(1, mode="CMYK"), "JPEG"), id="four channels"),
    ],
)
def test_what_is_odd_is_left_to_the_slower_reader(decode, odd):
    good = encoded(picture(0), "PNG")
    assert decode([good]) is not None
    assert decode([good, odd()]) is None


def test_a_picture_that_may_have_to_be_turned_is_left_to_the_slower_reader(decode):
    camera = Image.Exif()
    camera[0x0112] = 3  # held upside down
    assert decode([encoded(picture(0), "JPEG", exif=camera)]) is None
