"""A race's report: one page, its figures, the table as CSV and JSON. Reads results alone."""

import csv
import html
import io
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from dlsuite.errors import DlsuiteError
from dlsuite.reports import race_curves, race_paths, race_scores, style
from dlsuite.runs.folder import replacing
from dlsuite.studies.records import finite
from dlsuite.studies.scoring import Results, summary_row
from dlsuite.studies.statistics import LEVEL
from dlsuite.studies.verdict import checklist, verdict

# File, drawing, title and caption of each figure.
_FIGURES = (
    (
        "curves.png",
        race_curves.learning_curves,
        "Learning curves",
        "Final runs on fresh seeds: median, and band from the lower to the upper quartile.",
    ),
    (
        "time_to_target.png",
        race_scores.times_to_target,
        "Steps to the target",
        "One dot a fresh run; a cross beyond the line never reached the target.",
    ),
    (
        "profile.png",
        race_scores.performance_profile,
        "Performance profile",
        "Share of the fresh runs in which a contender needs at most that many times the steps of "
        "the fastest one on the same seed.",
    ),
    (
        "ranks.png",
        race_scores.rank_intervals,
        "Ranks",
        "Mean over the fresh runs; intervals by a bootstrap over studies and their runs.",
    ),
    (
        "learning_rates.png",
        race_curves.rate_sensitivity,
        "Sensitivity to the learning rate",
        "Tuning trials, a line a study; other parameters vary too. Cross: diverged. Ring: the "
        "study's winner.",
    ),
    (
        "budget.png",
        race_curves.tuning_budget,
        "What tuning buys",
        "Expected best of that many trials, all studies pooled. Those beyond a range's edge are "
        "left out, and a diverged one counts with what it began with.",
    ),
    (
        "generalisation.png",
        race_scores.generalisation,
        "Generalisation",
        "End of each fresh run. Training loss is that of training mode: augmentation and dropout "
        "raise it.",
    ),
    (
        "updates.png",
        race_curves.weight_movement,
        "Effective update size",
        "How far the weights moved between two evaluations over their norm; median of the fresh "
        "runs.",
    ),
    (
        "cost.png",
        race_scores.cost,
        "Cost",
        "Median time of a training step, and how many numbers the optimizer keeps for a weight.",
    ),
)
# Of a problem on paper besides; the animation is written by itself.
_PATHS = (
    (
        "paths.png",
        race_paths.paths,
        "Paths",
        "Each tuned contender from the first fresh seed's start. Star: minimum. Darker is higher.",
    ),
    ("paths.gif", None, "Paths in time", "The same paths, early steps slower than late ones."),
)
_PIXELS_AN_INCH = 130  # on the page
_ANIMATION_WIDTH = 560
_COLUMNS = (
    ("contender", "contender"),
    ("steps to target", "steps_to_target"),
    ("interval", "steps_interval"),
    ("seconds", "seconds_to_target"),
    ("reached", "reached_runs"),
    ("mean rank", "rank"),
    ("profile", "profile_score"),
    ("score", "score_steps"),
    ("test accuracy", "test_accuracy"),
    ("test loss", "test_loss"),
    ("test minus training loss", "generalisation_gap"),
    ("untuned: steps", "default_steps_to_target"),
    ("untuned: accuracy", "default_test_accuracy"),
    ("diverged: fresh, tuning", "diverged"),
    ("step [ms]", "step_ms"),
)


