import colorsys

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from dlsuite.data import colour, geometry, mixing
from dlsuite.data.augment import augmenter
from dlsuite.data.randomness import ExampleRandom
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Augment

RANGE = (0.0, 255.0)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def draws(count, *, seed=0, epoch=0):
    return ExampleRandom(seed, tf.constant(epoch, tf.int64), tf.range(count, dtype=tf.int64))


def augmented(images, augment, *, labels=None, seed=0, epoch=0, value_range=RANGE):
    labels = np.eye(len(images), dtype=np.float32) if labels is None else labels
    change = augmenter(augment, image_shape=images.shape[1:], value_range=value_range)
    made = change(tf.constant(images), tf.constant(labels), draws(len(images), seed=seed,
                                                                 epoch=epoch))  # fmt: skip
    return made[0].numpy(), made[1].numpy()


FIELDS = {
    "flip": "horizontal",
    "crop_padding": 2,
    "resized_crop": 0.3,
    "translation": 0.2,
    "rotation": 30.0,
    "zoom": 0.3,
    "brightness": 0.3,
    "contrast": 0.5,
    "saturation": 0.5,
    "hue": 0.3,
    "rand_augment": 2,
    "random_erasing": 1.0,
    "mixup": 1.0,
    "cutmix": 1.0,
}


def test_what_is_off_leaves_images_untouched():
    images = noise(6, 8, 8, 3)
    made, labels = augmented(images, Augment())
    assert made.dtype == np.float32
    assert np.array_equal(made, images)
    assert np.array_equal(labels, np.eye(6))


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_changes_images_within_their_range_as_a_function_of_the_example(field):
    images = noise(16, 12, 12, 3)
    augment = Augment(**{field: FIELDS[field]})
    made, _ = augmented(images, augment)
    unchanged = images[: len(made)].astype(np.float32)
    assert (made != unchanged).any(axis=(1, 2, 3)).sum() >= 3
    assert made.min() >= 0
    assert made.max() <= 255
    assert np.array_equal(made, augmented(images, augment)[0])
    assert not np.array_equal(made, augmented(images, augment, epoch=1)[0])
    assert not np.array_equal(made, augmented(images, augment, seed=1)[0])


@pytest.mark.parametrize(
    ("base", "field", "value"),
    [
        (Augment(crop_padding=2), "fill", "nearest"),
        (Augment(translation=0.3), "fill", "reflect"),
        (Augment(rand_augment=2), "rand_augment_magnitude", 0.1),
    ],
)
def test_fields_that_refine_others_change_the_result(base, field, value):
    images = noise(16, 12, 12, 3)
    refined = base.model_copy(update={field: value})
    assert not np.array_equal(augmented(images, base)[0], augmented(images, refined)[0])


def test_every_field_is_covered():
    refining = {"fill", "rand_augment_magnitude"}
    assert set(FIELDS) | refining == set(Augment.model_fields)


def test_values_of_another_range_stay_inside_it():
    images = (noise(8, 12, 12, 3) / 255.0 + 1).astype(np.float32)
    augment = Augment(
        rotation=30.0, brightness=0.5, contrast=0.5, hue=0.2, rand_augment=2, random_erasing=1.0
    )
    made, _ = augmented(images, augment, value_range=(1.0, 2.0))
    # one unit in the last place for the way to 0..255 and back
    assert made.min() >= 1 - 1e-6
    assert made.max() <= 2 + 1e-6


def test_flips_mirror_about_half_of_the_images():
    images = np.broadcast_to(noise(1, 4, 6, 1), (2000, 4, 6, 1)).copy()
    made, _ = augmented(images, Augment(flip="both"), labels=np.zeros((2000, 1), np.float32))
    kinds = [images[0], images[0][:, ::-1], images[0][::-1], images[0][::-1, ::-1]]
    counts = [int((made == kind).all(axis=(1, 2, 3)).sum()) for kind in kinds]
    assert sum(counts) == 2000
    # five standard deviations of a binomial with p = 1/4
    assert np.abs(np.array(counts) - 500).max() < 5 * np.sqrt(2000 * 3 / 16)


