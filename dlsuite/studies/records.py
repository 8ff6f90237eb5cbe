"""A race's folder: the plan, one file a trial, and nothing that can't be read without dlsuite.

==================  ======================================================================
``plan.json``       all that decides the numbers; see `dlsuite.studies.plan.RacePlan`
``target.json``     what the baselines set, or what was asked for
``dataset.json``    sizes, labels' checksums, mean and deviation of a recipe's data, and how many
                    examples of validation and test the curves are measured on
``estimate.json``   how long the race was expected to take, and from which timing
``environment.json``  versions and hardware
``trials/``         one file a trial: its parameters, seed, curves and seconds
``report/``         page, figures, tables: drawn from the above alone
==================  ======================================================================

Files are replaced atomically. A trial's file is there when the trial has ended, and a race that
was killed goes on with those that are missing.
"""

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict

from dlsuite.errors import DlsuiteError
from dlsuite.runs.folder import RunFolder
from dlsuite.runs.lock import locked
from dlsuite.studies.plan import RacePlan, Trial


class Record(BaseModel):
    """What a trial gave.

    Attributes:
        trial: what was run.
        status: ``ended`` or ``diverged``.
        diverged_at: the first step without finite numbers.
        steps: where the curves were read, from 0.
        curves: name to one value a step of `steps`; None where there is none. ``loss`` is the
            mean of training since the step before, ``moved`` how far the weights moved since
            then over their norm.
        seconds: of training up to each step of `steps`, without compiling and evaluating.
        state_values: numbers that the optimizer keeps for each weight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trial: Trial
    status: Literal["ended", "diverged"]
    diverged_at: int | None
    steps: list[int]
    curves: dict[str, list[float | None]]
    seconds: list[float]
    state_values: float

    def values(self, curve: str) -> list[float]:
        """Returns a curve with NaN where there is no value."""
        return [math.nan if value is None else value for value in self.curves[curve]]


class Target(BaseModel):
    """What a trial has to reach.

    Attributes:
        measure: ``accuracy``, to be reached from below, or ``loss``, from above.
        validation: on the split that tuning looks at.
        test: on the split that is reported.
        source: where it comes from, in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Literal["accuracy", "loss"]
    validation: float
    test: float
    source: str


class RaceFolder:
    """The folder of one race.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._files = RunFolder(path, kind="race")

    @staticmethod
    def check_new(path: Path) -> None:
        """Checks that a race can be written there, and makes nothing.

        Raises:
            DlsuiteError: the folder exists and holds something, or can't be written.
        """
        RunFolder(path, kind="race").check_new()

    def locked(self) -> AbstractContextManager[None]:
        """Holds the race for this process; see `dlsuite.runs.lock.locked`."""
        return locked(self._files)

    @classmethod
    def create(cls, path: Path, plan: RacePlan) -> "RaceFolder":
        """Makes a new folder with a plan.

        Raises:
            DlsuiteError: the folder holds something already, or can't be written.
        """
        folder = cls(path)
        cls.check_new(path)
        (path / "trials").mkdir(parents=True, exist_ok=True)
        folder.write("plan.json", plan.model_dump(mode="json"))
        return folder

    @classmethod
    def open(cls, path: str | Path) -> "RaceFolder":
        """Opens an existing race.

        Raises:
            DlsuiteError: there is none at the path.
        """
        folder = cls(path)
        if not (folder.path / "plan.json").is_file():
            raise DlsuiteError(
                "A race is a folder that `dlsuite compare-optimizers` wrote, with plan.json. "
                f"Received: '{path}', which has none. Give the folder that the command named."
            )
        return folder

    def plan(self) -> RacePlan:
        """Returns the plan.

        Raises:
            DlsuiteError: it is damaged.
        """
        return self._model(RacePlan, "plan.json")

    def target(self) -> Target | None:
        """Returns the target, None before the baselines have run."""
        if not (self.path / "target.json").is_file():
            return None
        return self._model(Target, "target.json")

    def records(self) -> dict[str, Record]:
        """Returns what has ended, by the trial's name.

        Raises:
            DlsuiteError: a trial's file is damaged, or is not of the plan.
        """
        plan = self.plan()
        files = sorted((self.path / "trials").glob("[!.]*.json"))
        records = {file.stem: self._model(Record, f"trials/{file.name}") for file in files}
        for name, record in records.items():
            is_whole = record.status == "diverged" or record.steps[-1] == plan.steps
            if record.trial.name != name or not plan.makes(record.trial) or not is_whole:
                raise DlsuiteError(
                    "A race's trials are those of its plan. Received: "
                    f"'{self.path / 'trials' / name}.json', of a contender, study, seed or length "
                    "that plan.json does not have. Put plan.json back; another race has its own "
                    "folder, with --plan."
                )
        return records

    def dataset(self) -> dict[str, Any] | None:
        """Returns what is known of the data that the race runs on; None of a problem on paper."""
        try:
            return json.loads((self.path / "dataset.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DlsuiteError(
                f"A race's dataset.json must be readable. Received: '{self.path / 'dataset.json'}' "
                f"({error}). Restore it from a copy."
            ) from None

    def add(self, record: Record) -> None:
        """Writes an ended trial's file."""
        self.write(f"trials/{record.trial.name}.json", record.model_dump(mode="json"))

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Replaces a JSON file atomically."""
        self._files.write_text(name, json.dumps(value, indent=1, allow_nan=False) + "\n")

    def clear_unfinished(self) -> None:
        """Removes what a killed process was writing when it ended."""
        self._files.clear_unfinished()

    def _model(self, kind: type[BaseModel], name: str) -> Any:
        try:
            return kind.model_validate_json((self.path / name).read_bytes())
        except (OSError, pydantic.ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise DlsuiteError(
                f"A race's {name} must be readable. Received: '{self.path / name}' ({reason}). "
                "Restore it from a copy; a trial's file may be removed, and is run again."
            ) from None


def default_path(problem: str, now: datetime) -> Path:
    """Returns ``studies/PROBLEM-TIME``, with a number behind it where that exists."""
    base = Path("studies") / f"{problem}-{now:%Y%m%d-%H%M%S}"
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path


def finite(value: float) -> float | None:
    """Returns the number, or None in the place of one that is not finite."""
    return float(value) if math.isfinite(value) else None
