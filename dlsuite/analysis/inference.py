"""From images to logits, through one compiled function."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from dlsuite.data.dataset import Split
from dlsuite.errors import DlsuiteError


class Forward:
    """A model's forward pass, compiled once for one batch shape.

    A shorter batch is padded to that shape and the padding's logits are dropped, so nothing
    is traced twice and an example meets the same arithmetic in whatever company it comes.

    Args:
        model: takes images as stored, (B, H, W, C); normalisation is one of its layers.
        batch_size: examples a call.

    Raises:
        DlsuiteError: the batch size is not positive.
    """

    def __init__(self, model: keras.Model, batch_size: int):
        require_batch_size(batch_size)
        self.batch_size = batch_size

        def forward(images: tf.Tensor) -> tf.Tensor:
            logits = model(tf.cast(images, tf.float32), training=False)
            return tf.cast(logits, tf.float32)

        self._forward = tf.function(forward, autograph=False)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns logits, shape (n, K), float32.

        Args:
            images: as stored, shape (n, H, W, C), n at most the batch size.
        """
        missing = self.batch_size - len(images)
        if missing:
            # copies of a real image: no value that a layer might choke on
            images = np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
        return self._forward(images).numpy()[: self.batch_size - missing]


def require_batch_size(batch_size: int) -> None:
    """Checks that a batch holds something.

    Raises:
        DlsuiteError: the batch size is not positive.
    """
    if batch_size < 1:
        raise DlsuiteError(
            f"A batch holds at least one example. Received: batch_size={batch_size}. "
            "Pass a positive batch size."
        )


def logits(
    model: keras.Model,
    images: Split | np.ndarray,
    *,
    batch_size: int,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Returns the model's logits for every image, in order, float32.

    Args:
        model: takes images as stored; normalisation is one of its layers.
        images: a split, read by index a batch at a time, or an array.
        batch_size: examples a compiled call; fewer where there are fewer images.
        progress: called after each batch with the number of examples that it held.

    Shapes:
        images: (N, H, W, C), uint8 or float.
        returns: (N, K), float32.

    Raises:
        DlsuiteError: no images, images of a shape that the model doesn't take, or a batch
            size that is not positive.
    """
    if isinstance(images, Split):
        num_examples, read = images.num_examples, images.read
    else:
        images = np.asarray(images)
        num_examples, read = len(images), images.__getitem__
    if not num_examples:
        raise DlsuiteError(
            "There is nothing to classify. Received: 0 images. Choose a split that is not empty."
        )
    forward = Forward(model, min(batch_size, num_examples))
    parts = []
    for start in range(0, num_examples, forward.batch_size):
        batch = read(np.arange(start, min(start + forward.batch_size, num_examples)))
        if start == 0:
            _check_shape(model, batch)
        parts.append(forward(batch))
        if progress is not None:
            progress(len(batch))
    return np.concatenate(parts)


def _check_shape(model: keras.Model, batch: np.ndarray) -> None:
    expected = tuple(model.input_shape[1:])
    fits = len(expected) == batch.ndim - 1 and all(
        want in (None, have) for want, have in zip(expected, batch.shape[1:], strict=True)
    )
    if not fits:
        raise DlsuiteError(
            f"The model takes images of shape {expected} (height, width, channels). "
            f"Received: {batch.shape[1:]}. Resize or convert the images, or train on such images."
        )
