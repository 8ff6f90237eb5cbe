import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from dlsuite.data.images import (
    convert_channels,
    decode_image,
    read_header,
    read_image,
    resize_array,
)
from dlsuite.errors import DlsuiteError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def saved(tmp_path, image, name="image.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_an_image_of_the_right_shape_passes_bit_for_bit(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(pixels))
    assert np.array_equal(read_image(path, image_shape=(5, 7, 3)), pixels)
    decoded = decode_image(path.read_bytes(), name="x", image_shape=(5, 7, 3))
    assert np.array_equal(decoded, pixels)


def test_colour_becomes_luma_and_grey_becomes_equal_channels(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(pixels))
    grey = read_image(path, image_shape=(5, 7, 1))
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    # Pillow rounds in 16-bit fixed point
    assert np.abs(grey[..., 0] - luma).max() <= 1
    back = saved(tmp_path, Image.fromarray(grey[..., 0]), "grey.png")
    colour = read_image(back, image_shape=(5, 7, 3))
    assert np.array_equal(colour, np.repeat(grey, 3, axis=-1))


def test_the_cameras_orientation_is_applied(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(pixels), exif=exif)
    # 6: the stored top row is the right side, so upright is a clockwise quarter turn
    assert np.array_equal(read_image(path, image_shape=(7, 5, 3)), np.rot90(pixels, -1))
    photo = saved(tmp_path, Image.fromarray(pixels), "photo.jpg", exif=exif)
    header = read_header(photo)
    assert (header.height, header.width, header.channels) == (7, 5, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_pillows(tmp_path, pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(pixels), exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_image(path, image_shape=upright.shape), upright)


def test_lab_becomes_grey_by_way_of_rgb(tmp_path, pixels):
    lab = Image.fromarray(pixels).convert("RGB").convert("LAB")
    path = saved(tmp_path, lab, "lab.tif")
    grey = read_image(path, image_shape=(*pixels.shape[:2], 1))
    expected = np.asarray(lab.convert("RGB").convert("L"))
    assert np.array_equal(grey[..., 0], expected)


def test_transparent_pixels_are_laid_over_white(tmp_path):
    layers = np.zeros((1, 3, 4), np.uint8)
    layers[0, :, 0] = 200
    layers[0, :, 3] = 0, 128, 255
    path = saved(tmp_path, Image.fromarray(layers))
    made = read_image(path, image_shape=(1, 3, 3)).astype(int)[0]
    half = 255 + (np.array([200, 0, 0]) - 255) * 128 / 255
    assert made[0].tolist() == [255, 255, 255]
    assert np.abs(made[1] - half).max() <= 1  # rounding of one division
    assert made[2].tolist() == [200, 0, 0]


def test_palettes_and_16_bit_grey(tmp_path):
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    palette = saved(tmp_path, Image.fromarray(colours).quantize(3), "palette.png")
    assert np.array_equal(read_image(palette, image_shape=(1, 3, 3)), colours)
    assert read_header(palette).channels == 3
    deep = np.array([[0, 257 * 77, 65535]], np.uint16)
    path = saved(tmp_path, Image.fromarray(deep), "deep.png")
    assert read_header(path).channels == 1
    assert read_image(path, image_shape=(1, 3, 1))[0, :, 0].tolist() == [0, 77, 255]


def test_a_1x1_image_is_resized(tmp_path):
    path = saved(tmp_path, Image.new("RGB", (1, 1), (9, 8, 7)))
    made = read_image(path, image_shape=(4, 4, 3))
    assert (made == [9, 8, 7]).all()


def test_shrinking_averages_over_the_area(tmp_path):
    stripes = np.zeros((8, 8), np.uint8)
    stripes[:, ::2] = 200
    path = saved(tmp_path, Image.fromarray(stripes))
    made = read_image(path, image_shape=(2, 2, 1))
    # sampling without averaging would see 0 or 200
    assert np.abs(made.astype(int) - 100).max() < 30


def test_arrays_are_resized_as_files_are(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(pixels))
    expected = read_image(path, image_shape=(4, 4, 3))
    assert np.array_equal(resize_array(pixels, 4), expected)
    many = np.concatenate([pixels, pixels[..., :2]], axis=-1).astype(np.float32)
    made = resize_array(many, 4)
    assert made.shape == (4, 4, 5)
    assert np.abs(made[..., :3] - expected).max() <= 1  # uint8 is rounded in two passes


def test_channels_convert_between_grey_and_rgb_alone(pixels):
    assert convert_channels(pixels, 1).shape == (5, 7, 1)
    assert convert_channels(pixels[..., :1].astype(np.float32), 3).dtype == np.float32
    with pytest.raises(DlsuiteError, match=r"data.channels=3 for images of 2 channels"):
        convert_channels(pixels[..., :2], 3)


def png_claiming(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data)
        )  # fmt: skip

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


# What Pillow hands to Ghostscript.
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n0 0 4 4 rectfill\n"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.png", b"hello, this is no picture\n" * 40, "it holds text"),
        ("empty.png", b"", "it is empty"),
        ("bytes.jpg", bytes(range(256)) * 3, "no image of type PNG, JPEG"),
        ("eps.png", EPS, "it holds text"),
        ("bomb.png", png_claiming(60_000, 60_000), "exceeds Pillow's limit of 89478485"),
        ("large.png", png_claiming(10_000, 10_000), "10000x10000 exceeds Pillow's limit"),
        ("short.png", png_claiming(10, 10), "pixels can't be decoded"),
    ],
)
def test_files_that_are_no_images_are_named(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DlsuiteError, match=words) as caught:
        read_image(path, image_shape=(4, 4, 3))
    assert name in str(caught.value)
    assert "Replace or remove it" in str(caught.value)


def test_truncated_missing_and_float_images_are_named(tmp_path, pixels):
    photo = saved(tmp_path, Image.fromarray(np.repeat(pixels, 20, axis=0)), "cut.jpg")
    photo.write_bytes(photo.read_bytes()[:-200])
    with pytest.raises(DlsuiteError, match=r"cut.jpg.*pixels can't be decoded.*truncated"):
        read_image(photo, image_shape=(4, 4, 3))
    with pytest.raises(DlsuiteError, match=r"none.png.*there is no such file"):
        read_image(tmp_path / "none.png", image_shape=(4, 4, 3))
    with pytest.raises(DlsuiteError, match="it is a folder"):
        read_image(tmp_path, image_shape=(4, 4, 3))
    floats = saved(tmp_path, Image.fromarray(pixels[..., 0].astype(np.float32)), "f.tiff")
    with pytest.raises(DlsuiteError, match=r"f.tiff.*floats.*npz: or h5:"):
        read_image(floats, image_shape=(5, 7, 1))
