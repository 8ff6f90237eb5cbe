"""The figure of a learning-rate range test."""

import numpy as np
from matplotlib.figure import Figure

from dlsuite.reports import style
from dlsuite.studies.range_test import RangeTest


@style.styled
def rate_range(test: RangeTest) -> Figure:
    """Returns the loss against the rising rate, with the rates that it suggests."""
    figure = Figure(figsize=(style.COLUMN_WIDTH + 0.8, 2.6))
    axes = figure.subplots()
    finite = np.isfinite(test.losses)
    axes.plot(test.rates[finite], test.losses[finite], color=style.SKY, linewidth=0.6, label="loss")
    axes.plot(test.rates, test.smoothed, color=style.BLUE, label="smoothed loss")
    for rate, name, color in (
        (test.steepest, "steepest fall", style.GREEN),
        (test.largest, "lowest loss", style.ORANGE),
    ):
        if rate is not None:
            axes.axvline(
                rate, color=color, linestyle="--", linewidth=0.9, label=f"{name}: {rate:.2g}"
            )
    # what explodes leaves the picture at its top
    low = np.min(test.losses[finite])
    axes.set_ylim(min(0.8 * low, 0), 1.25 * max(test.smoothed[0], low))
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.grid(axis="y")
    axes.legend()
    return figure
