"""The library's face: train and resume. The command line is a layer over it."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlsuite.environment import worker
from dlsuite.planning import plan
from dlsuite.recipes.resolve import DEFAULT_RECIPE
from dlsuite.resuming import plan_resume
from dlsuite.run import Run
from dlsuite.runs.folder import RunFolder

if TYPE_CHECKING:
    import keras

    from dlsuite.engine.training import Observer


def train(
    recipe: str | Path = DEFAULT_RECIPE,
    *,
    run_dir: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    callbacks: Sequence["keras.callbacks.Callback"] = (),
    observer: "Observer | None" = None,
    max_hours: float | None = None,
    **options: Any,
) -> "Run":
    """Trains by a recipe and returns the run.

    Args:
        recipe: a built-in name or the path of a TOML file.
        run_dir: the run's own folder; ``runs/RECIPE-TIME`` if None.
        settings: by dotted key, such as ``{"data.augment.flip": "horizontal"}``.
        callbacks: Keras callbacks; batch hooks fire once a block of steps.
        observer: told of each block and epoch.
        max_hours: stop, resumable, after that time.
        **options: ``data``, ``model``, ``optimizer``, ``learning_rate``, ``epochs``, ... as
            the options of ``dlsuite train``.

    Raises:
        DlsuiteError: something in the recipe, the data or the folder that the user can put right.

    Example:
        run = dlsuite.train("mnist-cnn", epochs=3, seed=1)
    """
    if run_dir is not None and worker()[0] == 0:
        RunFolder(run_dir).check_new()  # before the minutes that data and network may take
    made = plan(recipe, settings=settings, **options)
    return made.train(run_dir, callbacks=callbacks, observer=observer, max_hours=max_hours)


def resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    devices: int | None = None,
    not_finite: str | None = None,
    callbacks: Sequence["keras.callbacks.Callback"] = (),
    observer: "Observer | None" = None,
    max_hours: float | None = None,
) -> "Run":
    """Goes on with a run exactly where its newest checkpoint stands, and returns it.

    Args:
        path: the run folder; nothing else is needed.
        epochs: the epoch to train to, where that changes.
        devices: of each worker, where that changes.
        not_finite: ``stop`` or ``skip``, where that changes.
        callbacks: as given to `train`; what they remember in plain attributes is restored.
        observer: told of each block and epoch.
        max_hours: stop, resumable, after that time.

    Raises:
        DlsuiteError: no run there, nothing left to do, or another process trains it.
    """
    made, notes = plan_resume(path, epochs=epochs, devices=devices, not_finite=not_finite)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    folder = RunFolder.open(path)
    return made.resume(folder, callbacks=callbacks, observer=observer, max_hours=max_hours)
