"""The run folder: everything about one training run, readable without dlsuite.

====================  =====================================================================
``run.json``          status, times, progress, the best epoch, what was resolved (XLA, threads)
``recipe.toml``       the resolved recipe, runnable as it stands
``environment.json``  versions, hardware, devices, as the run began
``parts.jsonl``       a row for each resume: when, and its execution and environment
``dataset.json``      classes, image shape, statistics, size of each split
``metrics.jsonl``     metrics by step: running means since the epoch began
``digests.jsonl``     hash of the weights after the first steps, for ``dlsuite verify``
``history.json``      metrics by epoch; ``history.csv`` holds the same
``timing.jsonl``      wall-clock time by epoch, apart from all that a repeated run repeats; an
                      epoch that was cut by a pause has a row for each part
``model.keras``       the model at its best epoch, opened by plain Keras
``checkpoints/``      ``last.keras``, the model at the last epoch
``base/``             of a run that fine-tunes a file: that file, as it was when the run began
====================  =====================================================================

Files are replaced atomically, so that a reader or a crash finds the old one or the new one.
"""

import csv
import errno
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dlsuite.bounded import read_text
from dlsuite.errors import DlsuiteError

# Where runs lie that are given no folder, below the working folder.
_RUNS = Path("runs")
# The option that names a new folder.
_OPTIONS = {"run": "--run-dir", "race": "--output"}
# Keys of run.json that are there from a run's first moment.
_BEGUN_WITH = (
    *("recipe", "status", "epochs_done", "steps_done", "best"),
    *("features", "settings", "execution"),
)
# What a new run's folder holds before it is one.
_CHECKPOINTS, _BASE = "checkpoints", "base"
_BEFORE_RUN = {
    *("lock", _CHECKPOINTS, _BASE),
    *("recipe.toml", "environment.json", "dataset.json"),
}
# Of a JSON file: the history of a million epochs.
_MOST_BYTES = 2**28


@dataclass(frozen=True)
class RunSummary:
    """What a listing shows of a run.

    Attributes:
        path: the run folder.
        info: the content of ``run.json``.
    """

    path: Path
    info: Mapping[str, Any]


