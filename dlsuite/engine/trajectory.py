"""The path of a network's weights through training, a point an epoch."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dlsuite.runs.folder import RunFolder, writing


class Trajectory(keras.callbacks.Callback):
    """Writes ``trajectory/EPOCH.npz`` into the run, from the initial weights, epoch 0, on.

    Each holds the variables of `network` that are not whole numbers, in its order. A run that is
    resumed writes the same files again.

    Args:
        folder: the run's.
        network: the functional model that the run saves.
    """

    def __init__(self, folder: RunFolder, network: keras.Model):
        super().__init__()
        self._folder = folder
        self._network = network

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Writes the initial weights, unless the run is resumed."""
        place = self._folder.path / "trajectory"
        with writing(self._folder.path):
            place.mkdir(exist_ok=True)
        # a kill may have come between the folder and its first point
        if not any(place.glob("[!.]*.npz")):
            self._write(0)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Writes the epoch's last weights."""
        self._write(epoch + 1)

    def _write(self, epoch: int) -> None:
        weights = [
            variable.numpy()
            for variable in self._network.variables
            if tf.as_dtype(variable.dtype).is_floating
        ]
        path = point_path(self._folder.path, epoch)
        with self._folder.saving(path) as temporary:
            np.savez(temporary, *weights)


def drop_points_after(run: Path, epoch: int) -> None:
    """Deletes the points of later epochs, which a resume from before them writes anew."""
    for path in (run / "trajectory").glob("[!.]*.npz"):
        if path > point_path(run, epoch):
            path.unlink()


def point_path(run: Path, epoch: int) -> Path:
    """Returns where a run keeps the weights of an epoch's end."""
    return run / "trajectory" / f"{epoch:05d}.npz"
