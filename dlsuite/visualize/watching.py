"""Watching filters change while a network is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dlsuite.analysis.neurons.anatomy import Anatomy, NeuronLayer
from dlsuite.analysis.neurons.kernels import unit_weights
from dlsuite.analysis.neurons.maximisation import maximise
from dlsuite.analysis.neurons.pictures import kernel_thumbnails, pictures_of
from dlsuite.analysis.neurons.subject import from_model
from dlsuite.reports.neurons.animation import frame, write_animation
from dlsuite.reports.neurons.encode import kernel_picture
from dlsuite.reports.neurons.figures import picture_grid
from dlsuite.runs.folder import replacing


class FilterWatcher(keras.callbacks.Callback):
    """A Keras callback that stores kernels and maximised pictures before and after each epoch.

    At the end of training it writes ``kernels.gif`` and ``pictures.gif``, and MP4 where ffmpeg
    is installed. The model is looked at between epochs and never changed.

    Args:
        folder: where to write; made where it doesn't exist.
        layer: name of the layer; the first with weights if None.
        units: of the layer; the first 16 if None.
        steps: of activation maximisation; 0 leaves pictures out.
        input_shape: of images, where the model does not say it.
        value_range: smallest and largest value of images as stored.

    Example:
        dlsuite.train("mnist-cnn", callbacks=[FilterWatcher("watched")])
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        layer: str | None = None,
        units: Sequence[int] | None = None,
        steps: int = 48,
        input_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] = (0.0, 255.0),
    ):
        super().__init__()
        self._folder = Path(folder)
        self._layer = layer
        self._units = units
        self._steps = steps
        self._input_shape = input_shape
        self._value_range = value_range

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None and int(optimizer.iterations) == 0:
            for path in self._folder.glob("epoch-*.npz"):  # of another training
                path.unlink()
        if not self._path(0).exists():  # a resumed run has it
            self._store(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._store(epoch + 1)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.draw()

    def _path(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch:04d}.npz"

    def _look(self) -> tuple[Anatomy, NeuronLayer, list[int]]:
        subject = from_model(
            self.model, input_shape=self._input_shape, value_range=self._value_range
        )
        anatomy = Anatomy(subject)
        (layer,) = anatomy.choose(self._layer or "first")[:1]
        count = layer.place.num_units
        units = list(range(min(16, count))) if self._units is None else list(self._units)
        return anatomy, layer, units

    def _store(self, epoch: int) -> None:
        anatomy, layer, units = self._look()
        arrays = {"units": np.array(units), "kernels": unit_weights(layer)[units]}
        if self._steps:
            made = maximise(anatomy.subject, layer, units, steps=self._steps)
            arrays["pictures"] = pictures_of(anatomy.subject, made.inputs)
            arrays["activations"] = made.activations
        with replacing(self._path(epoch)) as temporary:
            np.savez_compressed(temporary, **arrays)

    def draw(self) -> list[Path]:
        """Writes the animations from the stored epochs and returns their paths."""
        paths = sorted(self._folder.glob("epoch-*.npz"))
        drawn: dict[str, list[np.ndarray]] = {"kernels": [], "pictures": []}
        for path in paths:
            epoch = int(path.stem.rpartition("-")[2])
            with np.load(path, allow_pickle=False) as file:
                titles = [str(unit) for unit in file["units"]]
                small = kernel_thumbnails(file["kernels"])
                if max(small.shape[1:3]) > 1:
                    shown = np.stack([kernel_picture(kernel) for kernel in small])
                    drawn["kernels"].append(self._frame(shown, titles, "kernels", epoch))
                if "pictures" in file:
                    shown = file["pictures"]
                    drawn["pictures"].append(self._frame(shown, titles, "what excites", epoch))
        written = []
        for name, frames in drawn.items():
            if frames:
                written += write_animation(frames, self._folder / name, fps=2)
        return written

    def _frame(self, shown: np.ndarray, titles: list[str], said: str, epoch: int) -> np.ndarray:
        return frame(picture_grid(shown, titles, f"{said}, after epoch {epoch}", across=8))
