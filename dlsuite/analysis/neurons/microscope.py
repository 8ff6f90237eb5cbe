"""A folder of what was found out about a model's units, added to layer by layer."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dlsuite.analysis.neurons.activations import activations
from dlsuite.analysis.neurons.anatomy import Anatomy, NeuronLayer
from dlsuite.analysis.neurons.colour import image_statistics, usual_statistics
from dlsuite.analysis.neurons.effects import Ablation, class_effects, inputs
from dlsuite.analysis.neurons.kernels import unit_weights
from dlsuite.analysis.neurons.maximisation import maximise
from dlsuite.analysis.neurons.pictures import (
    crop_side,
    eight_bits,
    kernel_thumbnails,
    picture_size,
    pictures_of,
    squared,
    unit_maps,
)
from dlsuite.analysis.neurons.receptive_field import receptive_fields
from dlsuite.analysis.neurons.records import Layer
from dlsuite.analysis.neurons.subject import Subject
from dlsuite.analysis.neurons.survey import Survey, check_images, crops, survey
from dlsuite.data.dataset import Split, evenly_spaced
from dlsuite.data.images import resize_array
from dlsuite.errors import DlsuiteError
from dlsuite.runs.folder import replacing

# What is shown of a unit.
NUM_EXEMPLARS = 6
NUM_ABLATED = 3
NUM_INPUTS = 5
NUM_REFERENCES = 6


@dataclass(frozen=True)
class Settings:
    """What decides the pictures; a folder holds those of one such choice.

    Attributes:
        steps: of activation maximisation.
        seed: of it.
        parametrised: of it.
        limit: images surveyed, at most.
        batch_size: pictures at a time; changes none beyond float32 rounding.
    """

    steps: int = 96
    seed: int = 0
    parametrised: str = "fourier"
    limit: int = 2000
    batch_size: int = 16


class Microscope:
    """The arrays of a folder, one file a layer, and what they are of.

    Args:
        folder: made where it doesn't exist.
        anatomy: of the model.
        settings: of the pictures.
        split: where exemplars come from; None for none.
        data: what to call it.
        data_classes: names of its labels; None where it has none.

    Raises:
        DlsuiteError: the folder holds another model, other data or other settings.
    """

    def __init__(
        self,
        folder: Path,
        anatomy: Anatomy,
        *,
        settings: Settings,
        split: Split | None = None,
        data: str | None = None,
        data_classes: Sequence[str] | None = None,
    ):
        self.folder = folder
        self.anatomy = anatomy
        self.settings = settings
        self.split = split
        self._data_classes = data_classes
        self.about = {
            "model": anatomy.subject.name,
            "fingerprint": fingerprint(anatomy.subject),
            "data": data,
            "split": None if split is None else split.name,
            "preprocessing": anatomy.subject.preprocessing,
            "class_names": list(anatomy.subject.class_names or ()) or None,
            **{key: value for key, value in asdict(settings).items() if key != "batch_size"},
        }
        self._check_folder()
        if split is not None:  # before the folder says what it is of
            check_images(anatomy.subject, split)
        self._fields = receptive_fields(anatomy)
        subject = anatomy.subject
        self._statistics = usual_statistics(subject.input_shape[-1])
        if split is not None:
            self._statistics = image_statistics(split, subject.value_range)

    def _check_folder(self) -> None:
        path = self.folder / "microscope.json"
        if not path.exists():
            return
        try:
            held = json.loads(path.read_text(encoding="utf-8"))["about"]
        except (OSError, ValueError, KeyError, TypeError):
            held = {}
        if held != self.about:
            differs = [key for key in self.about if held.get(key) != self.about[key]]
            raise DlsuiteError(
                f"A folder holds one model's units, made in one way. Received: '{self.folder}', "
                f"whose {' and '.join(differs)} differ. Name another with --output, or remove it."
            )

    def add(
        self,
        layers: Sequence[NeuronLayer],
        choose: Callable[[NeuronLayer, "Layer"], Sequence[int]],
        *,
        progress: Callable[[str, int, int], object] | None = None,
    ) -> None:
        """Computes what is missing of the chosen units, and writes each layer when it is done.

        Args:
            layers: to add to.
            choose: which units, given a layer and what is known of it.
            progress: called with a stage's name, what is done of it and its total.
        """
        (self.folder / "layers").mkdir(parents=True, exist_ok=True)
        self._write_index()  # at once: what an interrupted call leaves must say what it is of
        tell = progress or (lambda stage, done, total: None)
        self._survey(tell)
        for number, layer in enumerate(layers):
            tell(layer.name, number, len(layers))
            known = self.read(layer)
            missing = [unit for unit in choose(layer, known) if unit not in known.units]
            if missing:
                self._write(layer, known.joined(self._look(layer, known, missing)))
        tell("", len(layers), len(layers))
        self._write_index()

    def read(self, layer: NeuronLayer) -> "Layer":
        """Returns what is known of a layer; nothing at first."""
        path = self._path(layer)
        if not path.exists():
            return Layer({})
        with np.load(path, allow_pickle=False) as file:
            return Layer({key: file[key] for key in file.files})

    def _path(self, layer: NeuronLayer) -> Path:
        name = layer.name.replace("/", "__").replace("@", "_use")
        return self.folder / "layers" / f"{name}.npz"

    def _write(self, layer: NeuronLayer, known: "Layer") -> None:
        with replacing(self._path(layer)) as temporary:
            np.savez_compressed(temporary, **known.arrays)

    def _survey(self, tell: Callable[[str, int, int], object]) -> None:
        """Looks at the dataset once, for all layers; a folder remembers it."""
        layers = [x for x in self.anatomy.neuron_layers if not self._path(x).exists()]
        if not layers:
            return
        found: dict[str, Survey] = {}
        if self.split is not None:
            total = min(self.split.num_examples, self.settings.limit)
            done = [0]

            def count(images: int) -> None:
                done[0] += images
                tell("dataset", done[0], total)

            found = survey(
                self.anatomy.subject,
                layers,
                self.split,
                limit=self.settings.limit,
                batch_size=self.settings.batch_size,
                progress=count,
            )
        for layer in layers:
            self._write(layer, Layer(self._first_look(layer, found.get(layer.name))))

    def _first_look(self, layer: NeuronLayer, found: Survey | None) -> dict[str, np.ndarray]:
        weights = unit_weights(layer)
        arrays = {"norms": np.linalg.norm(weights.reshape(len(weights), -1), axis=1)}
        if found is None:
            return arrays
        return arrays | {
            "exemplar_values": found.values,
            "exemplar_indices": found.indices,
            "exemplar_rows": found.rows,
            "exemplar_columns": found.columns,
            "mean": found.mean,
            "active": found.active,
            "dead": found.is_dead,
            "exemplar_labels": self.split.labels[found.indices],
            "surveyed": np.array(found.num_images),
        }

    def _look(self, layer: NeuronLayer, known: "Layer", units: list[int]) -> dict[str, np.ndarray]:
        """Arrays over the units, in their order; all named `unit_...`."""
        subject, settings = self.anatomy.subject, self.settings
        made = maximise(
            subject,
            layer,
            units,
            parametrised=settings.parametrised,
            steps=settings.steps,
            size=picture_size(subject, layer, self._fields[layer.place.name]),
            statistics=self._statistics,
            batch_size=settings.batch_size,
            seed=settings.seed,
        )
        arrays = {
            "unit_numbers": np.array(units),
            "unit_pictures": pictures_of(subject, made.inputs),
            "unit_scores": made.scores,
            "unit_activations": made.activations,
            "unit_kernels": kernel_thumbnails(unit_weights(layer)[units]),
        }
        before = self.anatomy.input_layer(layer)
        mean = None if before is None else self.read(before).arrays.get("mean")
        driven = inputs(self.anatomy, layer, mean)
        if driven is not None:
            drive = driven.drive[units]
            order = np.argsort(-np.abs(drive), axis=1, kind="stable")[:, :NUM_INPUTS]
            arrays["unit_input_numbers"] = order
            arrays["unit_input_drives"] = np.take_along_axis(drive, order, axis=1)
        if self.split is not None and "exemplar_indices" in known.arrays:
            arrays |= self._on_data(layer, known, units)
        return arrays

    def _on_data(
        self, layer: NeuronLayer, known: "Layer", units: list[int]
    ) -> dict[str, np.ndarray]:
        subject, split = self.anatomy.subject, self.split
        found = known.survey(layer.name)
        field = self._fields[layer.place.name]
        number = min(NUM_EXEMPLARS, found.indices.shape[1])
        side = crop_side(subject, field)
        seen = [
            [
                resize_array(squared(crop), side)
                for crop in crops(found, split, unit, count=number, field=field)
            ]
            for unit in units
        ]
        arrays = {
            "unit_crops": eight_bits(np.array(seen), subject.value_range),
            "unit_maps": self._maps(layer, units),
        }
        classes = subject.class_names
        is_head = layer.name == self.anatomy.head.name  # silencing a class tells nothing
        if classes is not None and not is_head and self._has_class_head(classes):
            effects = class_effects(
                self._ablation,
                layer,
                units,
                found.indices[units, :NUM_ABLATED],
                split,
            )
            order = np.argsort(-np.abs(effects), axis=1, kind="stable")[:, :NUM_INPUTS]
            arrays["unit_effect_classes"] = order
            arrays["unit_effects"] = np.take_along_axis(effects, order, axis=1)
        return arrays

    def _has_class_head(self, classes: Sequence[str]) -> bool:
        place = self.anatomy.head.place
        return not place.has_maps and place.num_units == len(classes)

    @property
    def _ablation(self) -> Ablation:
        if not hasattr(self, "_made_ablation"):
            layers = self.anatomy.neuron_layers
            self._made_ablation = Ablation(self.anatomy.subject, layers, self.settings.batch_size)
        return self._made_ablation

    @property
    def references(self) -> np.ndarray:
        """Positions of the images that every unit's maps are shown for, of different classes."""
        labels = self.split.labels
        _, first = np.unique(labels, return_index=True)
        if len(first) < NUM_REFERENCES:
            first = np.arange(len(labels))
        return first[evenly_spaced(len(first), min(NUM_REFERENCES, len(first)))]

    def _maps(self, layer: NeuronLayer, units: list[int]) -> np.ndarray:
        """Maps of the reference images, each unit's from 0 to its largest, (n, R, h, w), uint8."""
        if not hasattr(self, "_made_maps"):
            images = self.split.read(self.references)
            self._made_maps = activations(self.anatomy.subject, self.anatomy.neuron_layers, images)
        return unit_maps(self._made_maps[layer.name].maps[..., units])

    def _counts(self, layer: NeuronLayer) -> tuple[int, int | None]:
        """Units looked at and dead units, without reading all the pictures."""
        if not self._path(layer).exists():
            return 0, None
        with np.load(self._path(layer), allow_pickle=False) as file:
            computed = len(file["unit_numbers"]) if "unit_numbers" in file else 0
            return computed, int(file["dead"].sum()) if "dead" in file else None

    def _write_index(self) -> None:
        subject = self.anatomy.subject
        rows = []
        for layer in self.anatomy.neuron_layers:
            computed, num_dead = self._counts(layer)
            before = self.anatomy.input_layer(layer)
            field = self._fields[layer.place.name]
            rows.append(
                {
                    "name": layer.name,
                    "kind": layer.weighted.kind,
                    "seen_at": layer.place.name,
                    "shape": list(layer.place.shape),
                    "num_units": layer.place.num_units,
                    "computed": computed,
                    "receptive_field": None if field is None else list(field.size),
                    "input_layer": None if before is None else before.name,
                    "file": f"layers/{self._path(layer).name}",
                    "num_dead": num_dead,
                }
            )
        content = {
            "about": self.about,
            "input_shape": list(subject.input_shape),
            "class_names": None if subject.class_names is None else list(subject.class_names),
            "data_classes": None if self._data_classes is None else list(self._data_classes),
            "layers": rows,
        }
        if self.split is not None:
            content["references"] = self.references.tolist()
            images = self.split.read(self.references)
            with replacing(self.folder / "references.npz") as temporary:
                np.savez(
                    temporary,
                    images=eight_bits(images, subject.value_range),
                    labels=self.split.labels[self.references],
                )
        with replacing(self.folder / "microscope.json") as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def fingerprint(subject: Subject) -> str:
    """Returns a hash of the model's weights."""
    digest = hashlib.sha256()
    for weight in subject.model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()[:16]
