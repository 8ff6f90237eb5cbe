"""A model to look into, with its data, its folder and what was asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlsuite.errors import DlsuiteError, unknown_name
from dlsuite.run import Run

if TYPE_CHECKING:
    import keras

    from dlsuite.analysis.neurons.anatomy import Anatomy, NeuronLayer
    from dlsuite.analysis.neurons.colour import ImageStatistics
    from dlsuite.analysis.neurons.subject import Subject
    from dlsuite.data.dataset import Split

_NUM_IMAGES = 4


@dataclass(frozen=True)
class Options:
    """What is looked at, and how; None leaves it to the method.

    Attributes:
        layer: name, ``first`` or ``all``.
        units: ``all``, or numbers and ranges such as ``0-15,20``.
        images: files to look at; some of the data if none is named.
        target: class to explain, by name or number; the predicted one if None.
        steps: of an optimisation.
        size: side of an optimised picture [pixel].
        parametrised: ``fourier``, ``pixel`` or ``maco``.
        objective: ``channel``, ``neuron`` or ``layer``.
        copies: pictures a unit, pushed apart.
        limit: images of the data to look at, at most.
        batch_size: images at a time; bounds the memory.
        seed: of all that is random.
    """

    layer: str | None = None
    units: str | None = None
    images: tuple[Path, ...] = ()
    target: str | None = None
    steps: int | None = None
    size: int | None = None
    parametrised: str = "fourier"
    objective: str = "channel"
    copies: int = 1
    limit: int = 2000
    batch_size: int = 16
    seed: int = 0


@dataclass(frozen=True)
class Made:
    """What a method wrote and found.

    Attributes:
        files: written into the study's folder.
        numbers: plain values for ``--json``.
        said: sentences for who reads no JSON.
    """

    files: list[Path]
    numbers: dict[str, Any]
    said: list[str] = field(default_factory=list)


Progress = Callable[[str, int, int], object]


@dataclass(eq=False)
class Study:
    """A model, its data, and a folder for what is found.

    Attributes:
        subject: the model.
        folder: made when something is written.
        options: what was asked for.
        split: images of the data; None without data.
        data: its name.
        data_classes: names of the classes of its labels.
        run: the run that the model is of; None for a model alone.
        command: how the command line names the model, with what goes with it, to tell how more is
            computed.
        notes: sentences for the user.
        progress: called with a stage, what is done of it and its total.
    """

    subject: "Subject"
    folder: Path
    options: Options
    split: "Split | None" = None
    data: str | None = None
    data_classes: tuple[str, ...] | None = None
    run: Run | None = None
    command: str = ""
    notes: list[str] = field(default_factory=list)
    progress: Progress = lambda stage, done, total: None

    @cached_property
    def anatomy(self) -> "Anatomy":
        """The model's layers."""
        from dlsuite.analysis.neurons.anatomy import Anatomy

        return Anatomy(self.subject)

    @cached_property
    def statistics(self) -> "ImageStatistics":
        """Colours and spectrum of the data, or the usual ones without data."""
        from dlsuite.analysis.neurons.colour import image_statistics, usual_statistics

        if self.split is None:
            return usual_statistics(self.subject.input_shape[-1])
        from dlsuite.analysis.neurons.survey import check_images

        check_images(self.subject, self.split)
        return image_statistics(self.split, self.subject.value_range, seed=self.options.seed)

    def layers(self, default: str) -> "list[NeuronLayer]":
        """Returns the layers that were asked for, or else those of `default`."""
        return self.anatomy.choose(self.options.layer or default)

    def units(
        self, layers: "list[NeuronLayer]", most: int | None
    ) -> "dict[NeuronLayer, list[int]]":
        """Returns the units that were asked for, or else the first of each layer.

        Of several layers, those that have none of the units are left out.

        Raises:
            DlsuiteError: the one layer lacks a unit, or all of several lack all.
        """
        from dlsuite.analysis.neurons.anatomy import choose_units

        wanted = self.options.units
        if wanted is None:
            return {layer: list(range(layer.place.num_units))[:most] for layer in layers}
        chosen = {
            layer: choose_units(wanted, layer, among_layers=len(layers) > 1) for layer in layers
        }
        found = {layer: units for layer, units in chosen.items() if units}
        if not found:
            largest = max(layer.place.num_units for layer in layers)
            raise DlsuiteError(
                f"Units are numbered from 0. Received: {wanted!r}, which none of the {len(layers)} "
                f"layers has. The largest layer has the units 0 to {largest - 1}."
            )
        return found

    def data_needed(self, method: str) -> "Split":
        """Returns the data.

        Raises:
            DlsuiteError: there is none.
        """
        if self.split is None:
            raise DlsuiteError(
                f"The method {method!r} looks at data. Received: a model without. "
                "Name some with --data, such as folder:PATH."
            )
        return self.split

    def images(self, method: str, *, count: int = _NUM_IMAGES) -> tuple[np.ndarray, list[str]]:
        """Returns the images to look at, (B, H, W, C) as stored, and what to call them.

        Raises:
            DlsuiteError: neither files nor data, or a file that can't be read.
        """
        if self.options.images:
            return self._read_files(), [path.name for path in self.options.images]
        if not self.subject.takes_images:
            rng = np.random.default_rng(self.options.seed)
            latent = rng.normal(size=(count, *self.subject.input_shape)).astype(np.float32)
            return latent, [f"latent {number}" for number in range(count)]
        from dlsuite.analysis.neurons.survey import check_images
        from dlsuite.data.dataset import evenly_spaced

        split = self.data_needed(method)
        check_images(self.subject, split)
        # of different classes, spread over them; more than there are classes, spread over all
        _, first = np.unique(split.labels, return_index=True)
        pool = first if len(first) >= count else np.arange(split.num_examples)
        chosen = pool[evenly_spaced(len(pool), min(count, len(pool)))]
        return split.read(chosen), [str(split.names[index]) for index in chosen]

    def _read_files(self) -> np.ndarray:
        from dlsuite.data.images import read_image

        shape = self.subject.input_shape
        if not self.subject.takes_images or shape[-1] not in (1, 3):
            raise DlsuiteError(
                "An image file has 1 or 3 channels. Received: a model that takes "
                f"{'x'.join(map(str, shape))}. Name data that it takes with --data."
            )
        if tuple(self.subject.value_range) != (0, 255):
            low, high = self.subject.value_range
            raise DlsuiteError(
                "An image file has values from 0 to 255. Received: a model of images with values "
                f"from {low:g} to {high:g}. Leave out --image, and its data are looked at."
            )
        return np.stack([read_image(path, image_shape=shape) for path in self.options.images])

    def target(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the class to explain for each image: the one asked for, or the predicted one.

        Raises:
            DlsuiteError: the model has no such class.
        """
        wanted, count = self.options.target, outputs.shape[-1]
        if wanted is None:
            return outputs.argmax(axis=-1)
        names = self.subject.class_names or ()
        if wanted in names:
            return np.full(len(outputs), names.index(wanted))
        if wanted.isdigit() and int(wanted) < count:
            return np.full(len(outputs), int(wanted))
        remedy = f"Name a class, or its number from 0 to {count - 1}."
        raise unknown_name("class", wanted, names, remedy)

    def class_name(self, index: int) -> str:
        """Returns a class's name, or its number where names are unknown."""
        names = self.subject.class_names
        return names[index] if names and index < len(names) else str(index)

    def label_name(self, label: int) -> str:
        """Returns the name of a class of the data; nothing where they have no labels."""
        return self.data_classes[int(label)] if self.data_classes else ""

    def last_maps_name(self) -> str:
        """Returns the name of the last layer with maps, or of the last one if none has."""
        layers = self.anatomy.neuron_layers
        return next((x.name for x in reversed(layers) if x.place.has_maps), layers[-1].name)

    def pictures(self, inputs: np.ndarray) -> np.ndarray:
        """Returns inputs as pictures in 8 bits; of a generator, what it makes of them."""
        from dlsuite.analysis.neurons.pictures import pictures_of

        return pictures_of(self.subject, inputs)

    def initial_kernel(self, layer: "NeuronLayer") -> np.ndarray | None:
        """Returns a layer's weights before training, for a run; None where they are not known.

        A run's initial weights are those of its recipe's seed.
        """
        if self.run is None:
            return None
        from dlsuite.analysis.neurons.anatomy import kernel_of, operations

        if self._initial is None:
            return None
        found = operations(self._initial).get(layer.name)
        kernel = None if found is None else kernel_of(found)
        same = kernel is not None and kernel.shape == kernel_of(layer.weighted.layer).shape
        return kernel.numpy() if same else None

    @cached_property
    def _initial(self) -> "keras.Model | None":
        from dlsuite.tasks import load_task

        try:
            return load_task(self.run.recipe.task)(self.run.recipe).model
        except DlsuiteError:  # the data or the file that it began with are gone
            return None

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> Path:
        """Writes arrays into the folder and returns the file's path."""
        from dlsuite.runs.folder import replacing

        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **arrays)
        return path