def write_report(results: Results, folder: Path) -> list[Path]:
    """Writes page, figures, ``results.csv`` and ``results.json`` and returns their paths.

    Args:
        results: of a race whose trials have ended.
        folder: made if it is missing; files of an earlier report are replaced.

    Raises:
        DlsuiteError: the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        widths = {}
        figures = _figures(results)
        if results.plan.is_on_paper:
            paths.append(race_paths.write_animation(results, folder / "paths.gif"))
        for name, draw, _, _ in figures:
            if draw is None:  # written already
                widths[name] = _ANIMATION_WIDTH
                continue
            figure = draw(results)
            widths[name] = round(_PIXELS_AN_INCH * figure.get_figwidth())
            with replacing(folder / name) as temporary:
                style.save(figure, temporary)
            paths.append(folder / name)
        for name, text in (
            ("index.html", _page(results, figures, widths)),
            ("results.csv", _csv(results)),
            ("results.json", json.dumps(to_json(results), indent=1, allow_nan=False) + "\n"),
        ):
            with replacing(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
            paths.append(folder / name)
    except OSError as error:
        raise DlsuiteError(
            f"A report's folder must be writable. Received: '{folder}' ({error.strerror}). "
            "The trials are kept: free space and draw again with --redraw."
        ) from error
    return paths


def to_json(results: Results) -> dict[str, Any]:
    """Returns the results as plain values; infinite and missing ones are None.

    Keys: see docs/json.md, compare-optimizers.
    """
    rows = [summary_row(results, standing) for standing in results.standings]
    return {
        "problem": results.plan.problem,
        "steps": results.plan.steps,
        "target": results.target.model_dump(),
        "winner": results.winner,
        "verdict": verdict(results),
        "contenders": [
            {
                key: finite(value) if isinstance(value, float) else value
                for key, value in row.items()
            }
            for row in rows
        ],
        "ties_p": results.ties,
        "pairs": [{"pair": list(pair), "p": p} for pair, p in results.pairs.items()],
        "smallest_p": results.smallest,
        "studies_needed": results.studies_needed,
        "checklist": [{"item": item, "answer": answer} for item, answer in checklist(results)],
    }


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Returns the head and the rows of the table of results, as texts."""
    rows = [_texts(summary_row(results, standing)) for standing in results.standings]
    used = [(head, key) for head, key in _COLUMNS if key in rows[0]]
    if results.plan.is_on_paper:  # one function is training and test
        used = [(head, key) for head, key in used if key != "generalisation_gap"]
    return [head for head, _ in used], [[row[key] for _, key in used] for row in rows]


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    texts = {key: _number(value) for key, value in row.items() if isinstance(value, float)}
    texts |= {key: str(value) for key, value in row.items() if not isinstance(value, float)}
    for key in ("test_accuracy", "default_test_accuracy"):
        if key in row:
            texts[key] = f"{100 * row[key]:.1f} %" if math.isfinite(row[key]) else "-"
    texts["steps_interval"] = f"{_number(row['steps_low'])} to {_number(row['steps_high'])}"
    texts["diverged"] = f"{row['diverged_final']}, {row['diverged_tuning']}"
    texts["reached_runs"] = f"{row['reached']} of {row['runs']}"
    return texts


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "∞" if math.isinf(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _csv(results: Results) -> str:
    rows = [summary_row(results, standing) for standing in results.standings]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _figures(results: Results) -> tuple:
    """Those that say something of the problem."""
    if results.plan.is_on_paper:
        return (*_PATHS, *(row for row in _FIGURES if row[0] != "generalisation.png"))
    return _FIGURES


def _with_whole_options(sentence: str) -> str:
    """The sentence as HTML, whose command-line options no line breaks."""
    return re.sub(r"--[\w-]+( \d+)?", r"<code>\g<0></code>", html.escape(sentence))


def _page(results: Results, figures: tuple, widths: Mapping[str, int]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dlsuite.reports"), autoescape=True, trim_blocks=False
    )
    columns, rows = table(results)
    labels = [standing.contender.label for standing in results.standings]
    pairs = [
        {
            "label": one,
            "cells": [
                {"text": "", "shown": False}
                if one == other
                else {
                    "text": f"{results.p_value(one, other):.2g}",
                    "shown": results.p_value(one, other) <= LEVEL,
                }
                for other in labels
            ],
        }
        for one in labels
    ]
    return environment.get_template("race.html").render(
        plan=results.plan,
        verdict=[_with_whole_options(sentence) for sentence in verdict(results)],
        columns=columns,
        rows=rows,
        figures=[
            {"file": name, "title": title, "caption": caption, "width": widths[name]}
            for name, _, title, caption in figures
        ],
        labels=labels,
        pairs=pairs if len(labels) > 1 else [],
        level=LEVEL,
        smallest=f"{results.smallest:.2g}",
        checklist=checklist(results),
        spaces=[
            {
                "label": standing.contender.label,
                "space": "; ".join(
                    f"{name} {wanted if not isinstance(wanted, float) else f'= {wanted:g}'}"
                    for name, wanted in standing.contender.space.items()
                ),
                "winners": [
                    ", ".join(f"{k} {v:.4g}" for k, v in record.trial.parameters.items())
                    for record in standing.winners
                ],
            }
            for standing in results.standings
        ],
    )
