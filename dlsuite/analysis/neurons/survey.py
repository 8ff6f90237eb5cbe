"""What every unit does on a dataset: its exemplars, and how often it is active at all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import NeuronLayer
from dlsuite.analysis.neurons.capture import capture
from dlsuite.analysis.neurons.receptive_field import ReceptiveField
from dlsuite.analysis.neurons.subject import Subject
from dlsuite.data.dataset import Split, evenly_spaced
from dlsuite.errors import DlsuiteError

# Kept a unit: the crops that are shown, and enough to count classes by.
NUM_KEPT = 64


@dataclass(frozen=True, eq=False)
class Survey:
    """What the U units of one layer do on N images; K exemplars are kept of each unit.

    Attributes:
        layer: name of the layer.
        values: the largest activation within an image, of the K images where it is largest,
            largest first, shape (U, K).
        indices: those images' positions in the split, shape (U, K).
        rows: where in the map it is reached, shape (U, K); 0 in a layer without maps.
        columns: likewise.
        mean: activation over all images and places, shape (U,).
        active: fraction of images and places where it is above 0, shape (U,).
        is_dead: whether it has one value everywhere on all images, as a ReLU that is 0, (U,).
        num_images: N.
    """

    layer: str
    values: np.ndarray
    indices: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    mean: np.ndarray
    active: np.ndarray
    is_dead: np.ndarray
    num_images: int

    def class_counts(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """Returns how many of each unit's exemplars are of each class, shape (U, classes)."""
        found = np.zeros((len(self.values), num_classes), np.int64)
        np.add.at(found, (np.arange(len(found))[:, None], labels[self.indices]), 1)
        return found


def survey(
    subject: Subject,
    layers: Sequence[NeuronLayer],
    split: Split,
    *,
    limit: int | None = None,
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Survey]:
    """Returns what every unit of the layers does on a split, by the layers' names.

    One pass: images are read a batch at a time, all layers are computed together, and what is
    kept does not grow with the dataset.

    Args:
        subject: the model.
        layers: of its anatomy.
        split: images as stored; of more than `limit` images as many, spread evenly.
        limit: how many images to look at, at most.
        batch_size: images a compiled call.
        progress: called after each batch with the number of its images.

    Raises:
        DlsuiteError: the split is empty, or its images don't fit the model.

    Source: dataset examples as in Olah et al. 2017, doi:10.23915/distill.00007, and OpenAI
    Microscope; receptive-field crops as in Zeiler and Fergus 2013, arXiv:1311.2901.
    """
    check_images(subject, split)
    total = split.num_examples
    positions = np.arange(total)
    if limit is not None and total > limit:
        positions = evenly_spaced(total, limit)
    batch_size = min(batch_size, len(positions))
    places = [layer.place for layer in layers]

    def look(images: tf.Tensor, is_real: tf.Tensor) -> list[tuple[tf.Tensor, ...]]:
        found = capture(subject, images, places)
        return [_summary(found[place.name].after, is_real) for place in places]

    compiled = tf.function(look, autograph=False)
    states = [_State(place.num_units) for place in places]
    for start in range(0, len(positions), batch_size):
        chosen = positions[start : start + batch_size]
        images = split.read(chosen)
        is_real = np.arange(batch_size) < len(chosen)
        if len(chosen) < batch_size:
            images = np.concatenate([images, np.repeat(images[:1], batch_size - len(chosen), 0)])
        for state, summary in zip(states, compiled(images, tf.constant(is_real)), strict=True):
            state.add(chosen, [part.numpy() for part in summary])
        if progress is not None:
            progress(len(chosen))
    return {
        layer.name: state.finish(layer, len(positions))
        for layer, state in zip(layers, states, strict=True)
    }


def check_images(subject: Subject, split: Split) -> None:
    """Checks that a split holds images that the model takes.

    Raises:
        DlsuiteError: it is empty, or they don't fit.
    """
    if not split.num_examples:
        raise DlsuiteError(
            "Exemplars need at least one image. Received: an empty split. Name other data."
        )
    shape = tuple(split.read(np.arange(1)).shape[1:])
    if shape != subject.input_shape:
        raise DlsuiteError(
            f"{subject.name} takes images of shape {subject.input_shape} (height, width, "
            f"channels). Received: {shape}. Name data with such images."
        )


def _summary(activation: tf.Tensor, is_real: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Largest value and place an image and unit (B, U); sum, smallest, count above 0 (U,)."""
    batch, units = activation.shape[0], activation.shape[-1]
    flat = tf.reshape(activation, (batch, -1, units))
    weight = tf.cast(is_real, tf.float32)[:, None]
    places = tf.cast(tf.shape(flat)[1], tf.float32)
    mean = tf.reduce_mean(flat, axis=1)
    above = tf.reduce_sum(tf.cast(flat > 0, tf.float32), axis=1) / places
    return (
        tf.reduce_max(flat, axis=1),
        tf.argmax(flat, axis=1, output_type=tf.int32),
        tf.reduce_min(flat, axis=(0, 1)),
        tf.reduce_sum(mean * weight, axis=0),
        tf.reduce_sum(above * weight, axis=0),
    )


class _State:
    """The best so far of each unit of a layer."""

    def __init__(self, num_units: int):
        self._values = np.full((num_units, 0), -np.inf, np.float32)
        self._indices = np.zeros((num_units, 0), np.int64)
        self._flat = np.zeros((num_units, 0), np.int64)
        self._sum = np.zeros(num_units)
        self._above = np.zeros(num_units)
        self._smallest = np.full(num_units, np.inf)

    def add(self, chosen: np.ndarray, summary: Sequence[np.ndarray]) -> None:
        largest, where, smallest, total, above = summary
        count = len(chosen)
        values = np.concatenate([self._values, largest[:count].T], axis=1)
        indices = np.broadcast_to(chosen, (len(values), count))
        indices = np.concatenate([self._indices, indices], axis=1)
        flat = np.concatenate([self._flat, where[:count].T], axis=1)
        # stable: of equal values the earlier image stays
        order = np.argsort(-values, axis=1, kind="stable")[:, :NUM_KEPT]
        self._values = np.take_along_axis(values, order, axis=1)
        self._indices = np.take_along_axis(indices, order, axis=1)
        self._flat = np.take_along_axis(flat, order, axis=1)
        self._sum += total
        self._above += above
        self._smallest = np.minimum(self._smallest, smallest)

    def finish(self, layer: NeuronLayer, num_images: int) -> Survey:
        shape = layer.place.shape
        width = shape[1] if len(shape) == 3 else 1
        largest = self._values[:, 0]
        return Survey(
            layer=layer.name,
            values=self._values,
            indices=self._indices,
            rows=self._flat // width,
            columns=self._flat % width,
            mean=self._sum / num_images,
            active=self._above / num_images,
            is_dead=largest == self._smallest,
            num_images=num_images,
        )


def crops(
    found: Survey,
    split: Split,
    unit: int,
    *,
    count: int,
    field: ReceptiveField | None,
) -> list[np.ndarray]:
    """Returns what a unit saw of its first exemplars, as stored, each (h, w, C).

    Args:
        found: the survey of its layer.
        split: that was surveyed.
        unit: of the layer.
        count: how many.
        field: of the layer; None gives whole images.
    """
    images = split.read(found.indices[unit, :count])
    if field is None:
        return list(images)
    pieces = []
    for number, image in enumerate(images):
        top, bottom = field.vertical.window(int(found.rows[unit, number]), image.shape[0])
        left, right = field.horizontal.window(int(found.columns[unit, number]), image.shape[1])
        pieces.append(image[top:bottom, left:right])
    return pieces
