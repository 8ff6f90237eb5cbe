"""From what users name to a study: runs, model files, networks of Keras, models in Python."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlsuite.errors import DlsuiteError, unknown_name
from dlsuite.run import Run, load
from dlsuite.runtime import prepare
from dlsuite.visualize.study import Options, Progress, Study

if TYPE_CHECKING:
    import keras

    from dlsuite.analysis.neurons.subject import Subject
    from dlsuite.data.dataset import Split


def open_study(
    model: "str | Path | Run | keras.Model",
    *,
    options: Options,
    data: str | None = None,
    split: str | None = None,
    output: str | Path | None = None,
    preprocessing: str | None = None,
    class_names: Sequence[str] | None = None,
    input_shape: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Returns the study of a run, a model file, a network of `keras.applications` or a model.

    Args:
        model: a run or its folder; a ``.keras`` file; ``keras:NAME``; or a `keras.Model`.
        options: what to look at.
        data: as a recipe names it; a run's own if None, and none for others.
        split: of the data; ``test`` if it has one.
        output: the folder; ``RUN/filters``, or ``filters/NAME``, if None.
        preprocessing: of the images before a model that is no run's.
        class_names: of a model that is no run's.
        input_shape: where the model does not say it itself.
        progress: called with a stage, what is done of it and its total.

    Raises:
        DlsuiteError: no such model, data that do not fit, or an option that a run has itself.
    """
    prepare()
    notes: list[str] = []
    run = _as_run(model)
    if run is not None:
        if preprocessing is not None:
            raise DlsuiteError(
                "A run's model normalises images by itself. Received: --preprocessing "
                f"{preprocessing}. Leave it out."
            )
        if class_names is not None:
            raise DlsuiteError(
                "A run knows its classes. Received: --class-names for a run. Leave it out."
            )
        subject, dataset = _of_run(run, data)
        command, folder = shlex.quote(str(run.path)), run.path / "filters"
        data = (data or run.recipe.data.name) if subject.takes_images else None
        splits = dataset.splits if subject.takes_images else {}
        classes = dataset.class_names or None
    else:
        subject, found = _of_model(model, preprocessing, class_names, input_shape)
        notes += found
        # a model from Python has no name that a command line could open
        command = shlex.quote(str(model)) if isinstance(model, (str, Path)) else "MODEL.keras"
        folder = Path("filters") / subject.name
        splits, classes = {}, None
        if data is not None:
            subject, splits, classes = _with_data(subject, data)
    if split is not None and not splits:
        raise DlsuiteError(
            f"A split is one of the data's. Received: --split {split} without data. Name some with "
            "--data, or leave it out."
        )
    return Study(
        subject=subject,
        folder=folder if output is None else Path(output),
        options=options,
        split=_chosen(splits, split, data),
        data=data,
        data_classes=classes,
        run=run,
        command=command,
        notes=notes,
        progress=progress or (lambda stage, done, total: None),
    )


def _as_run(model: Any) -> Run | None:
    if isinstance(model, Run):
        return model
    if isinstance(model, (str, Path)):
        name = str(model)
        if not name.startswith("keras:") and not name.endswith(".keras"):
            if Path(name).is_file():
                raise DlsuiteError(
                    "A model is a run's folder, a .keras file or keras:NAME. Received: "
                    f"'{name}', a file of another kind. Save the model with model.save(PATH.keras)."
                )
            return load(name)
    return None


def _of_run(run: Run, data: str | None):
    from dlsuite.analysis.neurons.subject import from_model

    dataset = run.load_data(data)
    inputs = getattr(run.model, "inputs", None)
    # a generator's run has images, but its model takes something else
    takes_images = not inputs or len(inputs[0].shape) == 4
    subject = from_model(
        run.model,
        name=run.info.get("model", run.path.name),
        input_shape=run.image_shape if takes_images else None,
        value_range=tuple(run.folder.read("dataset.json")["value_range"]),
        class_names=run.class_names if _is_classifier(run) else None,
    )
    return subject, dataset


def _is_classifier(run: Run) -> bool:
    """Whether the model's outputs are the classes: those of a generator are pixels."""
    outputs = getattr(run.model, "outputs", None) or ()
    return [tuple(one.shape[1:]) for one in outputs] == [(len(run.class_names),)]


def _of_model(model: Any, preprocessing, class_names, input_shape):
    from dlsuite.analysis.neurons.subject import from_model, open_model

    if isinstance(model, (str, Path)):
        return open_model(
            str(model),
            preprocessing=preprocessing,
            class_names=class_names,
            input_shape=input_shape,
        )
    subject = from_model(
        model,
        preprocessing=preprocessing or "none",
        class_names=class_names,
        input_shape=input_shape,
    )
    return subject, []


def _with_data(subject: "Subject", data: str):
    """The subject in the data's value range, the data's splits in its shape, and their classes."""
    from dlsuite.data.load import read_source
    from dlsuite.recipes.schema import Data

    if not subject.takes_images:
        raise DlsuiteError(
            f"Data are images. Received: {subject.name}, which takes vectors of "
            f"{subject.input_shape[0]} numbers. Leave out --data."
        )
    height, width, channels = subject.input_shape
    settings = Data(
        name=data,
        image_size=height if height == width else None,
        channels=channels if channels in (1, 3) else None,
        corrupt="skip",
        memory_gb=0.0,  # a few of the images are looked at
    )
    source = read_source(settings)
    names = subject.class_names
    if names is None and _num_outputs(subject) == len(source.class_names):
        names = source.class_names
    subject = replace(subject, value_range=source.value_range, class_names=names)
    return subject, source.splits, source.class_names or None


def _num_outputs(subject: "Subject") -> int | None:
    try:
        return subject.model.output_shape[-1]
    except (AttributeError, ValueError, TypeError):
        return None  # a model that was not built, or has several outputs


def _chosen(splits: Mapping[str, "Split"], name: str | None, data: str | None) -> "Split | None":
    if not splits:
        return None
    if name is None:
        return next(splits[key] for key in ("test", "validation", "train") if key in splits)
    if name not in splits:
        remedy = f"It has the splits {', '.join(splits)}."
        raise unknown_name(f"split of {data}", name, splits, remedy)
    return splits[name]
