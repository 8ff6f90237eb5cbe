"""Inversion: the picture whose activations at a layer are given ones."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import NeuronLayer
from dlsuite.analysis.neurons.ascent import Ascent
from dlsuite.analysis.neurons.capture import Captured
from dlsuite.analysis.neurons.colour import ImageStatistics, usual_statistics
from dlsuite.analysis.neurons.parametrisation import parametrisation
from dlsuite.analysis.neurons.robustness import Moves
from dlsuite.analysis.neurons.subject import Subject
from dlsuite.errors import DlsuiteError


@dataclass(frozen=True, eq=False)
class Inversion:
    """Pictures made from codes; N of them.

    Attributes:
        layer: name of the layer.
        inputs: as stored, shape (N, H, W, C) or (N, D), float32.
        errors: |a - a0| / |a0| between the picture's code and the wanted one, shape (N,).
    """

    layer: str
    inputs: np.ndarray
    errors: np.ndarray


def invert(
    subject: Subject,
    layer: NeuronLayer,
    codes: np.ndarray,
    *,
    parametrised: str = "fourier",
    steps: int = 256,
    statistics: ImageStatistics | None = None,
    batch_size: int = 8,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Inversion:
    """Returns pictures that bring a layer into given states, by gradient ascent.

    What is climbed is -|a - a0|^2 / |a0|^2. With the activations of an image for a0 it shows
    what of the image the layer keeps (feature inversion); with a code that no image has, such as
    the mean of a class or one unit alone, an image exemplar of that code. The Fourier
    parametrisation takes the place of the source's total variation: both prefer smooth pictures.

    Args:
        subject: its model is left as it was.
        layer: where the codes are.
        codes: its activations, shape (N, ...), behind its activation function.
        parametrised: ``fourier``, ``pixel`` or ``maco``.
        steps: of gradient ascent.
        statistics: of the user's images.
        batch_size: pictures at a time.
        seed: of the starting pictures.
        progress: called with the number of steps times pictures after each block.

    Raises:
        DlsuiteError: codes of another shape than the layer's output.

    Source: Mahendran and Vedaldi 2014, arXiv:1412.0035, eqs. 1 and 2; for codes Nguyen et al.
    2016, arXiv:1605.09304.
    """
    codes = np.asarray(codes, np.float32)
    if codes.shape[1:] != layer.place.shape:
        raise DlsuiteError(
            f"A code for {layer.name!r} has the shape {layer.place.shape}. "
            f"Received: {codes.shape[1:]}. Take the layer's activations."
        )
    made = parametrisation(
        parametrised,
        shape=subject.input_shape,
        statistics=statistics or usual_statistics(subject.input_shape[-1]),
        value_range=subject.value_range,
    )

    def distance(found: Captured, wanted: tf.Tensor) -> tf.Tensor:
        axes = list(range(1, len(wanted.shape)))
        missed = tf.reduce_sum((found.after - wanted) ** 2, axes)
        return missed / tf.maximum(tf.reduce_sum(wanted**2, axes), 1e-12)

    def aim(found: Captured, wanted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        missed = distance(found, wanted)
        return -missed, missed

    def measure(found: Captured, wanted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        missed = tf.sqrt(distance(found, wanted))
        return missed, missed

    count = len(codes)
    batch_size = min(batch_size, count)
    ascent = Ascent(
        subject,
        layer.place,
        made,
        aim=aim,
        measure=measure,
        target_shape=codes.shape[1:],
        is_moved=False,
        batch_size=batch_size,
    )
    inputs, errors = [], []
    for start in range(0, count, batch_size):
        chosen = np.minimum(np.arange(start, start + batch_size), count - 1)
        rngs = [np.random.default_rng([seed, int(number)]) for number in chosen]
        found = ascent.run(codes[chosen], rngs, steps, Moves(), progress)
        inputs.append(found[0][: count - start])
        errors.append(found[1][: count - start])
    return Inversion(layer.name, np.concatenate(inputs), np.concatenate(errors))