class RunFolder:
    """One run's folder, or a race's, for writing and for reading.

    Args:
        path: the folder. It need not exist to be created, and must be a run to be read.
        writes: False in a worker process that leaves it to another to write the run: whatever
            would change a file then does nothing.
        kind: ``run`` or ``race``, for what users are told.
    """

    def __init__(self, path: str | Path, *, writes: bool = True, kind: str = "run"):
        self.path = Path(path)
        self.writes = writes
        self.kind = kind

    @property
    def model_path(self) -> Path:
        """The saved model of the best epoch."""
        return self.path / "model.keras"

    @property
    def last_model_path(self) -> Path:
        """The saved model of the last epoch."""
        return self.path / _CHECKPOINTS / "last.keras"

    @property
    def checkpoint_paths(self) -> list[Path]:
        """The checkpoints, newest first."""
        return sorted((self.path / _CHECKPOINTS).glob("step-*.safetensors"), reverse=True)

    @property
    def checkpoint_step(self) -> int:
        """The step of the newest checkpoint, damaged or not; 0 where there is none."""
        steps = (path.stem.removeprefix("step-") for path in self.checkpoint_paths)
        return max((int(step) for step in steps if step.isdecimal()), default=0)

    def base_path(self, model: str) -> Path:
        """Where the run keeps the file that it fine-tunes, by its name in the recipe."""
        return self.path / _BASE / Path(model).name

    @classmethod
    def create(cls, path: str | Path) -> "RunFolder":
        """Makes a new, empty run folder.

        Raises:
            DlsuiteError: the folder exists and holds something, or can't be written.
        """
        folder = cls(path)
        folder.check_new()
        with writing(folder.path, exists=False):
            folder.last_model_path.parent.mkdir(parents=True, exist_ok=True)
        return folder

    def check_new(self) -> None:
        """Checks that a run can be written here, and makes nothing.

        Raises:
            DlsuiteError: the folder exists and holds something, or can't be written.
        """
        if self.path.exists() and not (self.path.is_dir() and self._is_empty()):
            raise DlsuiteError(
                f"A {self.kind} folder must be new or empty; nothing is ever overwritten. "
                f"Received: '{self.path}', which exists. Choose another {_OPTIONS[self.kind]}, or "
                "remove it."
            )
        with writing(self.path, exists=False):
            check_writable(self.path)

    def _is_empty(self) -> bool:
        """Whether nothing is in the folder but what a run has that was killed as it was begun."""
        names = {path.name for path in self.path.iterdir() if ".writing" not in path.name}
        # without the lock a recipe is the user's own
        return names <= {_CHECKPOINTS} or ("lock" in names and names <= _BEFORE_RUN)

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Opens an existing run folder.

        Args:
            path: the folder, or the bare name of one in ``./runs``, as listings print it.

        Raises:
            DlsuiteError: there is no run at the path, or one with links that lead out of it.
        """
        folder = cls(path)
        if not folder.path.exists() and len(folder.path.parts) == 1:
            folder = cls(_RUNS / path) if (_RUNS / path).is_dir() else folder
        if not folder.path.is_dir():
            raise DlsuiteError(
                f"A run is a folder that `dlsuite train` wrote. Received: '{path}', which is "
                "no folder. List your runs with `dlsuite runs`."
            )
        if not (folder.path / "run.json").is_file():
            raise DlsuiteError(
                f"A run folder holds run.json. Received: '{path}', which has none. "
                "List your runs with `dlsuite runs`."
            )
        folder._check_links()
        return folder

    def _check_links(self) -> None:
        """Checks that what is written here stays here: a folder from others may hold links."""
        root = self.path.resolve()
        for parent, folders, files in os.walk(root):
            for path in (Path(parent, name) for name in (*folders, *files)):
                if path.is_symlink() and not path.resolve().is_relative_to(root):
                    raise DlsuiteError(
                        "A run folder holds its own files, since they may be written. Received: "
                        f"'{path}', a link to '{path.resolve()}'. Put a copy in the link's place."
                    )

    def read(self, name: str) -> Any:
        """Returns the content of a JSON file of the run.

        Raises:
            DlsuiteError: the file is missing or damaged.
        """
        path = self.path / name
        try:
            return json.loads(read_text(path, most_bytes=_MOST_BYTES))
        except OSError as error:
            reason = error.strerror
        except ValueError as error:
            reason = f"no JSON: {error}"
        except RecursionError:
            reason = "no JSON of dlsuite's: nested too deeply"
        raise DlsuiteError(
            f"The run's {name} must be readable. Received: '{path}' ({reason}). "
            "Restore the file from a copy, or train again."
        )

    def read_info(self) -> dict[str, Any]:
        """Returns the content of ``run.json``, which holds all that a run begins with.

        Raises:
            DlsuiteError: the file is missing or damaged.
        """
        info = self.read("run.json")
        missing = [key for key in _BEGUN_WITH if not isinstance(info, dict) or key not in info]
        if missing:
            raise DlsuiteError(
                f"The run's run.json must hold {', '.join(_BEGUN_WITH)}. Received: "
                f"'{self.path / 'run.json'}' without {', '.join(missing)}. Restore the file from a "
                "copy, or train again."
            )
        return info

    def write(self, name: str, value: Any) -> None:
        """Replaces a JSON file of the run atomically."""
        self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Replaces a text file of the run atomically.

        Raises:
            DlsuiteError: the file can't be written.
        """
        if not self.writes:
            return
        with writing(self.path), replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @contextmanager
    def saving(self, path: Path) -> Iterator[Path]:
        """Yields where to save a model that then takes the place of `path` atomically."""
        with writing(self.path), replacing(path) as temporary:
            yield temporary

    def keep_base(self, file: str) -> None:
        """Copies the file of the network that the run fine-tunes to its `base_path`."""
        kept = self.base_path(file)
        with writing(self.path):
            kept.parent.mkdir(exist_ok=True)
        with self.saving(kept) as temporary:
            shutil.copyfile(file, temporary)

    def clear_unfinished(self) -> None:
        """Removes what a killed process was writing when it ended."""
        for path in self.path.rglob(".*.writing*"):
            path.unlink(missing_ok=True)

    def append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Appends rows to a file of JSON lines."""
        if not self.writes:
            return
        with writing(self.path), (self.path / name).open("a", encoding="utf-8") as file:
            file.write(_lines(rows))

    def write_rows(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replaces a file of JSON lines."""
        self.write_text(name, _lines(rows))

    def read_rows(self, name: str) -> list[dict[str, Any]]:
        """Returns the rows of a file of JSON lines: none where it is missing, only whole ones."""
        try:
            lines = (self.path / name).read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line.decode("utf-8")))
            except ValueError:  # a kill cut it short, or a byte of it is damaged
                continue
        return [row for row in rows if isinstance(row, dict)]

    def write_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the metrics by epoch, as JSON and as CSV."""
        self.write("history.json", list(history))
        columns = list(dict.fromkeys(key for row in history for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        self.write_text("history.csv", text.getvalue())

    def update(self, **changes: Any) -> None:
        """Changes keys of ``run.json``."""
        if not self.writes:
            return
        with writing(self.path):
            info = self.read("run.json") if (self.path / "run.json").exists() else {}
        self.write("run.json", info | changes)


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def check_writable(folder: Path) -> None:
    """Checks that files can be written into a folder, which need not exist, and makes nothing.

    Raises:
        OSError: they can't; with the reason in words.
    """
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"'{existing}' is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"no permission to write in '{existing}'")


@contextmanager
def replacing(path: Path):
    """Yields a temporary path beside `path` that takes its place, on disk, when all went well."""
    temporary = path.with_name(f".{path.stem}.writing{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path, *, exists: bool = True) -> Iterator[None]:
    """Says in a sentence what goes wrong where a run's or race's folder is written.

    Args:
        folder: which.
        exists: whether it should be there.

    Raises:
        DlsuiteError: the system refused.
    """
    try:
        yield
    except OSError as error:
        if exists and error.errno == errno.ENOENT:
            raise DlsuiteError(
                f"The folder must stay where it is while it is written. Received: '{folder}' is "
                "gone or not a folder any more. Put it back, or begin anew."
            ) from error
        raise DlsuiteError(
            f"The folder must be writable. Received: '{folder}' ({error.strerror}). What was "
            "written before is kept. Free space or choose another."
        ) from error


def default_path(recipe_name: str, now: datetime | None = None) -> Path:
    """Returns ``runs/RECIPE-TIME``, with a number behind it where that exists."""
    time = (now or datetime.now(UTC)).astimezone()
    base = _RUNS / f"{recipe_name}-{time:%Y%m%d-%H%M%S}"
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path


def list_runs(folder: str | Path = _RUNS) -> list[RunSummary]:
    """Returns the runs directly under a folder, newest first."""
    runs = []
    for path in Path(folder).glob("*/run.json"):
        try:
            info = RunFolder(path.parent).read("run.json")
        except DlsuiteError:
            info = None
        # a damaged run must not hide the others
        runs.append(
            RunSummary(path.parent, info if isinstance(info, dict) else {"status": "damaged"})
        )
    return sorted(runs, key=lambda run: str(run.info.get("created") or ""), reverse=True)
