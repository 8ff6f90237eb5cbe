"""Figures of a training's path in its plane, and of the Hessian's spectrum."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dlsuite.analysis.curvature import Curvature
from dlsuite.analysis.landscape_grid import Landscape
from dlsuite.analysis.trajectory import PathPlane
from dlsuite.reports import style
from dlsuite.reports.landscape import common_scale, filled_contours, loss_bar, mark_gaps

# Colours of the first and second split's losses along a path.
_TRUE, _IN_PLANE = (style.BLACK, style.BLUE), (style.ORANGE, style.SKY)


@style.styled
def path_in_plane(
    landscape: Landscape, plane: PathPlane, along: Mapping[str, np.ndarray], *, split: str
) -> Figure:
    """Returns the path over its plane's contour, and beside it both losses of its points.

    Args:
        landscape: the plane's.
        plane: of the path.
        along: plane's and true loss of each point, by split.
        split: which of them.
    """
    figure = Figure(figsize=(style.PAGE_WIDTH, 2.9))
    left, right = figure.subplots(1, 2)
    scale = common_scale([landscape], split)
    drawn = filled_contours(left, landscape, scale, split=split, cmap="Blues")
    loss_bar(figure, drawn, [left], split)
    mark_gaps(left, landscape, split)
    left.plot(*plane.coordinates.T, ".-", color=style.ORANGE, linewidth=1, markersize=4)
    ring = {"color": "none", "markerfacecolor": "white", "markeredgecolor": style.BLACK}
    left.plot(*plane.coordinates[0], "o", **ring, markersize=5, label="initial weights")
    left.plot(*plane.coordinates[-1], "o", color=style.ORANGE, markersize=5, label="last epoch")
    left.legend()
    shares = [f"{100 * share:.0f} %" for share in plane.explained]
    left.set_title(style.shortened(landscape.name, 30))
    left.set_xlabel(f"component 1, {shares[0]} of the variance")
    left.set_ylabel(f"component 2, {shares[1]} (not to one scale)")
    epochs = np.arange(len(plane.points))
    for each, true, flat in zip(landscape.splits, _TRUE, _IN_PLANE, strict=False):
        right.plot(epochs, along[f"{each}_true"], ".-", color=true, label=f"{each}, true")
        right.plot(epochs, along[f"{each}_plane"], ".--", color=flat, label=f"{each}, in the plane")
    right.set_yscale("log")
    right.set_xlabel("epoch")
    right.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    right.set_ylabel("loss")
    right.grid(axis="y")
    right.legend()
    return figure


@style.styled
def between(landscape: Landscape) -> Figure:
    """Returns loss, a panel a split, and accuracy on the ways between networks at places 0 and 1.

    The curve was trained on the training samples, whose loss on it says little: the splits have
    scales of their own. A cross marks a place where a loss is not a finite number, on either way.
    """
    splits = landscape.splits
    figure = Figure(figsize=(style.PAGE_WIDTH, 2.5))
    panels = figure.subplots(1, len(splits) + 1)
    places = landscape.axes["place"]
    inside = (places >= 0) & (places <= 1)
    for axes, split, color in zip(panels[:-1], splits, (style.SKY, style.BLUE), strict=True):
        loss = landscape.loss(split)
        for on, (straight, curve) in ((axes, loss), (panels[-1], 100 * landscape.accuracy(split))):
            on.plot(places, straight, "--", color=color, label=f"{split}, straight")
            on.plot(places[inside], curve[inside], color=color, label=f"{split}, curve")
        lost = np.isnan(loss).any(axis=0)
        axes.plot(places[lost], np.full(lost.sum(), np.nanmin(loss)), "x", color=style.BLACK, ms=4)
        axes.set_yscale("log")
    names = [*(f"{split} loss" for split in splits), "accuracy [%]"]
    for axes, name in zip(panels, names, strict=True):
        for place in (0, 1):
            axes.axvline(place, color=style.GREY, linewidth=0.6, linestyle=":")
        axes.set_xlabel("0: first run, 1: second")
        axes.set_ylabel(name)
        axes.grid(axis="y")
    panels[0].set_title(style.shortened(landscape.name, 40))
    figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@style.styled
def spectra(names: Sequence[str], found: Sequence[Curvature]) -> Figure:
    """Returns the spectral densities of Hessians, the largest eigenvalues as ticks."""
    figure = Figure(figsize=(max(3.6, 2.6 * len(found)), 2.4))
    panels = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    # the density of a wide spectrum is low: one scale for all has room for each
    tops = [curvature.density.max() for curvature in found]
    lowest, highest = 1e-6 * min(tops), 3 * max(tops)
    for axes, name, curvature in zip(panels, names, found, strict=True):
        axes.semilogy(curvature.places, np.maximum(curvature.density, 1e-12), color=style.BLUE)
        axes.plot(
            curvature.eigenvalues,
            np.full(len(curvature.eigenvalues), lowest),
            "|",
            color=style.ORANGE,
            markersize=8,
            label="largest eigenvalues",
        )
        axes.set_ylim(lowest / 3, highest)
        axes.set_title(style.shortened(name, 30))
        axes.set_xlabel("eigenvalue")
    panels[0].set_ylabel("density")
    panels[0].legend(loc="upper right")
    return figure
