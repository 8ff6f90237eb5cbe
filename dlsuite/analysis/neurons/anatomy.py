"""The layers of any Keras model, found by watching it compute once."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from dlsuite.analysis.neurons.subject import Subject
from dlsuite.errors import DlsuiteError, unknown_name

# Each computes a unit from the same unit, rising with it, or all of a softmax together.
ACTIVATIONS = (
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ELU,
    layers.Softmax,
)
# What leaves every channel to itself, so that a convolution's units are seen behind it.
_CHANNELWISE = (*ACTIVATIONS, layers.BatchNormalization, layers.LayerNormalization)
_MISSING = object()


@dataclass(frozen=True, eq=False)
class Place:
    """One use of a layer in a forward pass: where activations can be looked at.

    Attributes:
        name: the layer's name, those of the models it is inside before it, separated by ``/``;
            from the second use on with ``@2`` behind it.
        layer: a layer, or another operation of a functional model.
        use: which call of the layer it is, from 1.
        kind: name of the layer's class.
        shape: of its output, without the batch axis; the last axis counts the units.
        input_shape: of its first input, likewise.
        sources: names of the places whose outputs it takes; ``input`` is the model's own, and
            one that could not be followed is left out.
        hands_on: of a model or block, the place inside whose output is its own; it stands on no
            path and has no sources.
    """

    name: str
    layer: keras.Operation
    use: int
    kind: str
    shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    sources: tuple[str, ...]
    hands_on: str | None = None

    @property
    def num_units(self) -> int:
        """Channels of a map, or outputs of a dense layer."""
        return self.shape[-1]

    @property
    def has_maps(self) -> bool:
        """Whether its units are maps with height and width."""
        return len(self.shape) == 3

    @property
    def has_kernel(self) -> bool:
        """Whether it is a convolution or a dense layer."""
        return kernel_of(self.layer) is not None


@dataclass(frozen=True, eq=False)
class NeuronLayer:
    """A layer with weights, together with the normalisation and activation right behind it.

    Attributes:
        name: of the layer with weights.
        weighted: that layer; None for a layer that has none.
        place: where its units are seen, after normalisation and activation.
        flattened: (H, W, C) of the maps behind whose Flatten a dense layer stands, else None.
    """

    name: str
    weighted: Place | None
    place: Place
    flattened: tuple[int, int, int] | None = None


class Anatomy:
    """The places of a model, by name, in the order of the computation.

    Args:
        subject: its model is called once, on one blank input.
    """

    def __init__(self, subject: Subject):
        self.subject = subject
        self.places = _watch(subject)
        consumers: dict[str, list[Place]] = {}
        for place in self.places.values():
            for source in place.sources:
                consumers.setdefault(source, []).append(place)
        self._consumers = consumers
        self.neuron_layers = [
            NeuronLayer(place.name, place, self._seen_at(place), self._flattened(place))
            for place in self.places.values()
            if place.has_kernel and isinstance(place.layer, keras.Layer)
        ]

    def _seen_at(self, place: Place) -> Place:
        # behind an activation function a silent unit has no gradient
        while (
            not has_activation(place)
            and len(after := self._consumers.get(place.name, [])) == 1
            and isinstance(after[0].layer, _CHANNELWISE)
        ):
            place = after[0]
        return place

    def _flattened(self, place: Place) -> tuple[int, int, int] | None:
        source = self.places.get(place.sources[0]) if len(place.sources) == 1 else None
        is_flat = source is not None and isinstance(source.layer, layers.Flatten)
        return source.input_shape if is_flat and len(source.input_shape) == 3 else None

    def find(self, name: str) -> NeuronLayer:
        """Returns the layer of that name; one without weights is seen by itself.

        Raises:
            DlsuiteError: there is none, or its output has no units.
        """
        for layer in self.neuron_layers:
            if layer.name == name:
                return layer
        if name not in self.places:
            remedy = "List the layers with --list."
            raise unknown_name("layer", name, self.places, remedy)
        place = self.places[name]
        if not place.shape:
            raise DlsuiteError(
                f"A layer to look at has units. Received: {name!r}, whose output is one number "
                "an image. Choose another of --list."
            )
        return NeuronLayer(name, place if place.has_kernel else None, place)

    def choose(self, layer: str) -> list[NeuronLayer]:
        """Returns the layers behind a name, ``first`` or ``all``.

        Raises:
            DlsuiteError: the name is unknown, or no layer has weights.
        """
        if layer not in ("all", "first"):
            return [self.find(layer)]
        if not self.neuron_layers:
            raise DlsuiteError(
                "A model to look into has a convolution or a dense layer. Received: "
                f"{self.subject.name}, which has none. Name a layer of --list."
            )
        return self.neuron_layers if layer == "all" else self.neuron_layers[:1]

    @property
    def head(self) -> NeuronLayer:
        """The last layer with weights, whose units are the classes of a classifier."""
        return self.choose("all")[-1]

    def input_layer(self, layer: NeuronLayer) -> NeuronLayer | None:
        """Returns the layer whose units are the input channels of another's kernel, if one is."""
        if layer.weighted is None or len(layer.weighted.sources) != 1:
            return None
        seen = {other.place.name: other for other in self.neuron_layers}
        name = layer.weighted.sources[0]
        while name not in seen:
            place = self.places.get(name)
            if place is None or len(place.sources) != 1 or not _keeps_channels(place):
                return None
            name = place.sources[0]
        return seen[name]


def _keeps_channels(place: Place) -> bool:
    """Whether output channel c is made of input channel c alone, or a Flatten of such."""
    if isinstance(place.layer, layers.Flatten):
        return True
    return not place.has_kernel and place.shape[-1:] == place.input_shape[-1:]


