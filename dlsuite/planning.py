"""A run planned: recipe resolved, data loaded, network built, nothing trained yet."""

import contextlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlsuite import __version__
from dlsuite.environment import describe, worker
from dlsuite.errors import DlsuiteError
from dlsuite.models import MODELS, check_file
from dlsuite.optimizers import OPTIMIZERS, SCHEDULES
from dlsuite.recipes import DEFAULT_TASK, TASKS
from dlsuite.recipes.resolve import DEFAULT_RECIPE, Resolved, resolve, to_toml
from dlsuite.recipes.schema import Model, Recipe
from dlsuite.run import Run
from dlsuite.runs.folder import RunFolder, default_path
from dlsuite.runtime import prepare

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from dlsuite.engine.device import Execution
    from dlsuite.engine.task import Task
    from dlsuite.engine.training import Observer
    from dlsuite.engine.workers import Workers


# Of run.json, while a training goes on.
_RUNNING = {"status": "running", "ended": None, "diverged_at": None, "diverged_in": None}


@dataclass(frozen=True)
class Plan:
    """A run that has been resolved and checked but not started.

    Attributes:
        resolved: the recipe and where each value came from.
        task: dataset, network, loss and optimizer.
        execution: device, threads, XLA, replicas.
        strategy: where the replicas lie.
    """

    resolved: Resolved
    task: "Task"
    execution: "Execution"
    strategy: "tf.distribute.Strategy"
    _begun: list[bool] = field(default_factory=list, init=False, repr=False)

    @property
    def has_begun(self) -> bool:
        """Whether the plan is carried out, or was."""
        return bool(self._begun)

    @cached_property
    def workers(self) -> "Workers":
        """The processes that carry the plan out together."""
        from dlsuite.engine.workers import Workers

        return Workers(self.strategy)

    def train(
        self,
        run_dir: str | Path | None = None,
        *,
        callbacks: Sequence["keras.callbacks.Callback"] = (),
        observer: "Observer | None" = None,
        max_hours: float | None = None,
    ) -> "Run":
        """Trains and returns the run; `run_dir` is its folder, ``runs/RECIPE-TIME`` if None.

        Raises:
            DlsuiteError: the folder exists or can't be written.
        """
        if self.has_begun:
            raise DlsuiteError(
                "A plan is carried out once, from the initial weights. Received: one whose network "
                "was trained already. Make a new plan, or go on with `dlsuite.resume`."
            )

        def create() -> str:
            return str(RunFolder.create(run_dir or default_path(self.resolved.name)).path)

        def new() -> RunFolder:
            return RunFolder(self.workers.on_chief(create), writes=self.workers.is_chief)

        return self._carry_out(new, callbacks, observer, max_hours, resume=False)

    def _new_files(self) -> dict[str, Any]:
        """What a new run folder is begun with: ``run.json``, which makes it a run, is last."""
        recipe = self.resolved.recipe
        info = {
            "dlsuite": __version__,
            "recipe": self.resolved.name,
            "task": recipe.task,
            "model": recipe.model.name,
            "data": recipe.data.name,
            "created": _now(),
            "epochs_done": 0,
            "steps_done": 0,
            "best": None,
            "parameters": self.task.model.count_params(),
            "features": dict(self.task.features),
            "settings": recipe.model_dump(mode="json"),
            "execution": asdict(self.execution),
            **_RUNNING,
        }
        described = self.task.dataset.describe()
        return {"environment.json": describe(), "dataset.json": described, "run.json": info}

    def resume(
        self,
        folder: RunFolder,
        *,
        callbacks: Sequence["keras.callbacks.Callback"] = (),
        observer: "Observer | None" = None,
        max_hours: float | None = None,
    ) -> "Run":
        """Goes on with the run in a folder, of which this is the plan, and returns it.

        Raises:
            DlsuiteError: another process trains the run, or the folder can't be written.
        """
        folder = RunFolder(folder.path, writes=self.workers.is_chief)
        return self._carry_out(lambda: folder, callbacks, observer, max_hours, resume=True)

    def _carry_out(
        self,
        open_folder: Callable[[], RunFolder],
        callbacks: Sequence["keras.callbacks.Callback"],
        observer: "Observer | None",
        max_hours: float | None,
        *,
        resume: bool,
    ) -> "Run":
        from dlsuite.engine.signals import StopRequest, stop_on_signals
        from dlsuite.engine.strategy import placement
        from dlsuite.engine.training import train_task
        from dlsuite.runs.lock import locked

        request = StopRequest(max_hours, highest=self.workers.highest)
        with contextlib.ExitStack() as stack:
            # from before the folder is made until it says how the run ended
            stack.enter_context(stop_on_signals(request))
            folder = open_folder()
            self._begun.append(True)
            watch = TASKS[self.resolved.recipe.task].details.get("watched_by")
            if watch and folder.writes:
                # at the end: the chief alone has them, and what callbacks remember goes by place
                callbacks = [*callbacks, *pkgutil.resolve_name(watch)(self.task, folder.path)]

            def begin() -> str:
                stack.enter_context(locked(folder))
                folder.write_text("recipe.toml", to_toml(self.resolved))
                if resume:
                    before = folder.read_info()["status"]
                    part = {"began": _now(), "step": folder.checkpoint_step}
                    part |= {"execution": asdict(self.execution), "environment": describe()}
                    # written anew: a full disk may have cut the last row
                    folder.write_rows("parts.jsonl", [*folder.read_rows("parts.jsonl"), part])
                    folder.update(**_RUNNING)
                    return before
                if _is_file(self.task.recipe.model.name):
                    folder.keep_base(self.task.recipe.model.name)
                for name, value in self._new_files().items():
                    folder.write(name, value)
                return ""

            # the chief's word: another worker may read the status after it was changed
            before = self.workers.on_chief(begin)
            stack.enter_context(placement(self.strategy, self.execution.device))
            status = train_task(
                self.task,
                folder,
                execution=self.execution,
                request=request,
                callbacks=callbacks,
                observer=observer,
                resume=resume,
                past_stop=before == "stopped",
            )
        # a worker beside the chief may not see the folder
        return Run(folder, status=status)


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


