"""Image files in, labels and probabilities out."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np
from scipy.special import softmax

from dlsuite.analysis.inference import Forward, require_batch_size
from dlsuite.data.images import EXTENSIONS, read_sized_image
from dlsuite.data.paths import exists, is_folder
from dlsuite.errors import DlsuiteError


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says about one image file.

    Attributes:
        path: the file.
        label: name of the most probable class.
        probability: of that class.
        probabilities: of every class, in the order of the class names, shape (K,), float32.
        size: (H, W) of the file's image, before it was resized as in training.
    """

    path: Path
    label: str
    probability: float
    probabilities: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True)
class Failure:
    """A path that could not be classified, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Predictions:
    """What the model says about many image files.

    Attributes:
        class_names: in the order of the probabilities.
        rows: one a classified file, in the order of the paths.
        failures: one a path that could not be classified.
    """

    class_names: tuple[str, ...]
    rows: tuple[Prediction, ...]
    failures: tuple[Failure, ...]


def predict_files(
    model: keras.Model,
    paths: Iterable[str | Path],
    *,
    class_names: Sequence[str],
    image_shape: tuple[int, int, int],
    value_range: tuple[float, float] = (0, 255),
    batch_size: int = 32,
) -> Predictions:
    """Returns the predictions for image files and folders, and what could not be read.

    Takes what `stream_predictions` takes, and collects what it yields.
    """
    rows, failures = [], []
    for outcome in stream_predictions(
        model,
        paths,
        class_names=class_names,
        image_shape=image_shape,
        value_range=value_range,
        batch_size=batch_size,
    ):
        (rows if isinstance(outcome, Prediction) else failures).append(outcome)
    return Predictions(tuple(class_names), tuple(rows), tuple(failures))


def stream_predictions(
    model: keras.Model,
    paths: Iterable[str | Path],
    *,
    class_names: Sequence[str],
    image_shape: tuple[int, int, int],
    value_range: tuple[float, float] = (0, 255),
    batch_size: int = 32,
) -> Iterator[Prediction | Failure]:
    """Returns an iterator over one prediction or failure for each image file, in order.

    No more than one batch of images is held, however many files there are.

    Args:
        model: takes images as stored and returns logits.
        paths: image files, and folders that are searched for them (see `image_files`).
        class_names: in the order of the model's logits.
        image_shape: (H, W, C) that the files are converted and resized to, as in training.
        value_range: of the images that the model was trained on.
        batch_size: images a compiled call.

    Raises:
        DlsuiteError: the model gives another number of logits than there are class names; it
            was trained on arrays that image files can't stand for; or the batch size is not
            positive. A file that can't be read raises nothing.
    """
    if model.output_shape[-1] != len(class_names):
        raise DlsuiteError(
            "There is one logit for each class. "
            f"Received: {model.output_shape[-1]} logits and {len(class_names)} class names. "
            "Use the class names that the model was trained with."
        )
    if image_shape[-1] not in (1, 3) or tuple(value_range) != (0, 255):
        raise DlsuiteError(
            "An image file has 1 or 3 channels of values from 0 to 255. Received: a model "
            f"trained on {image_shape[-1]} channels of values from {value_range[0]:g} to "
            f"{value_range[1]:g}. In Python, call run.model on an array like the training's."
        )
    require_batch_size(batch_size)
    return _stream(model, image_files(paths), tuple(class_names), image_shape, batch_size)


def _stream(
    model: keras.Model,
    found: Iterator[Path | Failure],
    class_names: tuple[str, ...],
    image_shape: tuple[int, int, int],
    batch_size: int,
) -> Iterator[Prediction | Failure]:
    forward = None
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as readers:
        while chunk := list(islice(found, batch_size)):
            # the first chunk is the largest: one image alone is not padded to a batch
            forward = forward or Forward(model, len(chunk))
            outcomes = list(readers.map(lambda item: _read(item, image_shape), chunk))
            images = [outcome.pixels for outcome in outcomes if isinstance(outcome, _Image)]
            logits = iter(forward(np.stack(images)) if images else ())
            for outcome in outcomes:
                if isinstance(outcome, Failure):
                    yield outcome
                else:
                    yield _prediction(outcome, next(logits), class_names)


@dataclass(frozen=True, eq=False)
class _Image:
    path: Path
    pixels: np.ndarray
    size: tuple[int, int]


def _prediction(
    image: _Image, logits: np.ndarray, class_names: Sequence[str]
) -> Prediction | Failure:
    if not np.isfinite(logits).all():
        return Failure(
            image.path,
            f"Logits are finite. Received: NaN or infinity for '{image.path}'. Its values lie far "
            "outside what the model was trained on, or the training diverged.",
        )
    # float64, so that float32 probabilities sum to 1 to their own accuracy for any K
    probabilities = softmax(logits.astype(np.float64)).astype(np.float32)
    best = int(np.argmax(logits))
    probability = float(probabilities[best])
    return Prediction(image.path, class_names[best], probability, probabilities, image.size)


def _read(item: Path | Failure, image_shape: tuple[int, int, int]) -> _Image | Failure:
    if isinstance(item, Failure):
        return item
    try:
        return _Image(item, *read_sized_image(item, image_shape=image_shape))
    except DlsuiteError as error:
        return Failure(item, str(error))


def image_files(paths: Iterable[str | Path]) -> Iterator[Path | Failure]:
    """Yields the image files behind the paths, one after the other.

    A file stands for itself, whatever its suffix. A folder stands for the files in it and
    below with an image's suffix, by name, hidden ones left out. A path that is neither, and a
    folder without images, yields a failure in its place.
    """
    for path in map(Path, paths):
        if not is_folder(path):
            # whether it is there at all, the system may refuse to say
            said = f"An image is a file. Received: '{path}', which doesn't exist or can't be seen."
            yield path if exists(path) else Failure(path, said)
            continue
        empty = True
        for file in _below(path):
            empty = False
            yield file
        if empty:
            yield Failure(
                path,
                f"A folder of images holds files such as .png or .jpg. Received: '{path}', "
                "which has none. Check the path.",
            )


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        # in place: os.walk goes on with what is left, in this order
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(place, name)
            if file.suffix.lower() in EXTENSIONS and not name.startswith("."):
                yield file
