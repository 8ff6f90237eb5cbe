"""The library's face: plan, train, load, evaluate, predict. The command line is a layer over it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlsuite import __version__
from dlsuite.errors import DlsuiteError
from dlsuite.models import MODELS
from dlsuite.optimizers import OPTIMIZERS, SCHEDULES
from dlsuite.recipes.resolve import DEFAULT_RECIPE, Resolved, resolve, to_toml
from dlsuite.recipes.schema import Recipe
from dlsuite.runs.folder import RunFolder, default_path
from dlsuite.runtime import prepare

if TYPE_CHECKING:
    import keras

    from dlsuite.analysis.classification import Evaluation
    from dlsuite.analysis.prediction import Predictions
    from dlsuite.data.dataset import Dataset
    from dlsuite.engine.device import Execution
    from dlsuite.engine.training import Observer
    from dlsuite.tasks.classification import Classification


@dataclass(frozen=True)
class Plan:
    """A run that has been resolved and checked but not started.

    Attributes:
        resolved: the recipe and where each value came from.
        task: dataset, network, loss and optimizer.
        execution: device, threads, XLA.
    """

    resolved: Resolved
    task: "Classification"
    execution: "Execution"

    def train(
        self,
        run_dir: str | Path | None = None,
        *,
        callbacks: Sequence["keras.callbacks.Callback"] = (),
        observer: "Observer | None" = None,
    ) -> "Run":
        """Trains and returns the run; `run_dir` is its folder, ``runs/RECIPE-TIME`` if None.

        Raises:
            DlsuiteError: the folder exists or can't be written.
        """
        from dlsuite.engine.training import train_task
        from dlsuite.environment import describe

        folder = RunFolder.create(run_dir or default_path(self.resolved.name))
        recipe = self.resolved.recipe
        folder.write(
            "run.json",
            {
                "dlsuite": __version__,
                "recipe": self.resolved.name,
                "task": recipe.task,
                "model": recipe.model.name,
                "data": recipe.data.name,
                "status": "running",
                "created": datetime.now(UTC).isoformat(),
                "epochs_done": 0,
                "steps_done": 0,
                "best": None,
                "parameters": self.task.model.count_params(),
                "features": dict(self.task.network.features),
                "execution": asdict(self.execution),
            },
        )
        folder.write_text("recipe.toml", to_toml(self.resolved))
        folder.write("environment.json", describe())
        dataset = self.task.dataset
        folder.write(
            "dataset.json",
            {
                "name": dataset.name,
                "class_names": dataset.class_names,
                "image_shape": dataset.image_shape,
                "mean": dataset.mean,
                "std": dataset.std,
                "value_range": dataset.value_range,
                "splits": {name: split.num_examples for name, split in dataset.splits.items()},
                "notes": dataset.notes,
            },
        )
        train_task(
            self.task, folder, execution=self.execution, callbacks=callbacks, observer=observer
        )
        return Run(folder)


def plan(
    recipe: str | Path = DEFAULT_RECIPE,
    *,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Plan:
    """Returns a checked plan: data loaded, network built, nothing trained.

    Args:
        recipe: a built-in name or the path of a TOML file.
        settings: by dotted key, such as ``{"data.augment.flip": "horizontal"}``.
        **options: ``data``, ``model``, ``optimizer``, ``learning_rate``, ``epochs``, ... as
            the options of ``dlsuite train``.

    Raises:
        DlsuiteError: something in the recipe or the data that the user can put right.
    """
    return plan_resolved(resolve(recipe, options=options, settings=settings))


def plan_resolved(resolved: Resolved) -> Plan:
    """Returns a checked plan of a resolved recipe."""
    check_names(resolved.recipe)
    prepare()
    from dlsuite.engine.device import resolve_device, resolve_execution, set_threads
    from dlsuite.engine.training import check_monitor
    from dlsuite.tasks.classification import Classification

    device = resolve_device(resolved.recipe.train.device)
    set_threads(resolved.recipe.train.threads)
    check_monitor(resolved.recipe, Classification.metrics)
    import tensorflow as tf

    with tf.device(device):
        task = Classification(resolved.recipe)
    execution = resolve_execution(resolved.recipe.train, task.model, device)
    return Plan(resolved, task, execution)


def check_names(recipe: Recipe) -> None:
    """Checks the names and options in a recipe, before TensorFlow is imported.

    Raises:
        DlsuiteError: a model, optimizer or schedule that does not exist, or not with that option.
    """
    MODELS.check_options(recipe.model.name, recipe.model.options, "model")
    OPTIMIZERS.check_options(recipe.optimizer.name, recipe.optimizer.options, "optimizer")
    SCHEDULES.check_options(recipe.schedule.name, recipe.schedule.options, "schedule")


def train(
    recipe: str | Path = DEFAULT_RECIPE,
    *,
    run_dir: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    callbacks: Sequence["keras.callbacks.Callback"] = (),
    observer: "Observer | None" = None,
    **options: Any,
) -> "Run":
    """Trains by a recipe and returns the run.

    Args:
        recipe: a built-in name or the path of a TOML file.
        run_dir: the run's own folder; ``runs/RECIPE-TIME`` if None.
        settings: by dotted key, such as ``{"data.augment.flip": "horizontal"}``.
        callbacks: Keras callbacks; batch hooks fire once a block of steps.
        observer: told of each block and epoch.
        **options: ``data``, ``model``, ``optimizer``, ``learning_rate``, ``epochs``, ... as
            the options of ``dlsuite train``.

    Raises:
        DlsuiteError: something in the recipe, the data or the folder that the user can put right.

    Example:
        run = dlsuite.train("mnist-cnn", epochs=3, seed=1)
    """
    if run_dir is not None:
        RunFolder(run_dir).check_new()  # before the minutes that data and network may take
    made = plan(recipe, settings=settings, **options)
    return made.train(run_dir, callbacks=callbacks, observer=observer)


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
    """

    def __init__(self, folder: RunFolder):
        self.folder = folder

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def info(self) -> dict[str, Any]:
        """The content of ``run.json``: status, progress, best epoch."""
        return self.folder.read("run.json")

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``stopped``, ``interrupted``, ``diverged`` or ``failed``."""
        return self.info["status"]

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

    @cached_property
    def model(self) -> "keras.Model":
        """The model of the best epoch: images as stored in, logits out.

        Raises:
            DlsuiteError: the model file is missing or damaged.
        """
        prepare()
        import keras

        import dlsuite.layers.maxout  # noqa: F401  registers the layer

        path = self.folder.model_path
        if not path.is_file():
            reason = {
                "running": "the first epoch has not ended",
                "diverged": "the loss was not finite before the first epoch ended",
            }.get(self.status, "the file is gone")
            raise DlsuiteError(
                f"The run's model must be there. Received: '{path}' is missing: {reason}. "
                "Restore it from a copy, or train again."
            )
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except (ValueError, OSError, TypeError, KeyError) as error:
            raise DlsuiteError(
                f"The run's model must be a .keras file. Received: '{path}' "
                f"({str(error).splitlines()[0]}). Restore it from a copy, or train again."
            ) from error

    def extract(self, names: Sequence[str]) -> "keras.Model":
        """Returns a model with the same input that outputs the named features, by name.

        Raises:
            DlsuiteError: the network has no feature of that name.
        """
        from dlsuite.errors import unknown_name
        from dlsuite.models.build import feature_model

        features = self.info["features"]
        for name in names:
            if name not in features:
                remedy = f"Features: {', '.join(features)}."
                raise unknown_name("feature", name, features, remedy)
        return feature_model(self.model, {name: features[name] for name in names})

    def load_data(self, name: str | None = None) -> "Dataset":
        """Returns the run's dataset, or another one with the same classes in the run's order.

        Another dataset's images are brought to the run's size and channels; nothing is cut from
        it, and a folder without splits is all test.

        Raises:
            DlsuiteError: the data can't be read, or its classes differ from the run's.
        """
        from dlsuite.data.load import load_dataset, load_for_evaluation

        data = self.recipe.data
        if name is None:
            return load_dataset(data, seed=self.recipe.train.seed, class_names=self.class_names)
        height, width, channels = self.image_shape
        changes = {"name": name}
        if data.image_size is None and height == width:
            changes["image_size"] = height
        if channels in (1, 3):
            changes["channels"] = channels
        return load_for_evaluation(data.model_copy(update=changes), class_names=self.class_names)

    def evaluate(
        self, data: str | None = None, *, split: str = "test", batch_size: int | None = None
    ) -> "Evaluation":
        """Returns accuracy, likelihood, calibration and more on a split.

        Raises:
            DlsuiteError: no such split, or other classes than the run's.
        """
        model = self.model
        from dlsuite.analysis.evaluation import choose_split, evaluate_split

        return evaluate_split(
            model,
            choose_split(self.load_data(data), split),
            class_names=self.class_names,
            batch_size=batch_size or self.recipe.train.batch_size,
        )

    def predict(self, paths: Sequence[str | Path]) -> "Predictions":
        """Returns label and probabilities of image files, or of all images in folders."""
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
