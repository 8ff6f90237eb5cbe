"""A race written down before it starts: who runs, what is tried, for how long, on which seeds."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from dlsuite.errors import DlsuiteError, unknown_name
from dlsuite.optimizers import OPTIMIZERS, SCHEDULES
from dlsuite.recipes.classification import ClassificationRecipe
from dlsuite.studies.spaces import Range, defaults, point, unit_points, with_spaces
from dlsuite.studies.surfaces import is_on_paper

OPTIMIZERS_BY_DEFAULT = (
    "sgd",
    "momentum",
    "nesterov",
    "adagrad",
    "rmsprop",
    "adam",
    "adamw",
    "sgdw",
)
# The target of `auto` is what these reach, whoever else takes part.
BASELINES = ("nesterov", "adamw")
# Schedules over the whole of a trial, however many epochs that is.
_SCHEDULES = ("none", "cosine", "polynomial", "multi_step", "one_cycle")
# Evaluations in a trial: the grid on which the time to the target is read.
EVALUATIONS = 12

Phase = Literal["baseline", "default", "tuning", "final"]
# Keeps the streams of random numbers apart.
_STREAMS = {"baseline": 1, "tuning": 2, "final": 3}


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Contender(_Frozen):
    """One optimizer with one schedule and the space that it is tuned in.

    Attributes:
        label: what tables and figures call it; unique.
        optimizer: a row of the optimizer table.
        schedule: a learning-rate schedule; ``none`` is a constant rate.
        space: parameter to range or fixed value.
        defaults: parameter to its untuned value.
    """

    label: str
    optimizer: str
    schedule: str
    space: dict[str, Range | float]
    defaults: dict[str, float]


class Trial(_Frozen):
    """One training of a contender.

    Attributes:
        phase: ``tuning`` chooses, ``final`` counts, ``default`` is untuned on the final seeds,
            ``baseline`` sets the target.
        contender: its label.
        study: the study that the trial belongs to; a final one re-runs that study's winner.
        number: within the phase and study, from 0.
        seed: of initial weights, data order, augmentation and dropout.
        parameters: values of the space's parameters.
    """

    phase: Phase
    contender: str
    study: int
    number: int
    seed: int
    parameters: dict[str, float]

    @property
    def name(self) -> str:
        """Unique in a race; its file's stem."""
        return f"{self.phase}-{self.contender}-{self.study}-{self.number}"


class RacePlan(_Frozen):
    """All that decides the numbers of a race.

    Attributes:
        dlsuite: version that made it.
        problem: a recipe's name or a problem on paper.
        recipe: the resolved recipe with device, threads and XLA fixed; None for a problem on paper.
        contenders: who takes part.
        baselines: whose results set the target; none where it is given.
        trials: tuning trials a study.
        studies: independent tunings of each contender.
        final_seeds: fresh seeds that winners and defaults run on.
        steps: training steps a trial.
        evaluate_every: steps between evaluations.
        target: what to reach; None takes it from the baselines.
        seed: from which all seeds and points follow.
        plugin: name of the module that ``--plugin`` took an optimizer from, if any.
    """

    dlsuite: str
    problem: str
    recipe: ClassificationRecipe | None
    contenders: tuple[Contender, ...]
    baselines: tuple[Contender, ...] = ()
    trials: int
    studies: int
    final_seeds: int
    steps: int
    evaluate_every: int
    target: float | None
    seed: int
    plugin: str | None = None

    @property
    def is_on_paper(self) -> bool:
        """Whether the problem is a surface; a recipe's file may be called like one."""
        return self.recipe is None and is_on_paper(self.problem)

    @property
    def num_seeds(self) -> int:
        """Seeds that trials run on."""
        return self.studies + self.final_seeds + bool(self.baselines)

    @property
    def num_trials(self) -> int:
        """Trials that are certain; widening a range adds some."""
        tuned = sum(is_tuned(contender) for contender in self.contenders)
        each = self.studies * self.trials * tuned + self.studies * (len(self.contenders) - tuned)
        return (
            len(self.baselines) * self.trials + each + 2 * len(self.contenders) * self.final_seeds
        )

    def makes(self, trial: Trial) -> bool:
        """Returns whether a trial is one that this plan asks for, or that widens a range of it."""
        contenders = self.baselines if trial.phase == "baseline" else self.contenders
        if trial.contender not in {contender.label for contender in contenders}:
            return False
        if trial.phase == "baseline":
            return trial.number < self.trials and trial.seed == self.seed_of("baseline", 0)
        if trial.phase == "tuning":
            own = self.seed_of("tuning", trial.study)
            return trial.study < self.studies and trial.seed == own
        study = trial.number % self.studies if trial.phase == "final" else 0
        own = self.seed_of("final", trial.number)
        return trial.number < self.final_seeds and (trial.study, trial.seed) == (study, own)

    def seed_of(self, stream: Literal["baseline", "tuning", "final"], number: int) -> int:
        """Returns the seed of a study's trials or of a final run, the same for all contenders."""
        sequence = np.random.SeedSequence([self.seed, _STREAMS[stream], number])
        return int(sequence.generate_state(1)[0] >> 1)  # a recipe's seeds are below 2^31

    def baseline_trials(self, contender: Contender) -> list[Trial]:
        """Returns the trials whose results set the target, on seeds and points of their own."""
        points = unit_points(self.trials, seed=(self.seed, _STREAMS["baseline"]))
        seed = self.seed_of("baseline", 0)
        return [
            Trial(
                phase="baseline",
                contender=contender.label,
                study=0,
                number=number,
                seed=seed,
                parameters=point(contender.space, unit),
            )
            for number, unit in enumerate(points)
        ]

    def tuning_trials(self, contender: Contender, study: int) -> list[Trial]:
        """Returns a study's trials: the same points of the unit cube for all contenders."""
        points = unit_points(self.trials, seed=(self.seed, _STREAMS["tuning"], study))
        if not is_tuned(contender):
            points = points[:1]  # nothing to choose between
        seed = self.seed_of("tuning", study)
        return [
            Trial(
                phase="tuning",
                contender=contender.label,
                study=study,
                number=number,
                seed=seed,
                parameters=point(contender.space, unit),
            )
            for number, unit in enumerate(points)
        ]

    def default_trials(self, contender: Contender) -> list[Trial]:
        """Returns the untuned trials, on the final seeds."""
        return self._final("default", contender, [contender.defaults])

    def final_trials(
        self, contender: Contender, winners: Sequence[Mapping[str, float]]
    ) -> list[Trial]:
        """Returns the winners' trials on fresh seeds, dealt to the studies in turn.

        Args:
            contender: whose.
            winners: the parameters of each study's best trial.
        """
        return self._final("final", contender, winners)

    def _final(
        self, phase: Phase, contender: Contender, parameters: Sequence[Mapping[str, float]]
    ) -> list[Trial]:
        return [
            Trial(
                phase=phase,
                contender=contender.label,
                study=number % len(parameters),
                number=number,
                seed=self.seed_of("final", number),
                parameters=dict(parameters[number % len(parameters)]),
            )
            for number in range(self.final_seeds)
        ]


