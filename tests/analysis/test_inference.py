"""Logits of a whole split or array, in order, through one trace."""

import keras
import numpy as np
import pytest

from dlsuite.analysis.evaluation import choose_split, evaluate_split
from dlsuite.analysis.inference import logits
from dlsuite.data.dataset import Dataset, Split
from dlsuite.errors import DlsuiteError


@pytest.fixture(scope="module")
def model():
    """Class k's logit is k plus the mean pixel times (k + 1), of 2x2 grey images."""
    image = keras.Input((2, 2, 1), name="image", dtype="float32")
    mean = keras.layers.GlobalAveragePooling2D()(image)
    dense = keras.layers.Dense(3)
    made = keras.Model(image, dense(mean))
    dense.set_weights([np.array([[1.0, 2.0, 3.0]]), np.array([0.0, 1.0, 2.0])])
    return made


def split_of(images, labels, reads=None):
    def read(indices):
        if reads is not None:
            reads.append(len(indices))
        return images[indices]

    names = [f"made/test/{i}" for i in range(len(labels))]
    return Split("test", np.asarray(labels, np.int32), read, None, names)


def expected(images):
    mean = images.astype(float).mean(axis=(1, 2, 3))[:, None]
    return np.arange(3) + mean * np.arange(1, 4)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_image_is_answered_once_and_in_order(model, batch_size, dtype):
    images = np.arange(28).reshape(7, 2, 2, 1).astype(dtype)
    result = logits(model, images, batch_size=batch_size)
    assert result.dtype == np.float32
    # sums of small integers, exact in float32
    np.testing.assert_array_equal(result, expected(images))


def test_a_split_is_read_by_index_a_batch_at_a_time(model):
    images = np.arange(40).reshape(10, 2, 2, 1).astype(np.uint8)
    reads, counts = [], []
    result = logits(model, split_of(images, [0] * 10, reads), batch_size=4, progress=counts.append)
    np.testing.assert_array_equal(result, expected(images))
    assert reads == [4, 4, 2]
    assert counts == [4, 4, 2]


def test_the_short_last_batch_traces_nothing_anew():
    @keras.saving.register_keras_serializable("dlsuite-tests")
    class Counting(keras.layers.Layer):
        traces = 0

        def call(self, inputs):
            type(self).traces += 1
            return inputs

    image = keras.Input((2, 2, 1))
    model = keras.Model(image, keras.layers.Flatten()(Counting()(image)))
    Counting.traces = 0  # building the model calls it too
    logits(model, np.zeros((10, 2, 2, 1), np.uint8), batch_size=4)
    assert Counting.traces == 1


def test_dropout_and_batch_statistics_are_off():
    image = keras.Input((2, 2, 1))
    x = keras.layers.Dropout(0.5, seed=1)(image)
    x = keras.layers.BatchNormalization(epsilon=0)(x)
    model = keras.Model(image, keras.layers.Flatten()(x))
    images = np.arange(1, 13, dtype=np.float32).reshape(3, 2, 2, 1)
    # moving mean 0 and variance 1: the identity
    np.testing.assert_array_equal(logits(model, images, batch_size=2), images.reshape(3, 4))


def test_half_precision_logits_come_back_as_float32():
    image = keras.Input((2, 2, 1))
    model = keras.Model(image, keras.layers.Flatten(dtype="float16")(image))
    assert logits(model, np.ones((1, 2, 2, 1)), batch_size=1).dtype == np.float32


def test_images_of_another_shape_are_refused(model):
    with pytest.raises(DlsuiteError, match=r"\(2, 2, 1\).*Received: \(3, 2, 1\)"):
        logits(model, np.zeros((5, 3, 2, 1)), batch_size=2)


def test_a_network_without_a_fixed_size_takes_any():
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    assert logits(model, np.full((2, 5, 3, 1), 7), batch_size=2).tolist() == [[7], [7]]


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_size_that_is_not_positive_is_refused(model, batch_size):
    with pytest.raises(DlsuiteError, match=f"at least one.*batch_size={batch_size}"):
        logits(model, np.zeros((5, 2, 2, 1)), batch_size=batch_size)


def test_no_images_are_refused(model):
    with pytest.raises(DlsuiteError, match="Received: 0 images"):
        logits(model, np.zeros((0, 2, 2, 1)), batch_size=2)


def test_a_split_is_evaluated_with_its_names(model):
    # logits (m, 1 + 2m, 2 + 3m): class 2 unless m < -1, where class 0 wins
    images = np.array([0, 5, -4], np.float32)[:, None, None, None] * np.ones((1, 2, 2, 1))
    result = evaluate_split(
        model, split_of(images, [2, 1, 0]), class_names=("a", "b", "c"), batch_size=2
    )
    assert result.accuracy == pytest.approx(2 / 3)
    assert [(m.name, m.true, m.predicted) for m in result.mistakes] == [("made/test/1", 1, 2)]
    np.testing.assert_array_equal(result.logits[1], [5, 11, 17])


def test_a_split_that_is_not_there_is_named():
    dataset = Dataset(
        name="made",
        class_names=("a", "b"),
        image_shape=(2, 2, 1),
        splits={"train": split_of(np.zeros((1, 2, 2, 1)), [0])},
        mean=(0.0,),
        std=(1.0,),
        value_range=(0, 255),
    )
    with pytest.raises(DlsuiteError, match=r"split of made.*'trian'.*'train'.*Take --split train"):
        choose_split(dataset, "trian")
    assert choose_split(dataset, "train").num_examples == 1
