import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils import murmurhash3_32

from dlsuite.data.randomness import ExampleRandom, murmur3


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
@pytest.mark.parametrize("words", [[0], [1, 2], [2**32 - 1, 0, 123456789, 7]])
def test_hash_is_murmur3(seed, words):
    ours = murmur3([tf.constant(word, tf.uint32) for word in words], seed)
    independent = murmurhash3_32(np.array(words, "<u4").tobytes(), seed, positive=True)
    assert int(ours) == independent


def test_uniforms_are_even_and_uncorrelated():
    count, columns = 50_000, 4
    random = ExampleRandom(3, tf.constant(5, tf.int64), tf.range(count, dtype=tf.int64))
    drawn = random.uniform(2, columns).numpy()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    # five standard errors of N uniform draws: sqrt(1/12/N) for the mean
    assert np.abs(drawn.mean(axis=0) - 0.5).max() < 5 * np.sqrt(1 / 12 / count)
    assert np.abs(drawn.std(axis=0) - np.sqrt(1 / 12)).max() < 0.005
    later = random.uniform(3, columns).numpy()
    next_epoch = ExampleRandom(3, tf.constant(6, tf.int64), random.index).uniform(2, columns)
    other_seed = ExampleRandom(4, random.epoch, random.index).uniform(2, columns)
    neighbours = np.roll(drawn, 1, axis=0)
    table = np.hstack([drawn, later, next_epoch.numpy(), other_seed.numpy(), neighbours])
    correlation = np.corrcoef(table.T) - np.eye(5 * columns)
    # five standard errors of the correlation of N independent pairs, 1/sqrt(N)
    assert np.abs(correlation).max() < 5 / np.sqrt(count)


def test_draws_depend_on_the_example_alone():
    epoch = tf.constant(1, tf.int64)
    whole = ExampleRandom(0, epoch, tf.range(10, dtype=tf.int64)).bits(1, 3).numpy()
    part = ExampleRandom(0, epoch, tf.constant([7, 2], tf.int64)).bits(1, 3).numpy()
    assert np.array_equal(part, whole[[7, 2]])


def test_indices_beyond_32_bits_differ():
    index = tf.constant([5, 5 + 2**32], tf.int64)
    drawn = ExampleRandom(0, tf.constant(0, tf.int64), index).bits(1, 1).numpy()
    assert drawn[0, 0] != drawn[1, 0]
