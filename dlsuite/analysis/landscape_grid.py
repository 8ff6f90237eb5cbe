"""A landscape on a grid, kept in a file while it is computed, so that it can be gone on with."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from dlsuite.analysis.landscape import Samples, Surface, Weights, coarse_to_fine, fill_in
from dlsuite.runs.folder import replacing

# What NumPy raises of a file that is not, or not all of, an archive of arrays.
DAMAGED = (OSError, ValueError, KeyError, EOFError, BadZipFile)
# Points a compiled call: about as many as are lost by a kill, beside the time of a block.
_BLOCK = 16


@dataclass
class Landscape:
    """Loss and accuracy over a grid.

    Attributes:
        name: the run's, or what the grid lies between.
        axes: name and places of each axis of the grid.
        values: (*grid, splits, 2): mean negative log-likelihood and accuracy; NaN in the accuracy
            is what is not yet computed.
        splits: names of the splits.
        settings: all that decided the values, as plain values.
    """

    name: str
    axes: dict[str, np.ndarray]
    values: np.ndarray
    splits: list[str]
    settings: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid."""
        return self.values.shape[:-2]

    def lies_on(self, axes: Mapping[str, np.ndarray]) -> bool:
        """Whether these are its axes."""
        return list(self.axes) == list(axes) and all(
            np.array_equal(self.axes[name], places) for name, places in axes.items()
        )

    def loss(self, split: str) -> np.ndarray:
        """The loss over the grid, NaN where it is not a finite number."""
        loss = self.values[..., self.splits.index(split), 0]
        return np.where(np.isfinite(loss), loss, np.nan)

    def accuracy(self, split: str) -> np.ndarray:
        """The accuracy over the grid."""
        return self.values[..., self.splits.index(split), 1]

    def save(self, path: Path) -> None:
        """Writes ``.npz`` atomically: axes, values, and names and settings as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"name": self.name, "splits": self.splits, "settings": self.settings}
        about["axes"] = list(self.axes)
        with replacing(path) as temporary:
            arrays = {f"axis_{name}": places for name, places in self.axes.items()}
            np.savez(temporary, about=np.array(json.dumps(about)), values=self.values, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Landscape":
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            axes = {name: stored[f"axis_{name}"] for name in about["axes"]}
            return cls(about["name"], axes, stored["values"], about["splits"], about["settings"])


def digest(weights: Weights) -> int:
    """Returns a checksum of weights, by which a file knows what it was computed from."""
    value = 0
    for array in weights:
        value = zlib.crc32(np.ascontiguousarray(array), value)
    return value


def samples_digest(samples: Mapping[str, Samples]) -> int:
    """Returns a checksum of the examples that a loss is measured on."""
    return digest([tensor.numpy() for s in samples.values() for tensor in (s.images, s.labels)])


def prepare_landscape(
    name: str,
    axes: Mapping[str, np.ndarray],
    samples: Mapping[str, Samples],
    *,
    settings: Mapping[str, Any],
    path: Path,
) -> Landscape:
    """Returns what the file holds of a landscape, or an empty one.

    A file of other settings, weights or examples is not gone on with.
    """
    if path.is_file():
        try:
            before = Landscape.load(path)
            if before.settings == dict(settings) and before.lies_on(axes):
                return before
        except DAMAGED:
            pass  # damaged, and computed from what is still there
    shape = tuple(len(places) for places in axes.values())
    values = np.full((*shape, len(samples), 2), np.nan, np.float32)
    return Landscape(name, dict(axes), values, list(samples), dict(settings))


def compute(
    landscape: Landscape, surface: Surface, coefficients: np.ndarray, path: Path
) -> Iterator[int]:
    """Computes what is missing, coarse to fine, and yields how many points are there.

    The file is written after each block.

    Args:
        landscape: filled in place.
        surface: the network on its samples.
        coefficients: of the surface's weight vectors, (*grid, basis).
        path: of the ``.npz`` file.
    """
    points = int(np.prod(landscape.shape))
    flat = landscape.values.reshape(points, *landscape.values.shape[-2:])
    rows = coefficients.reshape(points, -1)
    order = coarse_to_fine(landscape.shape)
    for done in fill_in(flat, surface, rows, order, block=min(_BLOCK, points)):
        landscape.save(path)
        yield done


def missing_points(landscape: Landscape) -> int:
    """Returns how many points are not yet computed."""
    return int(np.isnan(landscape.values[..., 0, 1]).sum())


def on_grid(axes: Sequence[np.ndarray], *, start: float = 1.0) -> np.ndarray:
    """Returns the coefficients (start, a, b, ...) over a grid, (*grid, 1 + axes)."""
    mesh = np.meshgrid(*axes, indexing="ij")
    return np.stack([np.full(mesh[0].shape, start), *mesh], axis=-1)


def one_at_a_time(directions: int, places: np.ndarray) -> np.ndarray:
    """Returns the coefficients of a line along each direction.

    Shapes:
        result: (directions, places, 1 + directions).
    """
    coefficients = np.zeros((directions, len(places), 1 + directions))
    coefficients[..., 0] = 1
    for index in range(directions):
        coefficients[index, :, 1 + index] = places
    return coefficients
