"""A race's figures by step and by trial: learning curves, sensitivity, budget, updates."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dlsuite.reports import style
from dlsuite.studies.records import Record
from dlsuite.studies.scoring import Results, Standing
from dlsuite.studies.spaces import Range
from dlsuite.studies.statistics import expected_best
from dlsuite.studies.surfaces import surface

_LINES = ("-", "--", ":")


def look(results: Results, standing: Standing) -> dict[str, str]:
    """Returns a contender's colour and line, the same in every figure of a race."""
    index = [contender.label for contender in results.plan.contenders].index(
        standing.contender.label
    )
    return {
        "color": style.COLORS[index % len(style.COLORS)],
        "linestyle": _LINES[index // len(style.COLORS) % len(_LINES)],
    }


@style.styled
def learning_curves(results: Results) -> Figure:
    """Returns test loss and accuracy of the final runs against steps and against seconds.

    Lines are medians over the fresh seeds, bands reach from the lower to the upper quartile.
    """
    measures = ["loss"]
    if "test_accuracy" in results.standings[0].finals[0].curves:
        measures.append("accuracy")
    figure = Figure(figsize=(style.PAGE_WIDTH, 2.5 * len(measures)))
    panels = figure.subplots(len(measures), 2, squeeze=False)
    for row, measure in zip(panels, measures, strict=True):
        least = _least(results) if measure == "loss" else 0.0
        for axes, by in zip(row, ("step", "seconds"), strict=True):
            for standing in results.standings:
                _band(axes, standing, f"test_{measure}", by, least, **look(results, standing))
            axes.set_xlabel("training step" if by == "step" else "seconds of training steps")
            axes.set_ylabel(f"test {measure}{_above(least)}")
            axes.grid(axis="y")
            if measure == results.target.measure:
                level = results.target.test - least
                axes.axhline(level, color=style.GREY, linewidth=0.8, linestyle=":")
            if measure == "loss":
                axes.set_yscale("log")
        if measure == results.target.measure:
            row[0].set_title("dotted: the target")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure


def _least(results: Results) -> float:
    """What a problem on paper has for its lowest loss, which a logarithmic axis begins above."""
    return surface(results.plan.problem).lowest if results.plan.is_on_paper else 0.0


def _above(least: float) -> str:
    return f" above {least:.3g}" if least else ""


def _ended(standing: Standing) -> tuple[list[Record], str]:
    """The final runs that did not diverge, and the contender's name with how many did."""
    runs = [record for record in standing.finals if record.status == "ended"]
    lost = len(standing.finals) - len(runs)
    said = f" ({lost} of {len(standing.finals)} diverged)" if lost else ""
    return runs, standing.contender.label + said


def _band(axes: Axes, standing: Standing, curve: str, by: str, least: float, **drawn: str) -> None:
    runs, label = _ended(standing)
    if not runs:
        axes.plot([], [], label=label, **drawn)
        return
    values = np.array([record.values(curve) for record in runs]) - least
    x = runs[0].steps
    if by == "seconds":
        x = np.median([record.seconds for record in runs], axis=0)
    low, middle, high = np.percentile(values, [25, 50, 75], axis=0)
    axes.plot(x, middle, label=label, **drawn)
    axes.fill_between(x, low, high, color=drawn["color"], alpha=0.15, linewidth=0)


@style.styled
def rate_sensitivity(results: Results) -> Figure:
    """Returns the tuning trials' last validation loss against the learning rate.

    A cross at the top is a trial that diverged; a ring is a study's winner.
    """
    tuned = [s for s in results.standings if _varies(s)] or results.standings
    columns = min(4, len(tuned))
    rows = -(-len(tuned) // columns)
    figure = Figure(figsize=(style.PAGE_WIDTH, 1.75 * rows + 0.2))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    least = _least(results)
    losses = [_last_loss(record) - least for standing in tuned for record in standing.tuning]
    finite = [loss for loss in losses if np.isfinite(loss)]
    top = max(finite, default=1.0) * 1.3
    for axes, standing in zip(panels.flat, tuned, strict=False):
        color = look(results, standing)["color"]
        for study in range(results.plan.studies):
            own = [record for record in standing.tuning if record.trial.study == study]
            own.sort(key=_rate)
            kept = [record for record in own if record.status == "ended"]
            axes.plot(
                [_rate(r) for r in kept],
                [_last_loss(r) - least for r in kept],
                ".-",
                color=color,
                lw=0.6,
            )
            lost = [record for record in own if record.status == "diverged"]
            axes.plot([_rate(r) for r in lost], [top] * len(lost), "x", color=style.BLACK, ms=4)
        axes.plot(
            [_rate(r) for r in standing.winners],
            [_last_loss(r) - least for r in standing.winners],
            "o",
            mfc="none",
            color=style.BLACK,
            ms=5,
            mew=0.8,
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(standing.contender.label)
        axes.grid(axis="y")
    for axes in panels.flat[len(tuned) :]:
        axes.set_axis_off()
    for axes in panels[-1]:
        axes.set_xlabel("learning rate")
    for row in panels:
        row[0].set_ylabel(f"validation loss{_above(least)}")
    return figure


def _varies(standing: Standing) -> bool:
    return isinstance(standing.contender.space.get("learning_rate"), Range)


def _rate(record: Record) -> float:
    return record.trial.parameters["learning_rate"]


def _last_loss(record: Record) -> float:
    return record.values("validation_loss")[-1] if record.status == "ended" else np.nan


@style.styled
def tuning_budget(results: Results) -> Figure:
    """Returns the expected best of the tuning trials against their number.

    All studies' trials are pooled; the best is that by the validation's target measure. A trial
    that diverged counts with its value before the first step, and those that widened a range,
    which is where the best ones lay, are no draws from the space.
    """
    figure = Figure(figsize=(style.COLUMN_WIDTH + 1.2, 2.5))
    axes = figure.subplots()
    measure = results.target.measure
    sign = -1 if measure == "loss" else 1
    least = _least(results) if measure == "loss" else 0.0
    for standing in results.standings:
        values = [
            sign * record.values(f"validation_{measure}")[0 if record.status == "diverged" else -1]
            for record in standing.tuning
            if record.trial.number < results.plan.trials
        ]
        if values:
            best = sign * expected_best(values) - least
            axes.plot(
                np.arange(1, len(best) + 1),
                best,
                label=standing.contender.label,
                **look(results, standing),
            )
    axes.set_xlabel("tuning trials")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_ylabel(f"expected best validation {measure}{_above(least)}")
    axes.grid(axis="y")
    if measure == "loss":
        axes.set_yscale("log")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


@style.styled
def weight_movement(results: Results) -> Figure:
    """Returns how far the weights moved between evaluations, relative to their norm."""
    figure = Figure(figsize=(style.COLUMN_WIDTH + 1.2, 2.5))
    axes = figure.subplots()
    for standing in results.standings:
        runs, label = _ended(standing)
        if runs:
            moved = np.median([record.values("moved")[1:] for record in runs], axis=0)
            axes.plot(
                runs[0].steps[1:],
                np.maximum(moved, 1e-12),
                label=label,
                **look(results, standing),
            )
    axes.set_yscale("log")
    axes.set_xlabel("training step")
    axes.set_ylabel(f"relative movement in {results.plan.evaluate_every} steps")
    axes.grid(axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure
