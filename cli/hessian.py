"""The Hessian's part of `dlsuite loss-landscape`."""

import json
import time
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
    from dlsuite.analysis.curvature import LossAt, measure_curvature
    from dlsuite.reports import path, style
    from dlsuite.runs.folder import replacing
    from dlsuite.studies.budget import duration

    losses = [LossAt(subject.model, subject.samples["train"]) for subject in subjects]
    seconds = 0.0
    for loss in losses:
        loss.product(np.ones(loss.size))  # compiles
        start = time.perf_counter()
        loss.product(np.ones(loss.size))
        seconds += _PROBES * (_STEPS + 1) * (time.perf_counter() - start)
    note(
        f"{_PROBES} probes of {_STEPS + 1} products with each Hessian; this will take about "
        f"{duration(seconds)}."
    )
    found, rows = [], []
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        for subject, loss in zip(subjects, losses, strict=True):
            task = bar.add_task(subject.name, total=_PROBES * (_STEPS + 1))
            for event in measure_curvature(loss, top=_TOP, steps=_STEPS, probes=_PROBES, seed=seed):
                if isinstance(event, int):
                    bar.update(task, completed=event)
            curvature = event  # the last one
            found.append(curvature)
            plain = {
                key: value.tolist() if isinstance(value, np.ndarray) else value
                for key, value in vars(curvature).items()
            }
            rows.append({"run": subject.name, "split": "train", "weights": loss.size, **plain})
    folder.mkdir(parents=True, exist_ok=True)
    figure = path.spectra([subject.name for subject in subjects], found)
    files = [style.save(figure, folder / "hessian.png"), folder / "hessian.json"]
    with replacing(files[1]) as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return {"files": [file.name for file in files], "runs": rows}
