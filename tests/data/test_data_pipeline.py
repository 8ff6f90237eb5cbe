import io
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from dlsuite.data import pipeline
from dlsuite.data.batch_decoding import plain_check
from dlsuite.data.dataset import Split
from dlsuite.data.images import decode_image
from dlsuite.data.pipeline import (
    evaluation_batches,
    reader_error,
    steps_per_epoch,
    training_batches,
)
from dlsuite.data.source import subset
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Augment

RANGE = (0.0, 255.0)
EVERYTHING = Augment(
    flip="both", crop_padding=2, translation=0.1, rotation=20.0, zoom=0.1, brightness=0.1,
    contrast=0.1, saturation=0.1, hue=0.1, random_erasing=0.5, mixup=0.4,
)  # fmt: skip


def batches(split, count, *, augment=Augment(), batch_size=8, seed=0, **options):  # noqa: B008
    made = training_batches(
        split,
        batch_size=batch_size,
        num_classes=4,
        seed=seed,
        augment=augment,
        value_range=RANGE,
        **options,
    )
    return [(image.numpy(), label.numpy()) for image, label in made.take(count)]


def same(first, second):
    return all(
        np.array_equal(a, b)
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_an_epoch_is_a_permutation_and_the_next_is_another(make_split):
    split = make_split(24)
    made = batches(split, 6)
    assert steps_per_epoch(split, 8) == 3
    for epoch in (made[:3], made[3:]):
        images = np.concatenate([image for image, _ in epoch])
        assert images.dtype == np.float32
        found = sorted(image.tobytes() for image in images)
        assert found == sorted(image.astype(np.float32).tobytes() for image in split.images)
    assert not same(made[:3], made[3:])
    assert not same(made[:3], batches(split, 3, seed=1))


def test_labels_are_one_hot_and_belong_to_their_images(make_split):
    split = make_split(24)
    position = {image.astype(np.float32).tobytes(): i for i, image in enumerate(split.images)}
    for images, labels in batches(split, 3):
        assert set(np.unique(labels)) == {0.0, 1.0}
        assert (labels.sum(axis=1) == 1).all()
        expected = [split.labels[position[image.tobytes()]] for image in images]
        assert labels.argmax(axis=1).tolist() == expected


def test_the_remainder_of_an_epoch_is_dropped(make_split):
    made = batches(make_split(21), 3)
    # 21 // 8 = 2 batches an epoch, so the third belongs to the next one
    first = {image.tobytes() for images, _ in made[:2] for image in images}
    assert len(first) == 16


@pytest.mark.parametrize("augment", [Augment(), EVERYTHING], ids=["plain", "augmented"])
def test_starting_later_reads_the_same_batches(make_split, augment):
    split = make_split(21)
    assert same(batches(split, 7, augment=augment)[4:], batches(
        split, 3, augment=augment, start_step=4
    ))  # fmt: skip


@pytest.mark.parametrize("augment", [Augment(), EVERYTHING], ids=["plain", "augmented"])
def test_shards_concatenate_to_the_global_batch(make_split, augment):
    split = make_split(21)
    whole = batches(split, 5, augment=augment)
    for shards in (2, 4):
        parts = [batches(split, 5, augment=augment, shard=(i, shards)) for i in range(shards)]
        joined = [
            tuple(np.concatenate(pieces) for pieces in zip(*step, strict=True))
            for step in zip(*parts, strict=True)
        ]
        assert same(whole, joined)


def test_the_number_of_threads_changes_nothing(make_split):
    split = make_split(24, shape=(8, 8, 3))
    augment = EVERYTHING.model_copy(update={"rand_augment": 1})
    made = []
    for threads in (1, 8):
        dataset = training_batches(
            split, batch_size=8, num_classes=4, seed=0, augment=augment, value_range=RANGE
        )
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        dataset = dataset.with_options(options).take(4)
        made.append([(image.numpy(), label.numpy()) for image, label in dataset])
    assert same(*made)


def files_split(make_split, odd=None):
    """A split of JPEGs, one of which may be odd, and what Pillow reads from them."""
    split = make_split(24)
    files = []
    for image in split.images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95)
        files.append(file.getvalue())
    if odd is not None:
        files[5] = odd(files[5])
    is_plain = plain_check((8, 8, 3))
    files = np.array(files, object)

    def read_encoded(indices):
        chosen = files[indices]
        return chosen if all(map(is_plain, chosen)) else chosen[:0]

    def read(indices):
        return np.stack([decode_image(files[i], name="", image_shape=(8, 8, 3)) for i in indices])

    return Split("train", split.labels, read, None, split.names, read_encoded)