def is_tuned(contender: Contender) -> bool:
    """Returns whether anything in a contender's space is left to be chosen."""
    return any(isinstance(wanted, Range) for wanted in contender.space.values())


def make_baselines() -> tuple[Contender, ...]:
    """Returns the contenders that set the target, at a constant rate whoever takes part."""
    return make_contenders(BASELINES, ["none"], [])


def make_contenders(
    optimizers: Sequence[str], schedules: Sequence[str], spaces: Sequence[str]
) -> tuple[Contender, ...]:
    """Returns the contenders: each optimizer with each schedule.

    Args:
        optimizers: names, or ``LABEL=NAME`` for one under another name.
        schedules: names; ``none`` is a constant rate.
        spaces: settings as `with_spaces` takes them, by label without the schedule.

    Raises:
        DlsuiteError: an unknown name, a label or schedule twice, a schedule whose lengths are
            epochs, or what `with_spaces` refuses.
    """
    labels: dict[str, str] = {}
    for text in optimizers:
        label, equals, name = (part.strip() for part in text.partition("="))
        if label in labels:
            raise DlsuiteError(
                f"Each contender has a name of its own. Received: {label!r} twice. "
                "Write LABEL=OPTIMIZER for one of them."
            )
        plain = label.replace("-", "").replace("_", "")
        if not plain.isalnum() or not label[0].isalnum():
            raise DlsuiteError(
                "A contender is OPTIMIZER or LABEL=OPTIMIZER, of letters, digits, - and _, the "
                f"first no - or _. Received: {text!r}. Example: --optimizers adam,slow=adam"
            )
        labels[label] = name if equals else label
        OPTIMIZERS[labels[label]]
    if not labels:
        raise DlsuiteError("A race needs a contender. Received: none. Give --optimizers adam,sgd.")
    for schedule in schedules:
        if schedule not in _SCHEDULES and schedule not in SCHEDULES:
            remedy = f"Schedules: {', '.join(_SCHEDULES)}."
            raise unknown_name("schedule", schedule, _SCHEDULES, remedy)
        if schedule not in _SCHEDULES:
            raise DlsuiteError(
                "A schedule of a race spans the trial, and depends on the step alone. Received: "
                f"{schedule!r}, which counts epochs or waits for the validation. Take one of: "
                f"{', '.join(_SCHEDULES)}."
            )
        if list(schedules).count(schedule) > 1:
            raise DlsuiteError(
                f"Each schedule takes part once. Received: {schedule!r} twice. Leave one out."
            )
    found = with_spaces(labels, spaces)
    return tuple(
        Contender(
            label=label if len(schedules) == 1 else f"{label}+{schedule}",
            optimizer=name,
            schedule=schedule,
            space=found[label],
            defaults=defaults(name, found[label]),
        )
        for label, name in labels.items()
        for schedule in schedules
    )


def rounded_steps(steps: float) -> tuple[int, int]:
    """Returns whole steps a trial and steps between evaluations, which divide them."""
    every = max(1, round(steps / EVALUATIONS))
    return every * EVALUATIONS, every
