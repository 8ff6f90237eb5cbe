"""The model under the microscope: what it takes, and how images as stored reach it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dlsuite.errors import DlsuiteError, unknown_name
from dlsuite.models.applications import PREPROCESSING as FAMILIES
from dlsuite.models.applications import application_names, family, preprocess

PREPROCESSING = ("none", "unit", "tf", "torch", "caffe")
# Where a model leaves its size open, the smallest that deep networks take.
_OPEN_SIDE = 224


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and what stands around it. The model is never changed.

    Attributes:
        name: what the user called it.
        model: any `keras.Model`: functional, nested, subclassed or sequential.
        input_shape: without the batch axis: (H, W, C) of images, or (D,) of latent vectors.
        value_range: smallest and largest value of an image as stored.
        preprocessing: what happens to images before the model, one of `PREPROCESSING`.
        class_names: in the order of the outputs; None where unknown.
    """

    name: str
    model: keras.Model
    input_shape: tuple[int, ...]
    value_range: tuple[float, float] = (0.0, 255.0)
    preprocessing: str = "none"
    class_names: tuple[str, ...] | None = None

    @property
    def takes_images(self) -> bool:
        """Whether the input is a picture, and not a vector as a generator's."""
        return len(self.input_shape) == 3

    def blank(self, size: int | None = None, *, batch_size: int = 1) -> np.ndarray:
        """Returns inputs of the middle of the range, (B, H, W, C) or (B, D), float32."""
        shape = (batch_size, *self.shape_at(size))
        middle = sum(self.value_range) / 2 if self.takes_images else 0.0
        return np.full(shape, middle, np.float32)

    def shape_at(self, size: int | None) -> tuple[int, ...]:
        """Returns the input's shape at another side length [pixel]; its own at None."""
        if size is None or not self.takes_images:
            return self.input_shape
        return (size, size, self.input_shape[-1])

    def forward(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the model's output for inputs as stored, in inference mode.

        Images of another size than the model's own are let through where its layers take them.
        """
        return self.call(self.prepare(inputs))

    def prepare(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns what the model gets for inputs as stored, float32."""
        x = tf.cast(inputs, tf.float32)
        return x if self._preprocess is None else self._preprocess(x)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the model's output for what `prepare` gave."""
        if self._is_of_fixed_shape and tuple(x.shape[1:]) != self.input_shape:
            # `call` leaves out the comparison with the shape that the model was built on
            return self.model.call(x, training=False)
        return self.model(x, training=False)

    @cached_property
    def _preprocess(self) -> keras.Model | None:
        if self.preprocessing == "none" or not self.takes_images:
            return None
        image = keras.Input((None, None, self.input_shape[-1]))
        return keras.Model(image, preprocess(image, self.preprocessing))

    @cached_property
    def _is_of_fixed_shape(self) -> bool:
        return bool(getattr(self.model, "inputs", None))


def from_model(
    model: keras.Model,
    *,
    name: str | None = None,
    input_shape: Sequence[int] | None = None,
    value_range: tuple[float, float] = (0.0, 255.0),
    preprocessing: str = "none",
    class_names: Sequence[str] | None = None,
) -> Subject:
    """Returns a model of anyone's as a subject.

    Args:
        model: with one input.
        name: what to call it; the model's own name if None.
        input_shape: without the batch axis, where the model does not say it itself.
        value_range: of the images as stored.
        preprocessing: what happens to them before the model: ``none``; ``unit`` to 0..1; and as
            `keras.applications` calls them ``tf`` to -1..1, ``torch`` to ImageNet's mean 0 and
            deviation 1, ``caffe`` to BGR minus ImageNet's mean.
        class_names: in the order of its outputs.

    Raises:
        DlsuiteError: the model has several inputs, or its input is neither images nor vectors,
            or is not known; the preprocessing or the number of names does not fit it.
    """
    if preprocessing not in PREPROCESSING:
        raise unknown_name(
            "preprocessing", preprocessing, PREPROCESSING, f"Choose of {', '.join(PREPROCESSING)}."
        )
    shape = _known_shape(model, input_shape)
    if preprocessing in ("torch", "caffe") and shape[-1] != 3:
        raise DlsuiteError(
            f"The preprocessing {preprocessing!r} is for images of 3 channels. Received: a model "
            f"that takes {shape[-1]}. Choose none, unit or tf."
        )
    count = _num_outputs(model)
    if class_names is not None and count not in (None, len(class_names)):
        raise DlsuiteError(
            f"There is one class name for each output. Received: {len(class_names)} names for "
            f"{model.name} with {count} outputs. Name the classes in the model's order."
        )
    return Subject(
        name=name or model.name,
        model=model,
        input_shape=shape,
        value_range=tuple(float(value) for value in value_range),
        preprocessing=preprocessing,
        class_names=None if class_names is None else tuple(class_names),
    )


def _num_outputs(model: keras.Model) -> int | None:
    outputs = getattr(model, "outputs", None) or ()
    return outputs[0].shape[-1] if len(outputs) == 1 else None


def _known_shape(model: keras.Model, given: Sequence[int] | None) -> tuple[int, ...]:
    inputs = getattr(model, "inputs", None)
    if inputs and len(inputs) != 1:
        raise DlsuiteError(
            f"A model to look into has one input. Received: {model.name} with {len(inputs)}. "
            "Wrap it in a model that takes the image alone."
        )
    if given is not None:
        shape = tuple(given)
    elif inputs:
        shape = tuple(inputs[0].shape[1:])
        if len(shape) == 3:
            shape = (shape[0] or _OPEN_SIDE, shape[1] or _OPEN_SIDE, shape[2])
    else:
        raise DlsuiteError(
            f"The model's input shape must be known. Received: {model.name}, which was not built "
            "on an input. Name data with images of its size, or pass input_shape=(H, W, C)."
        )
    if len(shape) not in (1, 3) or None in shape:
        said = "x".join("any" if side is None else str(side) for side in shape)
        raise DlsuiteError(
            "A model to look into takes images (H, W, C) or vectors (D,). Received: "
            f"{model.name}, which takes {said}. Wrap it in a model that reshapes an image."
        )
    return shape


def open_model(
    name: str,
    *,
    preprocessing: str | None = None,
    class_names: Sequence[str] | None = None,
    input_shape: Sequence[int] | None = None,
) -> tuple[Subject, list[str]]:
    """Returns a ``.keras`` file or a network of `keras.applications` as a subject, and notes.

    Args:
        name: path of the file, or ``keras:NAME``.
        preprocessing: see `from_model`. None takes that of the network's family, and for a file
            ``none``.
        class_names: in the order of the outputs.
        input_shape: where the file does not say it.

    Raises:
        DlsuiteError: no such file or network, a damaged file, one that needs code that is
            neither Keras's nor dlsuite's, or weights that can't be had.
    """
    if name.startswith("keras:"):
        return _application(name, preprocessing, class_names), []
    model = _load(Path(name))
    notes = []
    shape = getattr(model, "input_shape", None) or ()
    if input_shape is None and len(shape) == 4 and None in shape[1:3]:
        notes.append(
            f"The model takes images of any size; they are looked at as {_OPEN_SIDE}x{_OPEN_SIDE}."
        )
    if preprocessing is None and len(shape) == 4 and not _normalises(model):
        notes.append(
            "Images go into the model as values from 0 to 255. If it was trained on others, say "
            "so with --preprocessing unit, tf, torch or caffe."
        )
    subject = from_model(
        model,
        name=Path(name).stem,
        preprocessing=preprocessing or "none",
        class_names=class_names,
        input_shape=input_shape,
    )
    return subject, notes


def _normalises(model: keras.Model) -> bool:
    """Whether a model's first layer brings stored values into the range it was trained on."""
    layers = [x for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    return bool(layers) and isinstance(layers[0], scaling)


def _load(path: Path) -> keras.Model:
    # Registers the layers of ours that a file may hold.
    from dlsuite.models.saved import load_file

    model = load_file(path)
    if not isinstance(model, keras.Model):
        raise DlsuiteError(
            f"A model to look into is a keras.Model. Received: {path}, which holds a "
            f"{type(model).__name__} alone. Save the whole model."
        )
    return model


def _application(
    name: str, preprocessing: str | None, class_names: Sequence[str] | None
) -> Subject:
    network = name.removeprefix("keras:")
    if network not in application_names():
        remedy = "The names are those of https://keras.io/api/applications."
        raise unknown_name("network of keras.applications", network, application_names(), remedy)
    from dlsuite.models.applications import whole_network

    mode = preprocessing or FAMILIES[family(network)]
    return from_model(
        whole_network(network),
        name=network,
        preprocessing="none" if mode == "inside" else mode,
        class_names=class_names,
    )
