"""What attribution methods share: a class's score, and its gradients, for images as stored."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import Anatomy, NeuronLayer, Place
from dlsuite.analysis.neurons.capture import capture
from dlsuite.errors import DlsuiteError


class Explained:
    """A model whose classes are explained, compiled once for each batch size.

    The score of a class is its logit, whether the model ends in a softmax or not; of a head with
    maps it is the mean over the map.

    Args:
        anatomy: of the model.
        batch_size: images at a time.

    Raises:
        DlsuiteError: the model takes no images.
    """

    def __init__(self, anatomy: Anatomy, *, batch_size: int = 16):
        if not anatomy.subject.takes_images:
            raise DlsuiteError(
                "Attribution explains an image. Received: a model that takes vectors of "
                f"{anatomy.subject.input_shape[0]} numbers. Choose another method."
            )
        self.anatomy = anatomy
        self.subject = anatomy.subject
        self.batch_size = batch_size
        head = anatomy.head.place

        def logits(images: tf.Tensor) -> tf.Tensor:
            before = capture(self.subject, images, [head])[head.name].before
            return tf.reshape(before, (before.shape[0], -1, before.shape[-1]))

        def outputs(images: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(logits(images), axis=1)

        def gradient(images: tf.Tensor, targets: tf.Tensor):
            with tf.GradientTape() as tape:
                tape.watch(images)
                scores = tf.gather(outputs(images), targets, batch_dims=1)
            return scores, tape.gradient(scores, images)

        self._outputs = tf.function(outputs, autograph=False)
        self._gradient = tf.function(gradient, autograph=False)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits, shape (B, K)."""
        return np.concatenate([self._outputs(part).numpy() for part in self._parts(images)])

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Returns the softmax of the logits, shape (B, K), or their sigmoid where the model ends
        in one or has a single output."""
        outputs = self.outputs(images)
        activation = vars(self.anatomy.head.place.layer).get("activation")
        is_sigmoid = activation is keras.activations.sigmoid or outputs.shape[-1] == 1
        return (tf.nn.sigmoid if is_sigmoid else tf.nn.softmax)(outputs).numpy()

    def gradient(self, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Returns the gradient of each image's score with respect to it, (B, H, W, C)."""
        targets = np.asarray(targets, np.int32)
        pairs = zip(self._parts(images), self._parts(targets), strict=True)
        return np.concatenate([self._gradient(*pair)[1].numpy() for pair in pairs])

    def at_layer(
        self, images: np.ndarray, targets: np.ndarray, place: Place
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns a place's activations and the scores' gradients there, each (B, h, w, U)."""
        activations, gradients = [], []
        head = self.anatomy.head.place
        for part, chosen in zip(self._parts(images), self._parts(targets), strict=True):
            with tf.GradientTape() as tape:
                found: dict[str, tf.Tensor] = {}

                def watch(x: tf.Tensor, found=found, tape=tape) -> tf.Tensor:
                    tape.watch(x)
                    found["x"] = x
                    return x

                logits = capture(
                    self.subject, tf.constant(part), [place, head], edits={place.name: watch}
                )[head.name].before
                flat = tf.reshape(logits, (len(part), -1, logits.shape[-1]))
                scores = tf.gather(
                    tf.reduce_mean(flat, axis=1), np.asarray(chosen, np.int32), batch_dims=1
                )
            gradient = tape.gradient(scores, found["x"])
            if gradient is None:
                raise DlsuiteError(
                    "A class must depend on the layer that is looked at. Received: "
                    f"{place.name!r}, which the logits of {head.name!r} don't depend on. Name a "
                    "layer before it with --layer."
                )
            activations.append(np.asarray(tf.cast(found["x"], tf.float32)))
            gradients.append(np.asarray(tf.cast(gradient, tf.float32)))
        return np.concatenate(activations), np.concatenate(gradients)

    def _parts(self, values: np.ndarray) -> list[np.ndarray]:
        values = np.asarray(values)
        if values.ndim == 4:
            values = values.astype(np.float32)
        return [
            values[start : start + self.batch_size]
            for start in range(0, len(values), self.batch_size)
        ]

    def last_maps(self) -> NeuronLayer:
        """Returns the last layer with height and width: what class activation maps look at.

        Raises:
            DlsuiteError: there is none.
        """
        for layer in reversed(self.anatomy.neuron_layers):
            if layer.place.has_maps and layer.name != self.anatomy.head.name:
                return layer
        raise DlsuiteError(
            "A class activation map needs a layer with height and width. Received: "
            f"{self.subject.name}, which has none. Choose gradient or integrated-gradients."
        )

    def check_maps(self, layer: NeuronLayer) -> None:
        """Checks that a layer has height and width.

        Raises:
            DlsuiteError: it has not.
        """
        if not layer.place.has_maps:
            shape = "x".join(map(str, layer.place.shape))
            raise DlsuiteError(
                "A class activation map needs a layer with height and width. Received: "
                f"{layer.name!r}, whose output is {shape}. Choose another of --list."
            )


@contextmanager
def randomised(anatomy: Anatomy, *, seed: int = 0) -> Iterator[None]:
    """Within it, the model computes with its weights shuffled, each within itself.

    Frozen ones too; the moving statistics of normalization are none. The weights themselves are
    not touched. A map that stays the same tells of the image, not of what was learnt.

    Source: Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292.
    """
    rng = np.random.default_rng(seed)
    mapping = []
    # those of a frozen layer are not among trainable_weights, though they were learnt
    for layer in anatomy.subject.model._flatten_layers():
        for weight in layer._trainable_variables:
            value = weight.numpy()
            shuffled = rng.permutation(value.ravel()).reshape(value.shape)
            mapping.append((weight, tf.constant(shuffled)))
    with keras.StatelessScope(state_mapping=mapping):
        yield


def upsampled(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns maps (B, h, w) at the size of the images, bilinear, (B, H, W)."""
    return tf.image.resize(maps[..., None].astype(np.float32), size).numpy()[..., 0]


def flattened(maps: np.ndarray) -> np.ndarray:
    """Returns attributions (B, H, W, C) as one number a pixel, the sum over channels, (B, H, W)."""
    return maps.sum(axis=-1)
