"""From a model's name to a functional Keras model, normalisation included."""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

from dlsuite.models import MODELS

# Deviations that Keras's Normalization takes: it holds the variance as float32, up to 3.4e38, and
# divides by no less than 1e-7.
_SMALLEST_STD, _LARGEST_STD = 1e-6, 1e18


@dataclass(frozen=True)
class Network:
    """A model and the names of its intermediate features.

    Attributes:
        model: functional, takes images (B, H, W, C) as stored and returns ``logits``
            (B, num_classes), float32.
        features: name of a feature to the name of the layer whose output it is.
        notes: sentences for the user: what was decided about a network that others made.
    """

    model: keras.Model
    features: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def extract(self, names: Sequence[str]) -> keras.Model:
        """Returns a model with the same input that outputs the named features, by name."""
        return feature_model(self.model, {name: self.features[name] for name in names})


def feature_model(model: keras.Model, features: Mapping[str, str]) -> keras.Model:
    """Returns a model that outputs the given layers' outputs, by feature name."""
    outputs = {name: model.get_layer(layer).output for name, layer in features.items()}
    return keras.Model(model.input, outputs)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds what Keras draws initial weights and dropout seeds from.

    Python's and NumPy's generators are put back after it. The global seeds of Keras and
    TensorFlow, which can't be read, stay as set here.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def build_network(
    name: str,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Network:
    """Returns the network of that name, with normalisation as its first layer.

    The normalisation is part of the model, (x - mean) / std a channel, so that the saved file
    takes images as they are stored and needs nothing of dlsuite. Networks of `keras.applications`
    and files that bring a normalisation of their own are built without this one.

    Args:
        name: a registered model, ``keras:NAME``, or the path of a ``.keras`` file.
        image_shape: (H, W, C).
        num_classes: number of logits.
        mean: one a channel; None leaves the images as they are.
        std: one a channel, positive.
        seed: of the initial weights and of dropout.
        options: the builder's keyword arguments.

    Raises:
        DlsuiteError: unknown name or option, or an image the network can't take.
    """
    options = dict(options or {})
    MODELS.check_options(name, options, "model")
    builder = MODELS.load(name)
    with seeded(seed):
        image = keras.Input(image_shape, name="image", dtype="float32")
        x = image
        if mean is not None:
            x = _normalization(mean, std)(x)
        features = builder(x, num_classes=num_classes, **options)
        model = keras.Model(image, features["logits"], name=_model_name(name))
    layers = {key: tensor._keras_history.operation.name for key, tensor in features.items()}
    notes = () if mean is None else _normalization_notes(name, model, options)
    return Network(model, layers, notes)


def outline_network(
    name: str,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    options: Mapping[str, Any] | None = None,
) -> Network:
    """Returns the network of that name without values for its weights.

    For layers, shapes, parameters and figures: it takes no memory and little time however
    large the network is, and can't be called on images. Arguments as for `build_network`.

    Raises:
        DlsuiteError: unknown name or option, or an image the network can't take.
    """
    options = dict(options or {})
    if "task" in MODELS[name].details:
        from dlsuite.models.adversaries import joined

        return _outlined(lambda: joined(name, image_shape=image_shape, options=options))
    arguments = {"image_shape": image_shape, "num_classes": num_classes}
    if name.startswith("keras:"):
        return build_network(name, **arguments, options={**options, "weights": "random"})
    if name.endswith(".keras"):
        return build_network(name, **arguments, options=options)
    return _outlined(lambda: build_network(name, **arguments, options=options))


def _outlined(build: Callable[[], Network]) -> Network:
    """What is built, without values for its weights."""
    # Keras puts off initial values inside the scope and would make them up for at its next
    # chance; the list of what it owes is set back to what it was.
    owed = global_state.get_global_attribute("uninitialized_variables", [])
    before = list(owed)
    try:
        with keras.StatelessScope(initialize_variables=False):
            return build()
    finally:
        global_state.set_global_attribute("uninitialized_variables", before)


def _normalization(mean: Sequence[float], std: Sequence[float]) -> keras.Layer:
    """The layer that computes (x - mean) / std a channel, in float32."""
    named = {"dtype": "float32", "name": "normalization"}
    if all(_SMALLEST_STD <= value <= _LARGEST_STD for value in std):
        return keras.layers.Normalization(
            axis=-1,
            mean=[float(value) for value in mean],
            variance=[float(value) ** 2 for value in std],
            **named,
        )
    return keras.layers.Rescaling(
        [1 / float(value) for value in std],
        offset=[-float(center) / float(value) for center, value in zip(mean, std, strict=True)],
        **named,
    )


def _normalization_notes(
    name: str, model: keras.Model, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """What became of the dataset's normalisation in a network that others made."""
    is_used = any(layer.name == "normalization" for layer in model.layers)
    if name.startswith("keras:"):
        return (f"{name} has its own preprocessing, and data.normalize is not applied.",)
    if not name.endswith(".keras") or options.get("normalizes", "auto") != "auto":
        return ()
    if is_used:
        return (
            f"No normalisation was found in {name}, and data.normalize is applied before it. "
            "If it was trained on images as stored, set model.normalizes=true.",
        )
    return (
        f"{name} normalises images by itself, and data.normalize is not applied. "
        "If it was trained on normalised images, set model.normalizes=false.",
    )


def _model_name(name: str) -> str:
    """The name as TensorFlow takes it for a scope, without the form's prefix or folder."""
    stem = PurePath(name.removeprefix("keras:")).name.removesuffix(".keras")
    plain = re.sub(r"[^A-Za-z0-9_]", "_", stem)
    return plain if plain[:1].isalnum() else f"model{plain}"
