"""A training run on disk: its recipe, history and model, ready to be used."""

import pkgutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlsuite.errors import DlsuiteError, DlsuiteWarning, unknown_name
from dlsuite.recipes import TASKS
from dlsuite.recipes.resolve import resolve
from dlsuite.recipes.schema import Recipe
from dlsuite.runs.folder import RunFolder
from dlsuite.runtime import prepare

if TYPE_CHECKING:
    import keras

    from dlsuite.analysis.prediction import Predictions
    from dlsuite.data.dataset import Dataset


def load(path: str | Path) -> "Run":
    """Returns the run at a folder that `train` or ``dlsuite train`` wrote.

    Raises:
        DlsuiteError: there is no run at the path.
    """
    return Run(RunFolder.open(path))


class Run:
    """A training run on disk: its recipe, history and model.

    Args:
        folder: the run folder.
        status: how the training ended that has just made it; None reads it from the folder.
    """

    def __init__(self, folder: RunFolder, *, status: str | None = None):
        self.folder = folder
        self._status = status

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def info(self) -> dict[str, Any]:
        """The content of ``run.json``: status, progress, best epoch."""
        return self.folder.read_info()

    @property
    def status(self) -> str:
        """How the training stands or ended.

        ``running``, ``finished``, ``stopped`` (early), ``paused``, ``interrupted``, ``diverged`` or
        ``failed``.
        """
        return self.info["status"] if self._status is None else self._status

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row an epoch; empty before the first has ended."""
        if not (self.path / "history.json").exists():
            return []
        return self.folder.read("history.json")

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return resolve(self.path / "recipe.toml").recipe

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels and logits."""
        return tuple(self.folder.read("dataset.json")["class_names"])

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images that the model takes, as stored."""
        return tuple(self.folder.read("dataset.json")["image_shape"])

    @property
    def model_file(self) -> Path:
        """The file of `model`."""
        best, last = self.folder.model_path, self.folder.last_model_path
        return last if last.is_file() and not best.is_file() else best

    @cached_property
    def model(self) -> "keras.Model":
        """The model of the best epoch.

        A classifier takes images as stored and gives logits, a generator takes latents and gives
        images as stored.

        That of the last epoch, with a warning, where a full disk or a kill left no best one.

        Raises:
            DlsuiteError: the model file is missing or damaged.
        """
        prepare()
        import keras

        import dlsuite.layers.maxout  # noqa: F401  registers the layer

        path = self.model_file
        if path != self.folder.model_path:
            warnings.warn(
                f"'{self.folder.model_path}' is missing; the model of the last epoch serves.",
                DlsuiteWarning,
                stacklevel=2,
            )
        if not path.is_file():
            reason, remedy = "the file is gone", "Restore it from a copy, or train again."
            if self.info["best"] is None:
                reason = f"the run is {self.status}, and no epoch of it gave a model"
                remedy = "Go on with it by `dlsuite resume`, or train again."
                if self.status == "diverged":
                    remedy = "Train again with a lower --learning-rate."
            raise DlsuiteError(
                f"The run's model must be there. Received: '{path}' is missing: {reason}. {remedy}"
            )
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # what a damaged or hostile file makes Keras raise is open
            raise DlsuiteError(
                f"The run's model must be an undamaged .keras file. Received: '{path}', which "
                f"Keras can't load ({type(error).__name__}). Restore it from a copy, or train "
                "again."
            ) from error

    def extract(self, names: Sequence[str]) -> "keras.Model":
        """Returns a model with the same input that outputs the named features, by name.

        Raises:
            DlsuiteError: the network has no feature of that name.
        """
        from dlsuite.models.build import feature_model

        features = self.info["features"]
        for name in names:
            if name not in features:
                remedy = f"Features: {', '.join(features)}."
                raise unknown_name("feature", name, features, remedy)
        return feature_model(self.model, {name: features[name] for name in names})

    def load_data(self, name: str | None = None) -> "Dataset":
        """Returns the run's dataset, or another one with the same classes in the run's order.

        Of its own a warning says where the files are not what they were.

        Another dataset's images are brought to the run's size and channels and have the run's
        range of values; nothing is cut from it, and a folder without splits is all test.

        Raises:
            DlsuiteError: the data can't be read, or its classes or range differ from the run's.
        """
        from dlsuite.data.load import load_dataset, load_for_evaluation

        data, described = self.recipe.data, self.folder.read("dataset.json")
        if name is None or self.is_own_data(name):
            dataset = load_dataset(data, class_names=self.class_names)
            if changed := dataset.differences(described):
                warnings.warn(
                    f"The run's data are not what they were: {'; '.join(changed)}. What it trained "
                    "on may lie in another split now.",
                    DlsuiteWarning,
                    stacklevel=2,
                )
            return dataset
        height, width, channels = self.image_shape
        changes = {"name": name}
        if data.image_size is None and height == width:
            changes["image_size"] = height
        if channels in (1, 3):
            changes["channels"] = channels
        dataset = load_for_evaluation(data.model_copy(update=changes), class_names=self.class_names)
        ranges = [tuple(found) for found in (described["value_range"], dataset.value_range)]
        if ranges[0] != ranges[1] and (0, 255) in ranges:
            raise DlsuiteError(
                "Other data must have the run's range of values. Received: "
                f"{name!r} from {ranges[1][0]:g} to {ranges[1][1]:g} for a run on "
                f"{ranges[0][0]:g} to {ranges[0][1]:g}. Scale the values, or save them as uint8."
            )
        # floats have the range of what was read: the network's is that of what it trained on
        return replace(dataset, value_range=ranges[0])

    def is_own_data(self, name: str) -> bool:
        """Returns whether a dataset's name stands for what the run was trained on."""
        from dlsuite.data.load import absolute_name

        return self.recipe.data.name in (name, absolute_name(name))

    def require_task(self, task: str, *, command: str) -> None:
        """Checks that the run is one of those that a command is for.

        Args:
            task: the command's, a name in `dlsuite.recipes.TASKS`.
            command: what the user asked for.

        Raises:
            DlsuiteError: it isn't.
        """
        if self.recipe.task != task:
            raise DlsuiteError(
                f"`dlsuite {command}` is for runs of the task {task!r}. Received: '{self.path}', "
                f"a run of the task {self.recipe.task!r}. Choose another run from `dlsuite runs`."
            )

    def evaluate(
        self,
        data: "str | Dataset | None" = None,
        *,
        split: str = "test",
        batch_size: int | None = None,
        progress: Callable[[int], object] | None = None,
        **options: Any,
    ) -> Any:
        """Returns the numbers of the run's task on a split.

        A classifier's are a `dlsuite.analysis.classification.Evaluation`, a generator's a
        `dlsuite.analysis.gan.GanEvaluation`.

        Args:
            data: a dataset, or its name; None is the run's own.
            split: ``train``, ``validation`` or ``test``.
            batch_size: examples a compiled call; None takes the training's.
            progress: called after each batch with the number of examples that it held.
            **options: of the task's own: ``classifier`` and ``seed`` for a generator.

        Raises:
            DlsuiteError: no such split, or data that don't fit the run.
        """
        model = self.model
        evaluate = pkgutil.resolve_name(TASKS[self.recipe.task].details["evaluated_by"])
        return evaluate(
            model,
            data if data is not None and not isinstance(data, str) else self.load_data(data),
            split=split,
            recipe=self.recipe,
            batch_size=self.recipe.train.batch_size if batch_size is None else batch_size,
            progress=progress,
            **options,
        )

    def predict(self, paths: Sequence[str | Path]) -> "Predictions":
        """Returns label and probabilities of image files, or of all images in folders."""
        self.require_task("classification", command="predict")
        model = self.model
        from dlsuite.analysis.prediction import predict_files

        return predict_files(
            model,
            paths,
            class_names=self.class_names,
            image_shape=self.image_shape,
            value_range=tuple(self.folder.read("dataset.json")["value_range"]),
            batch_size=self.recipe.train.batch_size,
        )
