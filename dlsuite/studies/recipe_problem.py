"""A recipe as the ground of a race: its data, network and loss, trained by any contender."""

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from dlsuite.data.dataset import evenly_spaced
from dlsuite.data.pipeline import evaluation_batches, training_batches
from dlsuite.data.source import subset
from dlsuite.engine.device import explaining, resolve_execution, set_up
from dlsuite.engine.loop import Block, Loop
from dlsuite.errors import DlsuiteError
from dlsuite.models.build import build_network
from dlsuite.recipes.classification import ClassificationRecipe
from dlsuite.studies.budget import Timing
from dlsuite.studies.plan import Contender, Trial
from dlsuite.studies.records import Record, finite
from dlsuite.studies.tunable import TunableOptimizer
from dlsuite.tasks.classification import Classification, normalization

# A seed's batches are kept up to this size [bytes], since many trials share a seed; all seeds'
# batches, and their initial weights, up to the second.
_KEPT_BYTES = 100 * 2**20
_ALL_KEPT_BYTES = 1024 * 2**20
_EVALUATED = 2000  # examples
_TIMED = 16  # steps
_CLIPPING = ("clip_norm", "clip_global_norm", "clip_value")


class RecipeProblem:
    """Trains a recipe's network, one trial after the other, without building it anew.

    A contender's step is compiled once; a trial resets the network to its seed's initial weights
    and random streams and the optimizer to its first step. The seed decides both and the order
    of the data, so that all contenders meet the same on the same seed.

    Args:
        recipe: data, network, loss, batch size, augmentation and clipping are its own; its
            optimizer and schedule are the contenders'.

    A trial's clock counts training steps alone: the batches of a small problem are read and
    augmented before it, those of a large one while it runs.

    Attributes:
        measure: what the target is of.
        recipe: with the device, the threads and the use of XLA that were resolved.
        steps_per_epoch: full batches of the training split.
        notes: sentences for the user.

    Raises:
        DlsuiteError: the data have no test split, or the recipe accumulates gradients, scales
            losses or averages weights, which a race leaves to the optimizers.
    """

    measure = "accuracy"

    def __init__(self, recipe: ClassificationRecipe):
        _check(recipe)
        self._device, threads = set_up(recipe.train)
        self._explaining = partial(explaining, recipe, self._device)
        with tf.device(self._device), self._explaining():
            self._task = Classification(recipe)
        self._model = self._task.model
        if "test" not in self._task.dataset.splits:
            raise DlsuiteError(
                "A race is tuned on validation and reported on test. Received: "
                f"{recipe.data.name!r} without a test split. Add one to the data."
            )
        execution = resolve_execution(
            recipe.train, self._model, device=self._device, threads=threads
        )
        self._use_xla = execution.use_xla
        fixed = {
            # an auto of another machine is another device
            "device": self._device.strip("/").lower() if "GPU" in self._device else "cpu",
            "threads": threads,
            "xla": "on" if self._use_xla else "off",
        }
        self.recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=fixed)})
        self.steps_per_epoch = self._task.steps_per_epoch
        self.notes = [*self._task.dataset.notes, *self._task.network.notes]
        self._evaluated: dict[str, int] = {}
        self._evaluation = Loop(self._model, use_xla=self._use_xla)
        self._splits = {name: self._evaluation_data(name) for name in ("validation", "test")}
        start = time.perf_counter()
        with self._explaining():
            batches = list(self._read(recipe.train.seed).take(_TIMED))
        self._batch_s = (time.perf_counter() - start) / _TIMED
        kept = tuple(tf.stack(tensors) for tensors in zip(*batches, strict=True))
        self._warm = tf.data.Dataset.from_tensor_slices(kept)
        self._initial: dict[int, list[np.ndarray]] = {}
        self._batches: dict[int, tf.data.Dataset] = {}
        self._contender: Contender | None = None

    def prepare(self, contender: Contender, *, steps: int, evaluate_every: int) -> None:
        """Compiles a contender's step; trials of it may then be run.

        Args:
            contender: who is next.
            steps: of a trial.
            evaluate_every: steps between evaluations.
        """
        self._contender, self._steps, self._every = contender, steps, evaluate_every
        with tf.device(self._device), self._explaining():
            self._optimizer = TunableOptimizer(
                contender, self._model.trainable_variables, steps=steps, clipping=self.clipping
            )
            self._model.optimizer = self._optimizer.optimizer
            self._loop = Loop(self._model, use_xla=self._use_xla)
            # the compiling is done here and no trial's clock sees it
            for _ in self._loop.train(self._warm, steps_per_epoch=2, epochs=1):
                pass
            self._evaluate()

    @property
    def clipping(self) -> dict[str, float]:
        """The recipe's clipping of gradients, by the setting's name."""
        settings = {name: getattr(self.recipe.optimizer, name) for name in _CLIPPING}
        return {name: value for name, value in settings.items() if value is not None}

    def timing(self, contender: Contender) -> Timing:
        """Returns what a step and the work around it take, from a few steps of a contender."""
        start = time.perf_counter()
        self.prepare(contender, steps=_TIMED, evaluate_every=_TIMED)
        prepared = time.perf_counter()
        with tf.device(self._device):
            blocks = [
                event
                for event in self._loop.train(self._warm, steps_per_epoch=_TIMED, epochs=1)
                if isinstance(event, Block)
            ]
            trained = time.perf_counter()
            self._evaluate()
        evaluated = time.perf_counter()
        return Timing(
            prepare_s=prepared - start,
            step_s=sum(block.seconds for block in blocks) / _TIMED,
            evaluate_s=evaluated - trained,
            batch_s=self._batch_s,
            kept_steps=int(_KEPT_BYTES // self._bytes_of(1)),
        )

    def run(self, trial: Trial) -> Record:
        """Returns what a trial of the prepared contender gave.

        A trial without finite numbers ends there.
        """
        with tf.device(self._device), self._explaining():
            return self._run(trial)

    def describe_data(self) -> dict[str, Any]:
        """Returns what a race keeps of its data, as plain values for JSON."""
        return {**self._task.dataset.describe(), "evaluated": self._evaluated}

    def check_data(self, described: Mapping[str, Any]) -> None:
        """Checks that the data are what `describe_data` once said.

        Raises:
            DlsuiteError: they aren't.
        """
        if changed := self._task.dataset.differences(described):
            raise DlsuiteError(
                "All trials of a race run on the same data. Received: "
                f"{self.recipe.data.name!r}, where {'; '.join(changed)}. Put the data back, or "
                "begin another race by the same plan: --plan."
            )

    def _run(self, trial: Trial) -> Record:
        self._optimizer.reset(trial.parameters)
        for variable, value in zip(
            self._model.variables, self._initial_values(trial.seed), strict=True
        ):
            variable.assign(value)
        names = ("loss", "moved", *(f"{s}_{m}" for s in self._splits for m in ("loss", "accuracy")))
        curves: dict[str, list[float | None]] = {name: [] for name in names}
        steps, seconds, clock = [], [], 0.0
        weights, diverged_at = self._weights(), None

        def note(step: int, **values: float) -> None:
            steps.append(step)
            seconds.append(clock)
            for name, value in (values | self._evaluate()).items():
                curves[name].append(finite(value))

        note(0, loss=np.nan, moved=np.nan)
        events = self._loop.train(
            self._order(trial.seed),
            steps_per_epoch=self._every,
            epochs=self._steps // self._every,
        )
        for event in events:
            if isinstance(event, Block):
                clock += event.seconds
                diverged_at = event.first_not_finite
                continue
            before, weights = weights, self._weights()
            moved = _norm(a - b for a, b in zip(weights, before, strict=True)) / _norm(before)
            note(event.step, loss=event.history[-1]["loss"], moved=moved)
        return Record(
            trial=trial,
            status="ended" if diverged_at is None else "diverged",
            diverged_at=diverged_at,
            steps=steps,
            curves=curves,
            seconds=seconds,
            state_values=self._optimizer.state_values,
        )

    def _evaluate(self) -> dict[str, float]:
        return {
            f"{split}_{name}": value
            for split, batches in self._splits.items()
            for name, value in self._evaluation.evaluate(batches).items()
        }

    def _weights(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self._model.trainable_variables]

    def _initial_values(self, seed: int) -> list[np.ndarray]:
        """The network's variables as a run with this seed begins with them."""
        if seed not in self._initial:
            dataset, recipe = self._task.dataset, self.recipe
            mean, std = normalization(recipe.data, dataset)
            network = build_network(
                recipe.model.name,
                image_shape=dataset.image_shape,
                num_classes=dataset.num_classes,
                mean=mean,
                std=std,
                seed=seed,
                options=recipe.model.options,
            )
            values = [variable.numpy() for variable in network.model.variables]
            _remember(self._initial, seed, values, sum(value.nbytes for value in values))
        return self._initial[seed]

    def _order(self, seed: int) -> tf.data.Dataset:
        """A seed's training batches, from the first on."""
        if seed not in self._batches:
            batches, num_bytes = self._read(seed), 0
            if self._keeps(self._steps):
                # augmented once: all trials on the seed read the same batches
                read = zip(*batches.take(self._steps), strict=True)
                kept = tuple(tf.stack(tensors) for tensors in read)
                batches = tf.data.Dataset.from_tensor_slices(kept).prefetch(tf.data.AUTOTUNE)
                num_bytes = self._bytes_of(self._steps)
            _remember(self._batches, seed, batches, num_bytes)
        return self._batches[seed]

    def _keeps(self, steps: int) -> bool:
        return self._bytes_of(steps) <= _KEPT_BYTES

    def _bytes_of(self, steps: int) -> int:
        images = steps * self.recipe.train.batch_size
        return images * int(np.prod(self._task.dataset.image_shape)) * 4

    def _read(self, seed: int) -> tf.data.Dataset:
        dataset = self._task.dataset
        return training_batches(
            dataset.splits["train"],
            batch_size=self._task.recipe.train.batch_size,
            num_classes=dataset.num_classes,
            seed=seed,
            augment=self._task.recipe.data.augment,
            value_range=dataset.value_range,
        )

    def _evaluation_data(self, name: str) -> tf.data.Dataset:
        split = self._task.dataset.splits[name]
        if split.num_examples > _EVALUATED:
            # an evaluation of all would cost more than the training between two of them
            evenly = evenly_spaced(split.num_examples, _EVALUATED)
            self.notes.append(
                f"Curves are measured on {_EVALUATED:,} of the {split.num_examples:,} {name} "
                "examples, the same for all."
            )
            split = subset(split, evenly)
        self._evaluated[name] = split.num_examples
        return evaluation_batches(
            split,
            batch_size=min(256, split.num_examples),
            num_classes=self._task.dataset.num_classes,
        ).cache()


def _remember(kept: dict[int, Any], seed: int, value: Any, num_bytes: int) -> None:
    """Keeps a seed's value of so many bytes, like all others; beyond a sum the latest gives way.

    Each contender goes through the seeds in the same order: of the oldest none would be left when
    its turn comes again.
    """
    if kept and (len(kept) + 1) * num_bytes > _ALL_KEPT_BYTES:
        kept.popitem()
    kept[seed] = value


def _norm(arrays: Iterable[np.ndarray]) -> float:
    return float(
        np.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays))
    )


def _check(recipe: ClassificationRecipe) -> None:
    settings = {
        "optimizer.accumulate": recipe.optimizer.accumulate > 1,
        "optimizer.ema_decay": recipe.optimizer.ema_decay is not None,
        "train.precision": recipe.train.precision == "float16",
        "train.devices": recipe.train.devices > 1,
    }
    for key, is_set in settings.items():
        if is_set:
            raise DlsuiteError(
                "A race trains on one device, one update a step, without averaged weights or a "
                f"scaled loss. Received: a recipe that sets {key}. Unset it with --set."
            )
