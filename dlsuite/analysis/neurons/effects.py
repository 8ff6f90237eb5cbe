"""What a unit draws on, and what the model loses without it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from dlsuite.analysis.neurons.anatomy import Anatomy, NeuronLayer
from dlsuite.analysis.neurons.capture import capture
from dlsuite.analysis.neurons.kernels import unit_weights
from dlsuite.analysis.neurons.subject import Subject
from dlsuite.data.dataset import Split


@dataclass(frozen=True, eq=False)
class Inputs:
    """How much each unit of the layer before drives a unit.

    Attributes:
        layer: name of the layer before.
        drive: its mean activation times the summed weights it goes in with, shape (U, V).
    """

    layer: str
    drive: np.ndarray


def inputs(anatomy: Anatomy, layer: NeuronLayer, mean: np.ndarray | None = None) -> Inputs | None:
    """Returns what each unit of the layer before puts into each of this one on average.

    The drive of unit v on u is m_v sum_xy w_u(x, y, v), m_v the mean activation of v over a
    dataset. Normalisation between the layers is not in it. None where the input is the image's,
    or several layers' together.

    Args:
        anatomy: of the model.
        layer: with weights.
        mean: of the units of the layer before, shape (V,); 1 for all if None.
    """
    before = anatomy.input_layer(layer)
    if before is None:
        return None
    weights = unit_weights(layer)  # (U, h, w, D)
    summed = weights.sum(axis=(1, 2), dtype=np.float64)
    depthwise = getattr(layer.weighted.layer, "depthwise_kernel", None)
    if depthwise is not None and "Depthwise" not in layer.weighted.kind:
        if depthwise.shape[-1] > 1:
            return None  # a separable convolution that makes several maps of one before it mixes
        summed = summed * depthwise.numpy().sum(axis=(0, 1), dtype=np.float64)[:, 0]
    units, num_before = len(weights), before.place.num_units
    if "Depthwise" in layer.weighted.kind:
        drive = np.zeros((units, num_before))
        channel = np.arange(units) // (units // num_before)
        drive[np.arange(units), channel] = summed[:, 0]
    elif summed.shape[1] != num_before:
        return None  # a grouped convolution, or maps that were reshaped in between
    else:
        drive = summed
    if mean is not None:
        drive = drive * mean[None]
    return Inputs(before.name, drive)


class Ablation:
    """How the outputs change when one unit is silenced, with one compiled function for all layers.

    Args:
        subject: the model.
        layers: whose units may be silenced.
        batch_size: of images.
    """

    def __init__(self, subject: Subject, layers: Sequence[NeuronLayer], batch_size: int):
        self._layers = list(layers)
        places = [layer.place for layer in layers]

        def run(images: tf.Tensor, masks: list[tf.Tensor]) -> tf.Tensor:
            def silenced(mask: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
                def edit(x: tf.Tensor) -> tf.Tensor:
                    shape = (x.shape[0], *[1] * (len(x.shape) - 2), x.shape[-1])
                    return x * tf.cast(tf.reshape(mask, shape), x.dtype)

                return edit

            edits = {place.name: silenced(mask) for place, mask in zip(places, masks, strict=True)}
            found = capture(subject, images, places, whole=True, edits=edits)
            head = found[places[-1].name].before  # logits where the model ends in a softmax
            return tf.reshape(head, (batch_size, -1))

        self.batch_size = batch_size
        self._run = tf.function(run, autograph=False)

    def outputs(self, images: np.ndarray, layer: str | None, units: np.ndarray) -> np.ndarray:
        """Returns the last layer's values, before a softmax, one unit silenced in each image.

        Args:
            images: as stored, at most the batch size of them.
            layer: whose unit to silence; None for none.
            units: one an image, shape (B,).

        Shapes:
            returns: (B, K).
        """
        count = len(images)
        missing = self.batch_size - count
        if missing:
            images = np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
        masks = []
        for other in self._layers:
            mask = np.ones((self.batch_size, other.place.num_units), np.float32)
            if other.name == layer:
                mask[np.arange(count), units] = 0
            masks.append(tf.constant(mask))
        return self._run(tf.constant(images, tf.float32), masks).numpy()[:count]


def class_effects(
    ablation: Ablation,
    layer: NeuronLayer,
    units: Sequence[int],
    exemplars: np.ndarray,
    split: Split,
    *,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Returns how much each unit adds to each class on its own exemplars, shape (n, K).

    The mean over a unit's exemplars of the logits with it minus those without it: above 0 for
    a class that the unit speaks for.

    Args:
        ablation: over the model's layers.
        layer: where the units are.
        units: n of them.
        exemplars: positions in the split, shape (n, k).
        split: images as stored.
        progress: called after each batch with the number of images.

    Source: ablation of single units, Morcos et al. 2018, arXiv:1803.06959.
    """
    number = exemplars.shape[1]
    owners = np.repeat(np.asarray(units), number)
    flat = exemplars.reshape(-1)
    batch_size = ablation.batch_size
    changes = []
    for start in range(0, len(flat), batch_size):
        images = split.read(flat[start : start + batch_size])
        mine = owners[start : start + batch_size]
        whole = ablation.outputs(images, None, mine)
        without = ablation.outputs(images, layer.name, mine)
        changes.append(whole - without)
        if progress is not None:
            progress(len(images))
    changes = np.concatenate(changes)
    return changes.reshape(len(units), number, -1).mean(axis=1)
