"""Flips, crops and warps of a batch of images, each image by its own parameters.

Places are given in pixels from the image's centre, x to the right and y down, so that a
mirror, a rotation and a zoom keep the centre where it is whatever the size. All maps go from
a pixel of the result to the place in the stored image that it shows.
"""

from dataclasses import dataclass

import tensorflow as tf

from dlsuite.data.randomness import ExampleRandom
from dlsuite.recipes.schema import Augment

# Streams of random numbers; see ExampleRandom.bits.
_FLIP, _CROP, _RESIZED_CROP, _TRANSLATION, _ROTATION, _ZOOM = range(6)
_LARGEST_ASPECT = 4 / 3


@dataclass(frozen=True)
class Affine:
    """Maps of a batch from result to stored image: (x, y) -> (a x + b y + c, d x + e y + f).

    Attributes:
        coefficients: (B, 6), float32: a, b, c, d, e, f, in pixels from the centre.
    """

    coefficients: tf.Tensor

    def after(self, other: "Affine") -> "Affine":
        """Returns the map that goes through `other` first and through this one then."""
        a, b, c, d, e, f = tf.unstack(self.coefficients, axis=1)
        g, h, i, j, k, m = tf.unstack(other.coefficients, axis=1)
        return Affine(
            tf.stack(
                [
                    a * g + b * j,
                    a * h + b * k,
                    a * i + b * m + c,
                    d * g + e * j,
                    d * h + e * k,
                    d * i + e * m + f,
                ],
                axis=1,
            )
        )


def shift(x: tf.Tensor, y: tf.Tensor) -> Affine:
    """Returns the map that shows the image moved right by x and down by y [pixels]."""
    one, zero = tf.ones_like(x), tf.zeros_like(x)
    return Affine(tf.stack([one, zero, -x, zero, one, -y], axis=1))


def scale(x: tf.Tensor, y: tf.Tensor) -> Affine:
    """Returns the map that shows the image magnified by these factors; -1 mirrors it."""
    zero = tf.zeros_like(x)
    return Affine(tf.stack([1 / x, zero, zero, zero, 1 / y, zero], axis=1))


def rotate(degrees: tf.Tensor) -> Affine:
    """Returns the map that shows the image turned counter-clockwise [degrees]."""
    angle = degrees * (3.141592653589793 / 180)
    cos, sin, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
    # y points down, so a counter-clockwise turn of the image takes (x, y) to
    # (x cos + y sin, y cos - x sin), and this is its inverse
    return Affine(tf.stack([cos, -sin, zero, sin, cos, zero], axis=1))


def warp(images: tf.Tensor, affine: Affine, *, fill: str) -> tf.Tensor:
    """Returns the images seen through the maps, interpolated bilinearly.

    Args:
        images: (B, H, W, C), uint8 or float32.
        affine: one map an image.
        fill: ``constant`` (0), ``nearest`` or ``reflect`` (edge pixels repeated: ba|abc|cb)
            outside the image.

    Shapes:
        the result: (B, H, W, C), float32.
    """
    # Compiled, this takes a quarter of the time of TensorFlow's ImageProjectiveTransformV3, which
    # works out each place anew for every channel.
    height, width, channels = images.shape[1:]
    a, b, c, d, e, f = (one[:, None, None] for one in tf.unstack(affine.coefficients, axis=1))
    x = tf.range(width, dtype=tf.float32)[None, None, :] - (width - 1) / 2
    y = tf.range(height, dtype=tf.float32)[None, :, None] - (height - 1) / 2
    column, right = _neighbours(a * x + b * y + (c + (width - 1) / 2), width, fill)
    row, below = _neighbours(d * x + e * y + (f + (height - 1) / 2), height, fill)
    # a frame of one pixel: zeros where these count, else never given a weight
    framed = tf.reshape(tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]]), (-1, channels))
    number = tf.range(tf.shape(images)[0])[:, None, None]
    first = (number * (height + 2) + row) * (width + 2) + column

    def pixels(offset: int) -> tf.Tensor:
        return tf.cast(tf.gather(framed, first + offset), tf.float32)

    upper = pixels(0) + (pixels(1) - pixels(0)) * right
    lower = pixels(width + 2) + (pixels(width + 3) - pixels(width + 2)) * right
    return upper + (lower - upper) * below


