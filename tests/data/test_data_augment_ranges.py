"""The ranges that geometric augmentation draws from, measured on the pixels it returns.

The image holds three smooth spots: one at the centre, one to its right, one below. Where their
centres of mass go tells shift, turn and scale, whatever the code calls them.
"""

import numpy as np
import pytest
import tensorflow as tf

from dlsuite.data.augment import augmenter
from dlsuite.data.randomness import ExampleRandom
from dlsuite.recipes.schema import Augment

COUNT, HEIGHT, WIDTH, ARM = 400, 61, 81, 14


def spots():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    centres = ((30, 40), (30, 40 + ARM), (30 + ARM, 40))
    squared = [(rows - y) ** 2 + (columns - x) ** 2 for y, x in centres]
    return np.stack([np.exp(-square / 8) for square in squared], axis=-1).astype(np.float32)


def places(**augment):
    """Where the spots are in COUNT changed images, from the image's centre: (N, 3, (x, y))."""
    images = np.broadcast_to(spots(), (COUNT, HEIGHT, WIDTH, 3))
    change = augmenter(Augment(**augment), image_shape=images.shape[1:], value_range=(0.0, 1.0))
    random = ExampleRandom(0, tf.constant(0, tf.int64), tf.range(COUNT, dtype=tf.int64))
    made, _ = change(tf.constant(images), tf.zeros((COUNT, 1)), random)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    mass = np.asarray(made).astype(np.float64)
    weight = mass.sum(axis=(1, 2))
    x = (mass * (columns - 40)[..., None]).sum(axis=(1, 2)) / weight
    y = (mass * (rows - 30)[..., None]).sum(axis=(1, 2)) / weight
    return np.stack([x, y], axis=-1)


def is_uniform(values, largest):
    """Whether draws fill -largest to largest evenly; bilinear interpolation blurs by 1 %."""
    assert np.abs(values).max() <= 1.01 * largest
    # five standard errors of N uniform draws: mean 0, deviation largest / sqrt(3)
    assert abs(values.mean()) < 5 * largest / np.sqrt(3 * COUNT)
    assert values.std() == pytest.approx(largest / np.sqrt(3), rel=0.1)
    assert values.min() < -0.95 * largest
    assert values.max() > 0.95 * largest


def test_rotation_is_in_degrees_either_way():
    centre, right, below = np.moveaxis(places(rotation=30.0), 1, 0)
    # about the centre, which stays, and the arm keeps its length
    assert np.abs(centre).max() < 0.1
    assert np.hypot(*right.T) == pytest.approx(ARM, abs=0.1)
    angle = np.degrees(np.arctan2(right[:, 1], right[:, 0]))
    is_uniform(angle, 30.0)
    # no mirror: the spot below follows the one to the right by a quarter turn
    assert np.degrees(np.arctan2(-below[:, 0], below[:, 1])) == pytest.approx(angle, abs=0.5)


def test_shifts_are_fractions_of_each_side():
    x, y = places(translation=0.3, fill="constant")[:, 0].T
    is_uniform(x, 0.3 * WIDTH)
    is_uniform(y, 0.3 * HEIGHT)
    # drawn independently: five standard errors of a correlation
    assert abs(np.corrcoef(x, y)[0, 1]) < 5 / np.sqrt(COUNT)


def test_zoom_scales_both_axes_alike():
    centre, right, below = np.moveaxis(places(zoom=0.3), 1, 0)
    assert np.abs(centre).max() < 0.1
    is_uniform(right[:, 0] / ARM - 1, 0.3)
    assert right[:, 0] == pytest.approx(below[:, 1], abs=0.1)
    assert np.abs(right[:, 1]).max() < 0.1


def test_padded_crops_move_by_whole_pixels_up_to_the_padding():
    moved = places(crop_padding=5)[:, 0]
    assert moved == pytest.approx(np.rint(moved), abs=1e-3)
    for axis in moved.T:
        assert set(np.rint(axis)) == set(range(-5, 6))
