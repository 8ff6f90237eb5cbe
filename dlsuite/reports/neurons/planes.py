"""Figures of embeddings and of equivariance."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from dlsuite.analysis.neurons.embedding import Embedding
from dlsuite.analysis.neurons.equivariance import Connections, Equivariance
from dlsuite.reports import style
from dlsuite.reports.neurons.encode import shown

_ROWS = 6


@style.styled
def embedding_figure(found: Embedding, labels: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Returns the images of a dataset in the plane, by PCA and by t-SNE, coloured by class.

    Args:
        found: the embedding.
        labels: of its images, shape (N,).
        class_names: by label.
    """
    figure = Figure(figsize=(style.PAGE_WIDTH, 3.7))
    explained = " and ".join(f"{100 * part:.0f} %" for part in found.explained)
    titles = (f"PCA: {explained} of the variance", "t-SNE")
    colours = colormaps["tab10" if len(class_names) <= 10 else "tab20"]
    handles = []
    for axes, points, title in zip(
        figure.subplots(1, 2), (found.pca, found.tsne), titles, strict=True
    ):
        handles = [
            axes.scatter(
                *points[labels == label].T,
                s=5,
                linewidths=0,
                color=colours(n % colours.N),
                label=style.shortened(class_names[label], 16),
            )
            for n, label in enumerate(np.unique(labels))
        ]
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    if len(handles) <= 20:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(10, len(handles)), markerscale=2
        )
    figure.suptitle(f"{found.layer}: {len(labels)} images", x=0.01, ha="left", fontsize=9)
    return figure


@style.styled
def neighbours_figure(
    images: np.ndarray, labels: Sequence[str], neighbours: np.ndarray, layer: str
) -> Figure:
    """Returns images in rows, each followed by its nearest neighbours.

    Args:
        images: all of them, (N, H, W, C), uint8.
        labels: of each.
        neighbours: positions, shape (N, k).
        layer: where they are near.
    """
    rows = np.linspace(0, len(images) - 1, min(_ROWS, len(images))).astype(int)
    across = neighbours.shape[1] + 1
    figure = Figure(figsize=(across * 1.0, len(rows) * 1.12 + 0.3))
    figure.suptitle(f"Nearest neighbours at {layer}", x=0.01, ha="left", fontsize=9)
    grid = figure.subplots(len(rows), across, squeeze=False)
    for row, number in zip(grid, rows, strict=True):
        for n, (axes, other) in enumerate(zip(row, [number, *neighbours[number]], strict=True)):
            axes.imshow(shown(images[other]), cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
            differs = labels[other] != labels[number]
            axes.set_title(
                style.shortened(labels[other], 14),
                fontsize=6.5,
                pad=2,
                loc="center",
                color=style.ORANGE if differs else "black",
                fontweight="bold" if n == 0 else "normal",
            )
    return figure


@style.styled
def equivariance_figure(found: Sequence[Equivariance], counted: Sequence[Connections]) -> Figure:
    """Returns each layer's shift error away from the borders, and its size beside a dense one."""
    figure = Figure(figsize=(style.PAGE_WIDTH, 0.14 * max(len(found), 12) + 1.2))
    left, right = figure.subplots(1, 2)
    names = [style.shortened(one.layer, 20) for one in found]
    y = np.arange(len(found))
    shifts = found[0].shifts
    floor = 1e-8  # what a logarithmic axis shows of an exact 0
    for n, shift in enumerate(shifts):
        errors = [max(one.inside[n], floor) for one in found]
        left.plot(
            errors,
            y,
            marker="os^Dv"[n % 5],
            linestyle="",
            markersize=4,
            color=style.COLORS[n],
            label=f"shift by {shift}",
        )
    left.set_xscale("log")
    left.set_xlim(floor / 2, 3)
    left.set_yticks(y, names, fontsize=6)
    left.invert_yaxis()
    left.set_xlabel("relative error away from the borders (left end: none)")
    left.set_title("A shifted image against shifted maps")
    left.grid(axis="y")
    left.legend(fontsize=6)
    rows = np.arange(len(counted))
    for key, colour, marker in (
        ("parameters", style.GREEN, "o"),
        ("connections", style.BLUE, "s"),
        ("dense", style.ORANGE, "D"),
    ):
        said = "of a dense layer" if key == "dense" else key
        right.plot(
            [getattr(one, key) for one in counted],
            rows,
            marker=marker,
            linestyle="",
            markersize=4,
            color=colour,
            label=said,
        )
    right.set_xscale("log")
    right.set_yticks(rows, [style.shortened(one.layer, 20) for one in counted], fontsize=6)
    right.invert_yaxis()
    right.set_title("What a convolution is made of")
    right.grid(axis="y")
    right.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