def held_upside_down(file):
    camera = Image.Exif()
    camera[0x0112] = 3
    turned = io.BytesIO()
    Image.open(io.BytesIO(file)).save(turned, "JPEG", quality=95, exif=camera)
    return turned.getvalue()


@pytest.mark.parametrize("odd", [None, held_upside_down])
def test_files_decoded_in_the_graph_give_the_same_batches(make_split, odd):
    split = files_split(make_split, odd)
    by_pillow = replace(split, read_encoded=None)
    assert same(batches(split, 6, augment=EVERYTHING), batches(by_pillow, 6, augment=EVERYTHING))
    part = subset(split, np.arange(3, 19))
    assert part.read_encoded is not None
    assert same(batches(part, 4), batches(subset(by_pillow, np.arange(3, 19)), 4))


def test_a_file_damaged_behind_its_header_ends_in_a_sentence(make_split):
    def damage(file):
        tables = file.find(b"\xff\xc4") + 5
        return file[:tables] + b"\xff" * 16 + file[tables + 16 :]

    with pytest.raises(tf.errors.OpError) as caught:
        batches(files_split(make_split, damage), 3)
    assert "check-data" in str(reader_error(caught.value))


def test_images_read_on_demand_give_the_same_batches(make_split, monkeypatch):
    split = make_split(24)
    lazy = Split(split.name, split.labels, split.read, None, split.names)
    whole = batches(split, 4, augment=EVERYTHING)
    assert same(whole, batches(lazy, 4, augment=EVERYTHING))
    monkeypatch.setattr(pipeline, "_TENSOR_BYTES", 0)
    assert same(whole, batches(split, 4, augment=EVERYTHING))


@pytest.mark.parametrize("count", [1, 8, 21])
def test_evaluation_covers_each_example_once_and_averages_exactly(make_split, count):
    split = make_split(count)
    seen, weighted, total_length = [], 0.0, 0
    for image, label, weight in evaluation_batches(split, batch_size=8, num_classes=4):
        assert image.shape == (8, 8, 8, 3)
        real = weight.numpy() > 0
        seen += [one.tobytes() for one in image.numpy()[real]]
        # a loss that tells examples apart, reduced as Keras does: over the padded batch
        loss = tf.reduce_mean(image, axis=(1, 2, 3)) * tf.reduce_max(label, axis=1)
        weighted += float(tf.reduce_sum(loss * weight))
        total_length += len(real)
    assert seen == [image.astype(np.float32).tobytes() for image in split.images]
    expected = split.images.astype(np.float64).mean(axis=(1, 2, 3)).mean()
    # float32 sums of a few hundred pixels
    assert weighted / total_length == pytest.approx(expected, rel=1e-5)


def test_keras_evaluates_the_exact_mean_loss(make_split):
    split = make_split(21)
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Dense(4, kernel_initializer="ones")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs / 1e4)
    model.compile(loss=keras.losses.MeanSquaredError(), weighted_metrics=["categorical_accuracy"])
    result = model.evaluate(
        evaluation_batches(split, batch_size=8, num_classes=4), verbose=0, return_dict=True
    )
    predicted = split.images.reshape(21, -1).sum(axis=1, dtype=np.float64)[:, None] / 1e4
    one_hot = np.eye(4)[split.labels]
    # float32 arithmetic over 192 pixels
    assert result["loss"] == pytest.approx(((predicted - one_hot) ** 2).mean(), rel=1e-5)
    # equal logits: the first class wins, and it has 6 of 21 examples
    assert result["categorical_accuracy"] == pytest.approx(6 / 21, rel=1e-6)


def test_a_batch_larger_than_the_split_is_refused(make_split):
    with pytest.raises(DlsuiteError, match=r"batch_size=25 for 24 examples.*at most 24"):
        steps_per_epoch(make_split(24), 25)


def test_a_batch_that_replicas_do_not_divide_is_refused(make_split):
    with pytest.raises(DlsuiteError, match=r"batch_size=8 over 3.*multiple of 3"):
        batches(make_split(24), 1, shard=(0, 3))


def test_what_a_reader_says_in_the_middle_of_training_can_be_read(make_split):
    split = make_split(24)

    def read(indices):
        if 5 in indices:
            raise DlsuiteError("An image must be readable. Received: 'five.png'. Remove it.")
        return split.images[indices]

    broken = Split("train", split.labels, read, None, split.names)
    with pytest.raises(tf.errors.OpError) as caught:
        batches(broken, 3)
    said = reader_error(caught.value)
    assert str(said) == "An image must be readable. Received: 'five.png'. Remove it."
    assert reader_error(tf.errors.OutOfRangeError(None, None, "end")) is None