def _neighbours(place: tf.Tensor, side: int, fill: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns, in an image with a frame of one pixel, the one before a place on an axis, and
    the share that the next one has in it.

    Shapes:
        place: (B, H, W), float32, in pixels from the first one's centre.
        the results: (B, H, W), int32, and (B, H, W, 1), float32.
    """
    if fill == "reflect":
        place = tf.math.floormod(place + 0.5, 2.0 * side)
        place = tf.minimum(place, 2.0 * side - place) - 0.5
    lowest, highest = (-1.0, side) if fill == "constant" else (0.0, side - 1.0)
    place = tf.clip_by_value(place, lowest, highest)
    before = tf.minimum(tf.floor(place), side - 1.0)
    return tf.cast(before, tf.int32) + 1, (place - before)[..., None]


def crop(
    images: tf.Tensor,
    *,
    top: tf.Tensor,
    left: tf.Tensor,
    flip_x: tf.Tensor,
    flip_y: tf.Tensor,
    fill: str,
) -> tf.Tensor:
    """Returns a window of the images' own size, mirrored where asked, without interpolation.

    Args:
        images: (B, H, W, C), of any type.
        top: first row of the window, (B,), int32; may lie outside the image.
        left: first column likewise.
        flip_x: whether the image is mirrored left to right first, (B,), bool.
        flip_y: whether it is mirrored top to bottom first.
        fill: as for `warp`.
    """
    height, width, channels = images.shape[1:]
    rows, rows_inside = _window(height, top, flip_y, fill)
    columns, columns_inside = _window(width, left, flip_x, fill)
    number = tf.range(tf.shape(images)[0])[:, None]
    pixel = ((number * height + rows) * width)[:, :, None] + columns[:, None, :]
    taken = tf.gather(tf.reshape(images, (-1, channels)), pixel)
    if fill == "constant":
        inside = rows_inside[:, :, None] & columns_inside[:, None, :]
        taken = taken * tf.cast(inside, images.dtype)[..., None]
    return taken


def _window(side: int, start: tf.Tensor, flip: tf.Tensor, fill: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the stored rows (or columns) a window shows and which of them exist."""
    place = start[:, None] + tf.range(side)[None, :]
    inside = (place >= 0) & (place < side)
    if fill == "reflect":
        place = tf.math.floormod(place, 2 * side)
        place = tf.minimum(place, 2 * side - 1 - place)
    else:
        place = tf.clip_by_value(place, 0, side - 1)
    return tf.where(flip[:, None], side - 1 - place, place), inside


def augment_geometry(images: tf.Tensor, random: ExampleRandom, augment: Augment) -> tf.Tensor:
    """Returns the images flipped, cropped and warped as `augment` says.

    In this order: resized crop, flip, zoom, rotation, translation, padded crop; composed into
    one map, so that pixels are interpolated once. Flips and padded crops alone copy pixels
    and interpolate nothing.

    Args:
        images: (B, H, W, C), uint8 or float32.
        random: draws for the same examples.
        augment: what to do.
    """
    flip = random.uniform(_FLIP, 2) < 0.5
    flip_x = flip[:, 0] & (augment.flip in ("horizontal", "both"))
    flip_y = flip[:, 1] & (augment.flip in ("vertical", "both"))
    padding = augment.crop_padding
    # the largest draw times an odd number can round up to that number
    places = tf.cast(random.uniform(_CROP, 2) * (2 * padding + 1), tf.int32)
    places = tf.minimum(places, 2 * padding) - padding
    if not (augment.resized_crop or augment.translation or augment.rotation or augment.zoom):
        if augment.flip == "none" and not padding:
            return images
        return crop(
            images,
            top=places[:, 0],
            left=places[:, 1],
            flip_x=flip_x,
            flip_y=flip_y,
            fill=augment.fill,
        )
    height, width = images.shape[1:3]
    sides = tf.constant([width, height], tf.float32)
    window = tf.cast(places, tf.float32)
    moved = -window[:, ::-1]
    if augment.translation:
        moved += random.signed(_TRANSLATION, 2) * augment.translation * sides
    zoom = tf.ones(tf.shape(images)[:1])
    if augment.zoom:
        zoom += random.signed(_ZOOM, 1)[:, 0] * augment.zoom
    affine = scale(tf.where(flip_x, -zoom, zoom), tf.where(flip_y, -zoom, zoom))
    if augment.rotation:
        affine = affine.after(rotate(random.signed(_ROTATION, 1)[:, 0] * augment.rotation))
    affine = affine.after(shift(moved[:, 0], moved[:, 1]))
    if augment.resized_crop:
        affine = _resized_crop(random, augment.resized_crop, sides).after(affine)
    return warp(images, affine, fill=augment.fill)


def _resized_crop(random: ExampleRandom, smallest: float, sides: tf.Tensor) -> Affine:
    """Returns maps into windows of random area, aspect and place, all inside the image."""
    draws = random.uniform(_RESIZED_CROP, 4)
    area = smallest + (1 - smallest) * draws[:, 0]
    aspect = _LARGEST_ASPECT ** (2 * draws[:, 1] - 1)
    share = tf.minimum(tf.sqrt(tf.stack([area * aspect, area / aspect], axis=1)), 1.0)
    centre = (draws[:, 2:] - 0.5) * (1 - share) * sides
    zero = tf.zeros_like(area)
    return Affine(
        tf.stack([share[:, 0], zero, centre[:, 0], zero, share[:, 1], centre[:, 1]], axis=1)
    )