def plan_resolved(resolved: Resolved, execution: Mapping[str, Any] | None = None) -> Plan:
    """Returns a checked plan of a resolved recipe.

    Args:
        resolved: the recipe.
        execution: what an earlier part of the run resolved; None resolves it now.
    """
    check_names(resolved.recipe)
    prepare()
    resolved = with_absolute_paths(resolved)
    from dlsuite.engine.device import explaining, resolve_execution, set_up
    from dlsuite.engine.replicas import prepare_model
    from dlsuite.engine.strategy import check_batch, choose_strategy, placement
    from dlsuite.engine.training import check_monitor
    from dlsuite.engine.xla import measure_xla
    from dlsuite.tasks import load_task

    train = resolved.recipe.train
    device, threads = set_up(train, threads=execution["threads"] if execution else None)
    task_class = load_task(resolved.recipe.task)
    check_monitor(resolved.recipe, task_class.metrics)
    strategy = choose_strategy(train.devices, device)
    replicas = strategy.num_replicas_in_sync
    check_batch(train.batch_size, replicas)
    with placement(strategy, device), explaining(resolved.recipe, device):
        task = task_class(resolved.recipe)
        prepare_model(
            task.model,
            task.optimizers,
            accumulate=resolved.recipe.optimizer.accumulate,
            synchronize=train.synchronize_statistics,
        )
        before = execution
        if before is None and train.xla == "auto" and replicas == 1:
            before = dict(zip(("use_xla", "xla_reason"), measure_xla(task, device), strict=True))
    fixed = resolve_execution(
        train,
        task.model,
        device=device,
        threads=threads,
        replicas=replicas,
        workers=worker()[1],
        before=before,
    )
    return Plan(resolved, task, fixed, strategy)


def without_download(resolved: Resolved) -> Resolved:
    """Returns the recipe with random weights where it asks for pretrained ones of Keras's.

    The network is the same in all but its values: enough to count and check it.
    """
    model = resolved.recipe.model
    if not model.name.startswith("keras:"):
        return resolved
    return with_model(resolved, model.model_copy(update={"weights": "random"}))


def with_model(resolved: Resolved, model: Model) -> Resolved:
    """Returns the recipe with another section on its network."""
    return replace(resolved, recipe=resolved.recipe.model_copy(update={"model": model}))


def with_absolute_paths(resolved: Resolved) -> Resolved:
    """Returns the recipe with the paths of its data and model made absolute.

    The run keeps them, and is to find the same files from any working folder.

    Raises:
        DlsuiteError: a reader without a path.
    """
    from dlsuite.data.load import absolute_name

    data, model = resolved.recipe.data, resolved.recipe.model
    changes = {"data": data.model_copy(update={"name": absolute_name(data.name)})}
    if _is_file(model.name):
        path = str(Path(model.name).absolute())
        changes["model"] = model.model_copy(update={"name": path})
    return replace(resolved, recipe=resolved.recipe.model_copy(update=changes))


def check_names(recipe: Recipe) -> None:
    """Checks the names, options and paths in a recipe, before TensorFlow is imported.

    Raises:
        DlsuiteError: a model, optimizer or schedule that does not exist, or not with that option;
            a model of another task; a file or folder that is not there.
    """
    from dlsuite.data.load import check_place

    model, task = recipe.model.name, recipe.task
    serves = MODELS[model].details.get("task", DEFAULT_TASK)
    if serves != task:
        fitting = [n for n in MODELS if MODELS[n].details.get("task", DEFAULT_TASK) == task]
        raise DlsuiteError(
            f"A model is made for one task. Received: {model!r}, which is for {serves!r}, in a "
            f"recipe of the task {task!r}. Choose one of: {', '.join(fitting)}."
        )
    for where, registry in (
        ("model", MODELS),
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
    ):
        section = getattr(recipe, where)
        declared = [key for key in type(section).model_fields if key != "name"]
        registry.check_options(section.name, section.options, where, declared=declared)
    for name in (recipe.data.name, recipe.model.name):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DlsuiteError(
                f"A run notes its paths as UTF-8 text. Received: {name!r}, which is none. Rename "
                "the file or folder, or link to it by another name."
            ) from None
    if _is_file(recipe.model.name):
        check_file(recipe.model.name)
    check_place(recipe.data.name)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _is_file(model: str) -> bool:
    return model.endswith(".keras") and not model.startswith("keras:")