@pytest.mark.parametrize(
    ("fill", "mode"), [("constant", "constant"), ("nearest", "edge"), ("reflect", "symmetric")]
)
@pytest.mark.parametrize("flipped", [False, True])
def test_a_crop_is_a_slice_of_the_padded_image(fill, mode, flipped):
    images = noise(5, 6, 7, 2)
    top, left = np.array([-3, 3, 0, 1, -1]), np.array([2, -3, 0, -1, 3])
    flip = tf.constant([flipped] * 5)
    made = geometry.crop(
        tf.constant(images),
        top=tf.constant(top, tf.int32),
        left=tf.constant(left, tf.int32),
        flip_x=flip,
        flip_y=tf.zeros_like(flip),
        fill=fill,
    )
    for number, image in enumerate(images):
        image = image[:, ::-1] if flipped else image
        padded = np.pad(image, [(3, 3), (3, 3), (0, 0)], mode=mode)
        y, x = top[number] + 3, left[number] + 3
        assert np.array_equal(made[number], padded[y : y + 6, x : x + 7])


def test_crops_reach_every_place_evenly():
    images = np.zeros((4000, 5, 5, 1), np.uint8)
    images[:, 2, 2] = 255
    made, _ = augmented(images, Augment(crop_padding=2), labels=np.zeros((4000, 1), np.float32))
    counts = (made[..., 0] == 255).sum(axis=0)
    # 25 places; five standard deviations of a binomial with p = 1/25
    assert np.abs(counts - 160).max() < 5 * np.sqrt(4000 * 24 / 625)


@pytest.mark.parametrize("fill", ["constant", "nearest", "reflect"])
def test_a_shift_by_whole_pixels_moves_them(fill):
    images = noise(1, 6, 7, 2).astype(np.float32)
    affine = geometry.shift(tf.constant([2.0]), tf.constant([-1.0]))
    made = geometry.warp(tf.constant(images), affine, fill=fill).numpy()
    mode = {"constant": "constant", "nearest": "edge", "reflect": "symmetric"}[fill]
    padded = np.pad(images[0], [(2, 2), (2, 2), (0, 0)], mode=mode)
    # right by 2, up by 1; exact up to float32 interpolation weights of 0 and 1
    assert np.allclose(made[0], padded[3:9, 0:7], atol=1e-3)


