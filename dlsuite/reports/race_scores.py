"""A race's figures by contender: profile, times with failures, ranks, generalisation, cost."""

import numpy as np
from matplotlib.figure import Figure

from dlsuite.reports import style
from dlsuite.reports.race_curves import look
from dlsuite.studies.scoring import Results


@style.styled
def performance_profile(results: Results) -> Figure:
    """Returns the share of fresh runs in which each contender is within a factor of the fastest."""
    figure = Figure(figsize=(style.COLUMN_WIDTH + 1.2, 2.5))
    axes = figure.subplots()
    # a line that coincides with others, as those that never reach the target do, shows beneath
    widths = np.linspace(4.0, 1.0, len(results.standings))
    for standing, width in zip(results.standings, widths, strict=True):
        label = standing.contender.label
        axes.step(
            results.ratios,
            results.profile[label],
            where="post",
            linewidth=width,
            solid_capstyle="butt",
            label=f"{label}  {results.profile_score[label]:.2f}",
            **look(results, standing),
        )
    axes.set_xlabel("factor on the fastest contender's steps")
    axes.set_ylabel("share of fresh runs")
    axes.set_xlim(1, results.ratios[-1])
    axes.set_ylim(-0.03, 1.05)
    axes.grid(axis="y")
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside right upper", title="integral, of 1"
    )
    return figure


@style.styled
def times_to_target(results: Results) -> Figure:
    """Returns each fresh run's steps to the target; those that never reached it lie beyond."""
    count = len(results.standings)
    figure = Figure(figsize=(style.PAGE_WIDTH, 0.28 * count + 1.0))
    axes = figure.subplots()
    beyond = 1.1 * results.plan.steps
    rng = np.random.default_rng(0)
    for place, standing in enumerate(results.standings):
        color = look(results, standing)["color"]
        reached = np.isfinite(standing.steps)
        shift = rng.uniform(-0.15, 0.15, len(standing.steps))
        axes.plot(
            standing.steps[reached], place + shift[reached], "o", color=color, ms=3.5, alpha=0.8
        )
        axes.plot(
            np.full((~reached).sum(), beyond), place + shift[~reached], "x", color=color, ms=4
        )
        if np.isfinite(standing.median_steps):
            axes.plot([standing.median_steps] * 2, [place - 0.3, place + 0.3], color=style.BLACK)
    axes.axvline(1.03 * results.plan.steps, color=style.GREY, linewidth=0.8)
    axes.set_yticks(range(count), [standing.contender.label for standing in results.standings])
    axes.set_xlim(0, 1.16 * results.plan.steps)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlabel("steps to the target on test (bar: median; beyond the line: never reached)")
    axes.grid(axis="x")
    return figure


@style.styled
def rank_intervals(results: Results) -> Figure:
    """Returns mean ranks over the fresh runs with their bootstrap intervals."""
    count = len(results.standings)
    figure = Figure(figsize=(style.COLUMN_WIDTH + 1.0, 0.28 * count + 0.9))
    axes = figure.subplots()
    for place, standing in enumerate(results.standings):
        color = look(results, standing)["color"]
        axes.plot(standing.rank_interval, [place, place], color=color)
        axes.plot(standing.rank, place, "o", color=color, ms=4)
    axes.set_yticks(range(count), [standing.contender.label for standing in results.standings])
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlim(0.8, count + 0.2)
    axes.set_xlabel("mean rank in steps to the target, 95 % bootstrap interval")
    axes.grid(axis="x")
    return figure


@style.styled
def generalisation(results: Results) -> Figure:
    """Returns the last test loss against the last training loss of each fresh run.

    Training loss is the mean since the evaluation before, in training mode: of augmented images
    and with dropout where the recipe has them, so that points may lie below the diagonal.
    """
    figure = Figure(figsize=(style.COLUMN_WIDTH + 1.2, 2.8))
    axes = figure.subplots()
    seen = []
    for standing in results.standings:
        train, test = standing.last("loss"), standing.last("test_loss")
        seen += [*train, *test]
        axes.plot(
            train,
            test,
            "o",
            color=look(results, standing)["color"],
            ms=3.5,
            alpha=0.8,
            label=standing.contender.label,
        )
    finite = [value for value in seen if np.isfinite(value) and value > 0] or [0.1, 1.0]
    ends = [min(finite) / 1.2, max(finite) * 1.2]
    axes.plot(ends, ends, color=style.GREY, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("training loss")
    axes.set_ylabel("test loss (dotted: equal)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


@style.styled
def cost(results: Results) -> Figure:
    """Returns the time of a training step and what the optimizer keeps for each weight."""
    count = len(results.standings)
    figure = Figure(figsize=(style.PAGE_WIDTH, 0.24 * count + 0.9))
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(count)
    colors = [look(results, standing)["color"] for standing in results.standings]
    left.barh(places, [1000 * s.step_seconds for s in results.standings], color=colors, height=0.6)
    left.set_xlabel("time of a step [ms]")
    kept = [standing.finals[0].state_values for standing in results.standings]
    right.barh(places, kept, color=colors, height=0.6)
    right.set_xlabel("numbers kept for each weight")
    left.set_yticks(places, [standing.contender.label for standing in results.standings])
    left.set_ylim(count - 0.5, -0.5)
    for axes in (left, right):
        axes.grid(axis="x")
    return figure
