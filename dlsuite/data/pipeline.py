"""Batches as a pure function of (seed, step), by tf.data.

An epoch's order is a keyed permutation of example indices, so the examples of any step are
arithmetic on its number: nothing is shuffled in a buffer, skipped or remembered, and a run
that starts at step s reads the batches that the whole run would have read there.
"""

import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from dlsuite.data.augment import augmenter, mixes
from dlsuite.data.batch_decoding import decode_plain
from dlsuite.data.dataset import Split
from dlsuite.data.randomness import ExampleRandom
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Augment

# Beyond this, images stay in NumPy's memory instead of being copied into a tensor: gathering
# costs the interpreter's lock for each batch, but no second copy of the data.
_TENSOR_BYTES = 256 * 2**20
_LAST_STEP = 2**62


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Returns the number of full batches in an epoch; what is left over is dropped.

    The order changes each epoch, so other examples are left out each time.

    Raises:
        DlsuiteError: the batch is larger than the split.
    """
    if batch_size > split.num_examples:
        raise DlsuiteError(
            f"A batch must not be larger than the {split.name} split. Received: "
            f"train.batch_size={batch_size} for {split.num_examples} examples. "
            f"Set train.batch_size (--batch-size) to at most {split.num_examples}."
        )
    return split.num_examples // batch_size


def training_batches(
    split: Split,
    *,
    batch_size: int,
    num_classes: int,
    seed: int,
    augment: Augment,
    value_range: tuple[float, float],
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Returns the endless training batches from a step on.

    The batch of step s depends on (seed, s) alone: not on where the run started, how many
    shards there are, or how many threads make it. Mixup's and cutmix's partner is the example
    next in the epoch's order, also where that lies in another shard or batch.

    Where images are read on demand, let go of the iterator before the interpreter ends: its
    threads call Python, and TensorFlow would wait for them for ever.

    Args:
        split: the training split.
        batch_size: examples a step, over all shards.
        num_classes: length of a label.
        seed: of order and augmentation.
        augment: what is changed at random.
        value_range: smallest and largest value of stored images; augmented ones stay inside.
        start_step: the first step, counted from the run's beginning.
        shard: (index, number of shards); shards concatenate to the global batch.

    Shapes:
        image: (batch_size / shards, H, W, C), float32, in stored units.
        label: (batch_size / shards, num_classes), float32, one-hot unless mixed.

    Raises:
        DlsuiteError: a batch larger than the split, or one that the shards don't divide.
    """
    steps = steps_per_epoch(split, batch_size)
    index, share = shard[0], _share(batch_size, shard)
    fetch = _fetcher(split, num_classes)
    image_shape = split.read(np.zeros(1, np.int64)).shape[1:]
    change = augmenter(augment, image_shape=image_shape, value_range=value_range)
    # the partner of a share's last example is the first of the next share
    fetched = share + 1 if mixes(augment) else share

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch = step // steps
        offset = (step % steps) * batch_size + index * share
        position = (offset + tf.range(fetched, dtype=tf.int64)) % split.num_examples
        examples = epoch_order(position, split, seed, epoch)
        image, label = fetch(examples, fetched)
        image, label = change(image, label, ExampleRandom(seed, epoch, examples))
        image = tf.ensure_shape(image, (share, *image.shape[1:]))
        return image, tf.ensure_shape(label, (share, num_classes))

    return (
        tf.data.Dataset.range(start_step, _LAST_STEP)
        .map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_batch_size(split: Split, batch_size: int, *, replicas: int) -> int:
    """Returns the examples a batch of an evaluation: the next number that the replicas divide.

    What is too much is filled up (see `evaluation_batches`), so that any split may be evaluated.

    Args:
        split: what is evaluated; no batch need be larger.
        batch_size: examples a batch that are asked for.
        replicas: among which a batch is divided evenly.
    """
    return -(-min(batch_size, split.num_examples) // replicas) * replicas


def evaluation_batches(
    split: Split, *, batch_size: int, num_classes: int, shard: tuple[int, int] = (0, 1)
) -> tf.data.Dataset:
    """Returns each example once, in the split's order, in batches of one size.

    The last batch is filled up with its own first example at weight 0.

    Args:
        split: what is evaluated.
        batch_size: examples a batch, over all shards.
        num_classes: length of a label.
        shard: (index, number of shards); shards concatenate to the global batch.

    Shapes:
        image: (batch_size / shards, H, W, C), float32, in stored units.
        label: (batch_size / shards, num_classes), float32, one-hot.
        weight: (batch_size / shards,), float32.

    Raises:
        DlsuiteError: a batch that the shards don't divide.
    """
    index, share = shard[0], _share(batch_size, shard)
    count = split.num_examples
    batches = -(-count // batch_size)
    # Keras's reduction sum_over_batch_size divides a batch's weighted sum by the batch's
    # length, padding included, and its metric averages the batches. Over n batches of B that
    # is sum(w * loss) / (n * B): with w = n * B / N on real examples it is exactly the mean
    # over the N examples. Weighted metrics divide by the sum of weights, so a common factor
    # changes nothing for them.
    weight = batches * batch_size / count
    fetch = _fetcher(split, num_classes)

    def batch(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        position = number * batch_size + index * share + tf.range(share, dtype=tf.int64)
        real = position < count
        image, label = fetch(tf.where(real, position, number * batch_size), share)
        return tf.cast(image, tf.float32), label, tf.where(real, weight, 0.0)

    return (
        tf.data.Dataset.range(batches)
        .map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def _share(batch_size: int, shard: tuple[int, int]) -> int:
    """A shard's examples of a batch."""
    _, shards = shard
    if batch_size % shards:
        raise DlsuiteError(
            "The batch must divide evenly over the replicas. Received: "
            f"train.batch_size={batch_size} over {shards}. Choose a multiple of {shards}."
        )
    return batch_size // shards


def reader_error(error: tf.errors.OpError) -> DlsuiteError | None:
    """Returns what a dataset's reader said when a batch failed, or None if it wasn't that.

    Data that is read while training may turn out damaged only then; tf.data reports it as an
    error of its own with the reader's message inside.
    """
    said = re.search(r"DlsuiteError: (.*?)(?:\n|$)", str(error))
    if said:
        return DlsuiteError(said[1])
    if "DecodeJpeg" in str(error):
        return DlsuiteError(
            "Every image of a dataset must be readable. Received: one that is damaged behind its "
            "header. Find it with `dlsuite check-data`, and replace it."
        )
    return None


def epoch_order(position: tf.Tensor, split: Split, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Returns the examples at these positions of an epoch's order, a permutation keyed by
    (seed, epoch).

    Shapes:
        position: (B,), int64, 0 to N-1; the result likewise.
    """
    key = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    last = tf.constant(split.num_examples - 1, tf.int64)
    return tf.random.experimental.index_shuffle(position, seed=key, max_index=last)


def _fetcher(
    split: Split, num_classes: int
) -> Callable[[tf.Tensor, int], tuple[tf.Tensor, tf.Tensor]]:
    """Returns what fetches images and one-hot labels by index inside a tf.data map."""
    with tf.device("CPU:0"):
        # An eager tensor that a map captures is passed by reference: it is neither copied
        # into the graph nor bound by its limit of 2 GB.
        labels = tf.constant(split.labels)
        held = split.images is not None and split.images.nbytes <= _TENSOR_BYTES
        images = tf.constant(split.images) if held else None
    example = split.read(np.zeros(1, np.int64))

    def fetch(indices: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        if images is not None:
            image = tf.gather(images, indices)
        elif split.read_encoded is not None:
            image = _decoded(split, indices, count, example.shape[1:])
        else:
            image = tf.numpy_function(split.read, [indices], example.dtype, stateful=False)
        image = tf.ensure_shape(image, (count, *example.shape[1:]))
        return image, tf.one_hot(tf.gather(labels, indices), num_classes)

    return fetch


def _decoded(
    split: Split, indices: tf.Tensor, count: int, image_shape: tuple[int, int, int]
) -> tf.Tensor:
    """Returns images decoded in the graph, or read where one of the files is not plain."""
    encoded = tf.numpy_function(split.read_encoded, [indices], tf.string, stateful=False)
    return tf.cond(
        tf.size(encoded) > 0,
        lambda: decode_plain(tf.ensure_shape(encoded, (count,)), image_shape),
        lambda: tf.numpy_function(split.read, [indices], tf.uint8, stateful=False),
    )