def kernel_of(layer: keras.Operation) -> keras.Variable | None:
    """Returns the weights that a layer's units multiply their input with, if it has such.

    A separable convolution's are its pointwise ones.
    """
    for name in ("pointwise_kernel", "_kernel", "kernel", "depthwise_kernel"):
        try:
            found = getattr(layer, name, None)
        except (AttributeError, ValueError):
            continue  # a layer that is not built
        if isinstance(found, keras.Variable) and len(found.shape) >= 2:
            return found
    return None


def has_activation(place: Place) -> bool:
    """Whether a place computes a function of each unit that is not the identity."""
    if isinstance(place.layer, ACTIVATIONS):
        return True
    activation = vars(place.layer).get("activation")
    return activation is not None and activation is not keras.activations.linear


def choose_units(text: str, layer: NeuronLayer, *, among_layers: bool = False) -> list[int]:
    """Returns the units of a layer that ``all``, ``3`` or ``0-7,12`` names.

    Args:
        text: as users type it.
        layer: whose units they are.
        among_layers: the text is for several layers, and what this one lacks is left out.

    Raises:
        DlsuiteError: it is no such list, or a unit lies outside the layer.
    """
    count = layer.place.num_units
    if text == "all":
        return list(range(count))
    parts = [re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip()) for part in text.split(",")]
    if not all(parts):
        raise DlsuiteError(
            "Units are numbers and ranges such as 0-15 or 3,8, or all. "
            f"Received: {text!r}. {layer.name} has the units 0 to {count - 1}."
        )
    ranges = [(int(part[1]), int(part[2] or part[1])) for part in parts]
    is_wrong = any(first > last for first, last in ranges)
    if is_wrong or (not among_layers and any(last >= count for _, last in ranges)):
        raise DlsuiteError(
            f"{layer.name} has the units 0 to {count - 1}. Received: {text!r}. "
            "Choose units in this range, the lower first."
        )
    units = [unit for first, last in ranges for unit in range(first, min(last + 1, count))]
    return list(dict.fromkeys(units))


def operations(model: keras.Layer) -> dict[str, keras.Operation]:
    """Returns every layer and operation inside a model by the path of its name."""
    found: dict[str, keras.Operation] = {}
    known: set[int] = set()

    def walk(parent: keras.Layer, prefix: str) -> None:
        for child in _children(parent):
            if id(child) in known or isinstance(child, layers.InputLayer):
                continue
            known.add(id(child))
            name = f"{prefix}{child.name}"
            while name in found:  # subclassed models may use a name twice
                name += "_"
            found[name] = child
            if isinstance(child, keras.Layer):
                walk(child, f"{name}/")

    walk(model, "")
    return found


def _children(parent: keras.Layer) -> Sequence[keras.Operation]:
    if isinstance(parent, keras.Sequential):
        return parent.layers
    if isinstance(parent, keras.Model) and getattr(parent, "inputs", None):
        return getattr(parent, "operations", parent.layers)
    return list(parent._flatten_layers(include_self=False, recursive=False))


@contextmanager
def calls_replaced(
    chosen: Mapping[str, keras.Operation],
    replacement: Callable[[str, keras.Operation, Callable[..., Any]], Callable[..., Any]],
) -> Iterator[None]:
    """Within it, each operation computes what `replacement(name, operation, call)` does.

    The one way in that works on functional, nested, subclassed and sequential models alike.
    An instance's `call` is looked up before its class's; afterwards it is as it was.
    """
    before = {name: vars(layer).get("call", _MISSING) for name, layer in chosen.items()}
    try:
        for name, layer in chosen.items():
            # not through Keras's own setter, which would track what it is given
            object.__setattr__(layer, "call", replacement(name, layer, layer.call))
        yield
    finally:
        for name, layer in chosen.items():
            if before[name] is not _MISSING:
                object.__setattr__(layer, "call", before[name])
            elif "call" in vars(layer):
                object.__delattr__(layer, "call")


def _watch(subject: Subject) -> dict[str, Place]:
    places: dict[str, Place] = {}
    made_by: dict[int, str] = {}
    alive: list[Any] = []  # an id is unique only while its tensor lives
    uses: dict[int, int] = {}

    def source_of(x: tf.Tensor) -> str | None:
        # between layers of different precision Keras hands on a copy
        is_cast = x.dtype != latest[0].dtype and x.shape == latest[0].shape
        return made_by.get(id(x)) or (made_by.get(id(latest[0])) if is_cast else None)

    def watched(name: str, layer: keras.Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            inputs = [x for x in keras.tree.flatten((args, kwargs)) if tf.is_tensor(x)]
            alive.extend([*inputs, output])
            if not tf.is_tensor(output) or any(output is x for x in inputs):
                return output  # several outputs, or a layer that only trains, as dropout
            use = uses[id(layer)] = uses.get(id(layer), 0) + 1
            called = name if use == 1 else f"{name}@{use}"
            inside = made_by.get(id(output))
            sources = () if inside else dict.fromkeys(source_of(x) for x in inputs)
            places[called] = Place(
                name=called,
                layer=layer,
                use=use,
                kind=type(layer).__name__,
                shape=tuple(output.shape[1:]),
                input_shape=tuple(inputs[0].shape[1:]) if inputs else (),
                sources=tuple(source for source in sources if source),
                hands_on=inside,
            )
            made_by.setdefault(id(output), called)
            latest[:] = [output]
            return output

        return watching

    blank = subject.prepare(tf.constant(subject.blank()))
    made_by[id(blank)] = "input"
    latest = [blank]
    alive.append(blank)
    if getattr(subject.model, "built", True) is False:
        subject.call(blank)  # a model without an Input makes its layers now
    with calls_replaced(operations(subject.model), watched):
        subject.call(blank)
    return places
