"""Random numbers as a pure function of (seed, epoch, example), by an integer hash.

A generator with a state would make augmentation depend on threads, shards and where a run
was resumed. Hashing needs none, and gives a whole batch its numbers in a few vector
operations.
"""

from dataclasses import dataclass

import tensorflow as tf

_C1, _C2 = 0xCC9E2D51, 0x1B873593


def murmur3(words: list[tf.Tensor], seed: int | tf.Tensor) -> tf.Tensor:
    """Returns the 32-bit MurmurHash3 of the words' little-endian bytes.

    Args:
        words: uint32 tensors that broadcast against each other.
        seed: of the hash, 0 to 2^32 - 1.

    Source:
        Austin Appleby, MurmurHash3_x86_32, public domain.
    """
    state = tf.convert_to_tensor(seed, tf.uint32)
    for word in words:
        word = _rotate_left(word * tf.constant(_C1, tf.uint32), 15) * tf.constant(_C2, tf.uint32)
        state = _rotate_left(tf.bitwise.bitwise_xor(state, word), 13)
        state = state * tf.constant(5, tf.uint32) + tf.constant(0xE6546B64, tf.uint32)
    state = tf.bitwise.bitwise_xor(state, tf.constant(4 * len(words), tf.uint32))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = _shift_xor(state, shift) * tf.constant(factor, tf.uint32)
    return _shift_xor(state, 16)


def _rotate_left(word: tf.Tensor, bits: int) -> tf.Tensor:
    left = tf.bitwise.left_shift(word, tf.constant(bits, tf.uint32))
    return tf.bitwise.bitwise_or(
        left, tf.bitwise.right_shift(word, tf.constant(32 - bits, tf.uint32))
    )


def _shift_xor(word: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(word, tf.bitwise.right_shift(word, tf.constant(bits, tf.uint32)))


# traced once, as a graph's operations take longer to make than to compile
@tf.function(
    input_signature=[
        tf.TensorSpec((), tf.int64),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.uint32),
        tf.TensorSpec((), tf.uint32),
    ],
    autograph=False,
)
def _bits(epoch: tf.Tensor, index: tf.Tensor, column: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    epoch = tf.cast(epoch & 0xFFFFFFFF, tf.uint32)
    low = tf.cast(index & 0xFFFFFFFF, tf.uint32)[:, None]
    high = tf.cast(tf.bitwise.right_shift(index, 32), tf.uint32)[:, None]
    return murmur3([epoch, low, high, column[None, :]], seed)


@dataclass(frozen=True)
class ExampleRandom:
    """Random numbers for the examples of a batch.

    Attributes:
        seed: the run's, 0 to 2^32 - 1.
        epoch: scalar, int64.
        index: of the examples in their split, shape (B,), int64.
    """

    seed: int | tf.Tensor
    epoch: tf.Tensor
    index: tf.Tensor

    def bits(self, stream: int, count: int) -> tf.Tensor:
        """Returns `count` random words for each example.

        Args:
            stream: what they are for; each use has its own, so that switching one
                augmentation on or off leaves the others' draws as they are.
            count: words an example.

        Shapes:
            (B, count), uint32.
        """
        first = stream * 256
        column = tf.constant(list(range(first, first + count)), tf.uint32)
        epoch, index = tf.cast(self.epoch, tf.int64), tf.cast(self.index, tf.int64)
        words = _bits(epoch, index, column, tf.convert_to_tensor(self.seed, tf.uint32))
        return tf.ensure_shape(words, (self.index.shape[0], count))

    def uniform(self, stream: int, count: int) -> tf.Tensor:
        """Returns numbers in [0, 1), multiples of 2^-24, shape (B, count), float32."""
        # 24 bits are what a float32 holds exactly, so 1 is never reached by rounding
        top = tf.bitwise.right_shift(self.bits(stream, count), tf.constant(8, tf.uint32))
        return tf.cast(top, tf.float32) * 2.0**-24

    def signed(self, stream: int, count: int) -> tf.Tensor:
        """Returns numbers in [-1, 1), shape (B, count), float32."""
        return 2.0 * self.uniform(stream, count) - 1.0
