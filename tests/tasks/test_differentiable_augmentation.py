"""Changes of what a discriminator sees: what they do to an image, and to its gradient."""

import numpy as np
import pytest
import tensorflow as tf

from dlsuite import planning
from dlsuite.data import latents
from dlsuite.tasks.differentiable_augmentation import NUMBERS, augmented

IMAGES = np.random.default_rng(0).uniform(0.5, 1, (40, 8, 10, 2)).astype("float32")
UNIFORM = latents.changes(3, tf.constant(5, tf.int64), tf.range(40, dtype=tf.int64), NUMBERS)


def test_nothing_is_changed_unless_asked():
    same = augmented(tf.constant(IMAGES), UNIFORM, translation=0.0, cutout=0.0)
    np.testing.assert_array_equal(same, IMAGES)


def test_translation_moves_by_whole_pixels_and_fills_with_zero():
    moved = augmented(tf.constant(IMAGES), UNIFORM, translation=0.25, cutout=0.0).numpy()
    shifts = set()
    for before, after in zip(IMAGES, moved, strict=True):
        # no value of the images is 0, so that what is filled in shows the shift
        rows, columns = np.flatnonzero(after.any((1, 2))), np.flatnonzero(after.any((0, 2)))
        down = rows[0] if rows[0] else rows[-1] - 7
        right = columns[0] if columns[0] else columns[-1] - 9
        shifts.add((int(down), int(right)))
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)))
        np.testing.assert_array_equal(after, padded[2 - down : 10 - down, 2 - right : 12 - right])
    # a quarter of 8 and of 10, rounded: 2 each way, and most of the 25 shifts among 40 images
    assert {max(abs(down), abs(right)) for down, right in shifts} == {0, 1, 2}
    assert len(shifts) > 12


def test_cutout_blots_out_one_square():
    changed = augmented(tf.constant(IMAGES), UNIFORM, translation=0.0, cutout=0.5).numpy()
    gone = (changed == 0).all(axis=-1)
    for image, lost, before in zip(changed, gone, IMAGES, strict=True):
        rows, columns = np.flatnonzero(lost.any(1)), np.flatnonzero(lost.any(0))
        assert lost.sum() == len(rows) * len(columns)  # a rectangle
        assert 2 <= len(rows) <= 4 and 2 <= len(columns) <= 5  # cut by the image's edge
        np.testing.assert_array_equal(image[~lost], before[~lost])
    assert any(lost.sum() == 20 for lost in gone)


def test_gradients_come_back_where_the_pixels_came_from():
    images = tf.constant(IMAGES)
    weight = tf.constant(np.random.default_rng(1).normal(size=IMAGES.shape).astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(images)
        changed = augmented(images, UNIFORM, translation=0.25, cutout=0.3)
        total = tf.reduce_sum(weight * changed)
    gradient = tape.gradient(total, images)
    # a linear map: its value is the gradient's product with its argument
    np.testing.assert_allclose(tf.reduce_sum(gradient * images), total, rtol=1e-4)


@pytest.mark.parametrize("key", ["translation", "cutout"])
def test_real_and_generated_images_are_changed_before_the_discriminator(key):
    settings = {
        "data.train_limit": 40, "model.width": 4, "model.latent_dim": 8, "train.batch_size": 20,
        "gan.translation": 0.0, "gan.r1": 0.0,
    }  # fmt: skip
    task = planning.plan("mnist-dcgan", settings=settings | {f"gan.{key}": 0.4}).task
    plain = planning.plan("mnist-dcgan", settings=settings).task
    batch = next(iter(task.training_data()))
    assert batch["changes"].shape == (20, 2 * NUMBERS)
    found = {}
    for name, of in (("changed", task), ("plain", plain)):
        seen = []
        judge = of.model.discriminator

        def watched(images, judge=judge, seen=seen, **options):
            seen.append(images)
            return judge(images, **options)

        watched.trainable_variables = judge.trainable_variables
        object.__setattr__(of.model, "discriminator", watched)
        of.model.train_step(batch)
        found[name] = seen
    (real, fake), (plain_real, plain_fake) = found["changed"], found["plain"]
    settings = {"translation": 0.0, "cutout": 0.0} | {key: 0.4}
    for shown, before, numbers in (
        (real, plain_real, batch["changes"][:, :NUMBERS]),
        (fake, plain_fake, batch["changes"][:, NUMBERS:]),
    ):
        np.testing.assert_array_equal(shown, augmented(before, numbers, **settings))
        assert (shown.numpy() != before.numpy()).any()
