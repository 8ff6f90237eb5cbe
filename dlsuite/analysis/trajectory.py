"""The plane in which a training's path lies best, by principal components.

Source: Li et al. 2018, arXiv:1712.09913, section 7.
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from dlsuite.analysis.landscape import Weights, floating_variables
from dlsuite.analysis.landscape_grid import DAMAGED
from dlsuite.errors import DlsuiteError

# Free space around the path, as a share of its extent.
_MARGIN = 0.25
_FEWEST = 3


@dataclass(frozen=True)
class PathPlane:
    """The plane of a path.

    Attributes:
        points: the weights along the path, the last one the plane's origin.
        directions: the two principal components, of norm 1 over all trained weights.
        coordinates: of the points in the plane, (points, 2).
        explained: share of the points' variance along each component; of three points it is all.
    """

    points: list[Weights]
    directions: list[Weights]
    coordinates: np.ndarray
    explained: np.ndarray

    def axes(self, resolution: int) -> list[np.ndarray]:
        """Returns the places of a grid that holds the path, with a margin."""
        found = []
        for values in self.coordinates.T:
            low, high = min(values.min(), 0.0), max(values.max(), 0.0)
            margin = _MARGIN * (high - low or 1.0)
            found.append(np.linspace(low - margin, high + margin, resolution))
        return found


def load_path(run: Path) -> list[Weights]:
    """Returns the weights that a run kept, from the initial ones on.

    Raises:
        DlsuiteError: it kept none, or too few for a plane, or one is damaged.
    """
    files = sorted((run / "trajectory").glob("[!.]*.npz"))
    if len(files) < _FEWEST:
        raise DlsuiteError(
            f"A path needs the weights of at least {_FEWEST} points of a training. Received: "
            f"'{run}', which kept {len(files) or 'none'}. Train with --set train.trajectory=true "
            f"and at least {_FEWEST - 1} epochs."
        )
    points = []
    for file in files:
        try:
            with np.load(file, allow_pickle=False) as stored:
                points.append([stored[f"arr_{index}"] for index in range(len(stored.files))])
        except DAMAGED:
            raise DlsuiteError(
                f"A path's files must be whole. Received: '{file}', which can't be read. "
                "Restore it from a copy, or train again."
            ) from None
    return points


def path_plane(model: keras.Model, points: list[Weights]) -> PathPlane:
    """Returns the plane through the last point from which the others lie the least far.

    Components are of the trained weights; statistics of normalization stay those of the last
    point in the plane.

    Args:
        model: the network whose weights they are.
        points: along the path.
    """
    trained = {id(variable) for variable in model.trainable_variables}
    used = [id(variable) in trained for variable in floating_variables(model)]
    last = points[-1]
    steps = np.stack(
        [
            np.concatenate(
                [
                    (now - end).ravel().astype(np.float64)
                    for now, end, is_used in zip(point, last, used, strict=True)
                    if is_used
                ]
            )
            for point in points[:-1]
        ]
    )
    # the components of few points in many dimensions, by their inner products
    values, vectors = np.linalg.eigh(steps @ steps.T)
    order = np.argsort(values)[::-1][:2]
    components = (vectors[:, order].T @ steps) / np.sqrt(np.maximum(values[order], 1e-30))[:, None]
    coordinates = np.vstack([steps @ components.T, np.zeros(2)])
    # about the path's own mean, with the last point, which is 0, in it
    count = len(points)
    variance = np.sum(steps**2) / count - np.sum((steps.sum(axis=0) / count) ** 2)
    return PathPlane(
        points=points,
        directions=[_shaped(component, last, used) for component in components],
        coordinates=coordinates,
        explained=coordinates.var(axis=0) / variance,
    )


def _shaped(component: np.ndarray, like: Weights, used: list[bool]) -> Weights:
    shaped, start = [], 0
    for weights, is_used in zip(like, used, strict=True):
        size = weights.size if is_used else 0
        part = component[start : start + size] if is_used else np.zeros(weights.size)
        shaped.append(part.reshape(weights.shape).astype(np.float32))
        start += size
    return shaped
