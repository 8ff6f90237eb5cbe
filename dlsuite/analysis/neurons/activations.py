"""Activation maps of every layer for given images, in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import NeuronLayer
from dlsuite.analysis.neurons.capture import capture
from dlsuite.analysis.neurons.subject import Subject
from dlsuite.errors import DlsuiteError


@dataclass(frozen=True, eq=False)
class Activations:
    """The activations of one layer on B images.

    Attributes:
        layer: name of the layer.
        maps: shape (B, ..., U): maps (B, H, W, U), or (B, U) of a layer without.
        sparsity: fraction of exact zeros.
        silent: units that are 0 on all of these images.
    """

    layer: str
    maps: np.ndarray
    sparsity: float
    silent: np.ndarray


def activations(
    subject: Subject, layers: Sequence[NeuronLayer], images: np.ndarray
) -> dict[str, Activations]:
    """Returns the activations of layers by name, in one pass.

    Args:
        subject: the model.
        layers: of its anatomy.
        images: as stored, (B, H, W, C), or vectors (B, D).

    Raises:
        DlsuiteError: inputs of another shape than the model's.
    """
    images = np.asarray(images)
    check_inputs(subject, images)
    places = [layer.place for layer in layers]
    found = capture(subject, tf.constant(images, tf.float32), places)
    result = {}
    for layer in layers:
        maps = found[layer.place.name].after.numpy()
        result[layer.name] = Activations(
            layer=layer.name,
            maps=maps,
            sparsity=float(np.mean(maps == 0)),
            silent=np.flatnonzero((maps == 0).all(axis=tuple(range(maps.ndim - 1)))),
        )
    return result


def check_inputs(subject: Subject, images: np.ndarray) -> None:
    """Checks that inputs have the shape that the model takes.

    Raises:
        DlsuiteError: they don't.
    """
    if images.shape[1:] != subject.input_shape:
        raise DlsuiteError(
            f"{subject.name} takes inputs of shape {subject.input_shape}. "
            f"Received: {images.shape[1:]}. Bring the images to that size and those channels."
        )