@pytest.mark.parametrize("degrees", [90.0, -90.0, 180.0])
def test_a_rotation_by_quarters_is_numpys(degrees):
    images = noise(1, 8, 8, 1).astype(np.float32)
    affine = geometry.rotate(tf.constant([degrees]))
    made = geometry.warp(tf.constant(images), affine, fill="nearest").numpy()
    expected = np.rot90(images[0], int(degrees // 90))
    # cos(90 degrees) is 4e-8 in float32, so places are off by about 1e-6 pixels
    assert np.allclose(made[0], expected, atol=0.01)


def test_rotation_and_zoom_are_scipys():
    image = ndimage.gaussian_filter(noise(16, 16).astype(np.float64), 1.5).astype(np.float32)
    affine = geometry.scale(tf.constant([1.3]), tf.constant([1.3])).after(
        geometry.rotate(tf.constant([25.0]))
    )
    made = geometry.warp(tf.constant(image[None, ..., None]), affine, fill="constant").numpy()
    angle = np.deg2rad(25)
    # rows and columns of the stored image as functions of the result's, about the centre
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / 1.3
    offset = 7.5 - matrix @ np.array([7.5, 7.5])
    expected = ndimage.affine_transform(image, matrix, offset, order=1)
    inner = (slice(2, -2), slice(2, -2))
    # both interpolate linearly in float32; edges differ in what lies outside
    assert np.allclose(made[0, ..., 0][inner], expected[inner], atol=1e-2)


def test_a_resized_crop_shows_a_window_of_the_image():
    # a ramp tells where each pixel came from
    rows, columns = np.meshgrid(np.arange(20.0), np.arange(20.0), indexing="ij")
    ramp = np.stack([rows, columns], axis=-1).astype(np.float32)
    images = np.broadcast_to(ramp, (200, 20, 20, 2)).copy()
    made, _ = augmented(
        images, Augment(resized_crop=0.25, fill="nearest"), labels=np.zeros((200, 1), np.float32)
    )
    step = made[:, 10, 10] - made[:, 9, 9]
    area = step[:, 0] * step[:, 1]
    assert area.min() >= 0.25 - 1e-3
    assert area.max() <= 1 + 1e-3
    aspect = step[:, 1] / step[:, 0]
    assert aspect.min() >= 3 / 4 - 1e-3
    assert aspect.max() <= 4 / 3 + 1e-3
    assert np.ptp(area) > 0.5


def test_contrast_saturation_and_hue_by_hand():
    images = noise(3, 5, 4, 3).astype(np.float32)
    factor = np.array([0.5, 1.0, 1.7], np.float32)
    wide = factor[:, None, None, None]
    mean = images.mean(axis=(1, 2), keepdims=True)
    assert np.allclose(
        colour.adjust_contrast(tf.constant(images), tf.constant(factor)),
        mean + wide * (images - mean),
        atol=1e-3,  # float32 sums of values up to 255
    )
    grey = (images @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    assert np.allclose(
        colour.adjust_saturation(tf.constant(images), tf.constant(factor)),
        grey + wide * (images - grey),
        atol=1e-3,
    )
    turn = np.array([0.0, 1 / 3, -0.2], np.float32)
    made = colour.adjust_hue(tf.constant(images), tf.constant(turn), RANGE).numpy()
    for number in range(3):
        for place in np.ndindex(5, 4):
            hue, saturation, value = colorsys.rgb_to_hsv(*(images[number][place] / 255))
            expected = colorsys.hsv_to_rgb((hue + turn[number]) % 1, saturation, value)
            # float32 against float64, times 255
            assert np.allclose(made[number][place], np.array(expected) * 255, atol=0.02)


def test_brightness_shifts_all_pixels_alike():
    images = np.full((500, 3, 3, 1), 128, np.uint8)
    made, _ = augmented(images, Augment(brightness=0.2), labels=np.zeros((500, 1), np.float32))
    shift = made[:, 0, 0, 0] - 128
    assert (made == made[:, :1, :1]).all()
    assert np.abs(shift).max() <= 0.2 * 255
    assert shift.min() < -45
    assert shift.max() > 45


def test_erasing_blanks_one_rectangle_of_the_stated_area():
    images = np.full((400, 32, 32, 1), 255, np.uint8)
    made, _ = augmented(images, Augment(random_erasing=0.5), labels=np.zeros((400, 1), np.float32))
    blank = made[..., 0] == 0
    touched = blank.any(axis=(1, 2))
    # five standard deviations of a binomial with p = 1/2
    assert abs(int(touched.sum()) - 200) < 5 * np.sqrt(400 / 4)
    for mask in blank[touched]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == len(rows) * len(columns)
        # 2 % to 33 % of 1,024 pixels, each side rounded to whole pixels
        assert 9 <= mask.sum() <= 400


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0, 100.0])
def test_lambda_follows_the_beta_distribution(alpha):
    drawn = mixing.beta(draws(5000), alpha).numpy()
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_mixup_blends_with_the_next_example_as_the_label_says():
    images = noise(9, 4, 4, 1).astype(np.float32)
    made, labels = augmented(images, Augment(mixup=1.0))
    assert made.shape[0] == labels.shape[0] == 8
    for number in range(8):
        weight = labels[number, number]
        assert labels[number, number + 1] == pytest.approx(1 - weight, abs=1e-6)
        expected = weight * images[number] + (1 - weight) * images[number + 1]
        assert np.allclose(made[number], expected, atol=1e-3)
    assert np.ptp(labels[np.arange(8), np.arange(8)]) > 0.1


def test_cutmix_labels_count_the_pixels():
    images = np.zeros((31, 10, 8, 1), np.uint8)
    images[1::2] = 200
    made, labels = augmented(images, Augment(cutmix=1.0))
    for number in range(30):
        share = (made[number] == images[number]).mean()
        assert labels[number, number] == pytest.approx(share, abs=1e-6)
        assert labels[number].sum() == pytest.approx(1, abs=1e-6)


def test_rand_augment_takes_grey_images_and_leaves_neighbours_alone():
    images = noise(6, 10, 10, 1)
    augment = Augment(rand_augment=2)
    made, _ = augmented(images, augment)
    assert made.shape == (6, 10, 10, 1)
    change = augmenter(augment, image_shape=(10, 10, 1), value_range=RANGE)
    alone = ExampleRandom(0, tf.constant(0, tf.int64), tf.constant([4], tf.int64))
    single, _ = change(tf.constant(images[4:5]), tf.zeros((1, 1)), alone)
    assert np.array_equal(single[0], made[4])


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (Augment(saturation=0.2), r"Saturation.*saturation=0.2 for images of 4 channels"),
        (Augment(hue=0.1), r"Hue.*hue=0.1 for images of 4 channels"),
        (Augment(rand_augment=1), r"grey or RGB.*rand_augment=1 for images of 4 channels"),
    ],
)
def test_colour_changes_need_colour(augment, words):
    with pytest.raises(DlsuiteError, match=words):
        augmenter(augment, image_shape=(8, 8, 4), value_range=RANGE)


def test_padding_is_smaller_than_the_image():
    augmenter(Augment(crop_padding=7), image_shape=(8, 9, 3), value_range=RANGE)
    with pytest.raises(DlsuiteError, match=r"crop_padding=8 for images of 9x8.*at most 7"):
        augmenter(Augment(crop_padding=8), image_shape=(8, 9, 3), value_range=RANGE)
