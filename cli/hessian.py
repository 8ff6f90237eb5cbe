"""The Hessian's part of `dlsuite loss-landscape`."""

import json
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import Progress

from dlsuite.cli.console import err, note

if TYPE_CHECKING:
    from dlsuite.analysis.landscape_modes import Subject

_STEPS, _PROBES, _TOP = 40, 8, 5


def measure_hessians(subjects: list["Subject"], folder: Path, *, seed: int) -> dict[str, Any]:
    """Measures each network's curvature on its training samples; returns files and runs."""
    from dlsuite.analysis.curvature import Curvature, LossAt, measure_curvature
    from dlsuite.analysis.landscape import weights_of
    from dlsuite.analysis.landscape_grid import digest, samples_digest
    from dlsuite.reports import path, style
    from dlsuite.runs.folder import replacing
    from dlsuite.studies.budget import duration

    losses = [LossAt(subject.model, subject.samples["train"]) for subject in subjects]
    numbers = folder / "hessian.json"
    abouts = [
        {
            "run": subject.name,
            "split": "train",
            "weights": loss.size,
            "digest": digest(weights_of(subject.model)),
            "samples": subject.samples["train"].labels.shape.num_elements(),
            "seed": seed,
            "data": samples_digest({"train": subject.samples["train"]}),
        }
        for subject, loss in zip(subjects, losses, strict=True)
    ]
    before = _read(numbers)
    rows = [next((row for row in before if a.items() <= row.items()), None) for a in abouts]
    seconds = 0.0
    for loss, row in zip(losses, rows, strict=True):
        if row is not None:
            continue
        loss.product(np.ones(loss.size))  # compiles
        start = time.perf_counter()
        loss.product(np.ones(loss.size))
        seconds += _PROBES * (_STEPS + 1) * (time.perf_counter() - start)
    if None in rows:
        note(
            f"{_PROBES} probes of {_STEPS + 1} products with each Hessian; this will take about "
            f"{duration(seconds)}."
        )
    else:
        note("All Hessians are there already.")
    folder.mkdir(parents=True, exist_ok=True)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        for place, (about, loss) in enumerate(zip(abouts, losses, strict=True)):
            if rows[place] is not None:
                continue
            task = bar.add_task(about["run"], total=_PROBES * (_STEPS + 1))
            for event in measure_curvature(loss, top=_TOP, steps=_STEPS, probes=_PROBES, seed=seed):
                if isinstance(event, int):
                    bar.update(task, completed=event)
            # the last event is the curvature
            plain = {
                key: value.tolist() if isinstance(value, np.ndarray) else value
                for key, value in vars(event).items()
            }
            rows[place] = {**about, **plain}
            # read again: another process may have added to it
            own = {about["run"] for about in abouts}
            others = [row for row in _read(numbers) if row["run"] not in own]
            with replacing(numbers) as temporary:
                measured = [*others, *(row for row in rows if row is not None)]
                temporary.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    names = [field.name for field in fields(Curvature)]
    found = [Curvature(**{name: _array(row[name]) for name in names}) for row in rows]
    figure = path.spectra([subject.name for subject in subjects], found)
    files = [style.save(figure, folder / "hessian.png"), numbers]
    return {"files": [file.name for file in files], "runs": rows}


def _read(numbers: Path) -> list[dict[str, Any]]:
    """What the file holds of networks that were measured; nothing where it can't be read."""
    try:
        rows = json.loads(numbers.read_text(encoding="utf-8"))
        return [row for row in rows if {"run", "digest", "eigenvalues"} <= row.keys()]
    except (OSError, ValueError, TypeError, AttributeError):
        return []


def _array(value: Any) -> Any:
    return np.array(value) if isinstance(value, list) else value
