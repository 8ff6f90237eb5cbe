"""Minkowski functionals and extrema of maps: what a power spectrum does not see.

Of the part of a map u above a threshold: V0 is its share of the area, V1 a quarter of its
boundary's length an area [1 / side], V2 its Euler characteristic an area [1 / side^2].
"""

from dataclasses import dataclass

import numpy as np

from dlsuite.errors import DlsuiteError

_CHUNK = 16


@dataclass(frozen=True)
class Functionals:
    """The three functionals of each map by threshold.

    Attributes:
        thresholds: in the maps' unit, ascending, (T,).
        area: V0, (N, T).
        boundary: V1 [1 / side], (N, T).
        euler: V2 [1 / side^2], (N, T).
    """

    thresholds: np.ndarray
    area: np.ndarray
    boundary: np.ndarray
    euler: np.ndarray


def minkowski_functionals(
    maps: np.ndarray, thresholds: np.ndarray, *, side: float = 1.0
) -> Functionals:
    """Returns V0, V1 and V2 of each map at each threshold.

    By the invariants of the field: V1 = <delta(u - t) |grad u|> / 4 and
    V2 = <delta(u - t) (2 u_x u_y u_xy - u_x^2 u_yy - u_y^2 u_xx) / |grad u|^2> / 2 pi, with
    central differences on the inner pixels and delta as wide as the bin around a threshold:
    between the midpoints to its neighbours. Smooth maps whose structures are smaller than about
    three pixels first: differences underestimate their gradients.

    Args:
        maps: (N, H, W), H pixels being the side.
        thresholds: at least two, ascending.
        side: L.

    Raises:
        DlsuiteError: thresholds that aren't ascending, or maps smaller than 3 x 3.

    Source: Schmalzing and Gorski 1998, arXiv:astro-ph/9710185, equations 8 to 12; Petri et al.
        2013, arXiv:1309.4460, equations 3 to 5.
    """
    thresholds = np.asarray(thresholds, np.float64)
    if thresholds.ndim != 1 or len(thresholds) < 2 or (np.diff(thresholds) <= 0).any():
        raise DlsuiteError(
            "Thresholds are two or more ascending numbers. Received: "
            f"{thresholds.tolist()}. Use for example numpy.linspace(-3, 3, 25)."
        )
    if maps.ndim != 3 or min(maps.shape[1:]) < 3:
        raise DlsuiteError(
            f"Functionals are of maps (N, H, W) of at least 3 x 3 pixels. Received: {maps.shape}. "
            "Choose one channel."
        )
    middle = (thresholds[1:] + thresholds[:-1]) / 2
    edges = np.concatenate(
        [[2 * thresholds[0] - middle[0]], middle, [2 * thresholds[-1] - middle[-1]]]
    )
    width = np.diff(edges)
    density = maps.shape[1] / side  # pixels a unit of length
    shape = (len(maps), len(thresholds))
    area, boundary, euler = np.empty(shape), np.empty(shape), np.empty(shape)
    for start in range(0, len(maps), _CHUNK):
        part = slice(start, start + _CHUNK)
        chunk = maps[part].astype(np.float32, copy=False)
        area[part] = _above(chunk, thresholds)
        gradient, curvature = _invariants(chunk)
        inner = chunk[:, 1:-1, 1:-1]
        boundary[part] = _in_bins(inner, gradient, edges) / width * density / 4
        euler[part] = _in_bins(inner, curvature, edges) / width * density**2 / (2 * np.pi)
    return Functionals(thresholds, area, boundary, euler)


def gaussian_functionals(
    levels: np.ndarray, *, gradient_variance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns V0, V1 and V2 of a Gaussian field of mean 0 and variance 1.

    Args:
        levels: thresholds in standard deviations, (T,).
        gradient_variance: <|grad u|^2> [1 / side^2].

    Source: Tomita 1986, Prog. Theor. Phys. 76, 952; as equation 7 of arXiv:1309.4460.
    """
    from scipy.special import erfc

    levels = np.asarray(levels, np.float64)
    half = gradient_variance / 2
    bell = np.exp(-(levels**2) / 2)
    return (
        erfc(levels / np.sqrt(2)) / 2,
        np.sqrt(half) / 8 * bell,
        half / (2 * np.pi) ** 1.5 * levels * bell,
    )


def extrema(maps: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of peaks and of minima of each map, by their height.

    A peak is a pixel higher than its eight neighbours, a minimum one lower; the outermost
    pixels are neither.

    Args:
        maps: (N, H, W).
        edges: of the bins of height, ascending, (B + 1,), in the maps' unit.

    Shapes:
        peaks, minima: (N, B).
    """
    inner = maps[:, 1:-1, 1:-1]
    is_peak, is_minimum = (np.ones(inner.shape, bool) for _ in range(2))
    height, width = maps.shape[1:]
    for row in range(3):
        for column in range(3):
            if row == column == 1:
                continue
            other = maps[:, row : height - 2 + row, column : width - 2 + column]
            is_peak &= inner > other
            is_minimum &= inner < other
    return tuple(
        np.stack([np.histogram(m[k], edges)[0] for m, k in zip(inner, kept, strict=True)])
        for kept in (is_peak, is_minimum)
    )


def _above(chunk: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of each map's pixels above each threshold, (n, T)."""
    pixels = np.sort(chunk.reshape(len(chunk), -1), axis=1)
    below = np.stack([np.searchsorted(row, thresholds, side="right") for row in pixels])
    return 1 - below / pixels.shape[1]


def _invariants(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|grad u|, and what V2 averages, on the inner pixels, in units of a pixel."""
    centre = u[:, 1:-1, 1:-1]
    left, right = u[:, 1:-1, :-2], u[:, 1:-1, 2:]
    up, down = u[:, :-2, 1:-1], u[:, 2:, 1:-1]
    x, y = (right - left) / 2, (down - up) / 2
    xx, yy = right - 2 * centre + left, down - 2 * centre + up
    xy = (u[:, 2:, 2:] - u[:, 2:, :-2] - u[:, :-2, 2:] + u[:, :-2, :-2]) / 4
    squared = x * x + y * y
    # at a stationary point the numerator is 0 too
    curvature = (2 * x * y * xy - x * x * yy - y * y * xx) / np.maximum(squared, 1e-30)
    return np.sqrt(squared), curvature


def _in_bins(inner: np.ndarray, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Sum of the values in each bin of height over the number of pixels, (n, T)."""
    count, bins = len(inner), len(edges) - 1
    # searchsorted over all pixels is the dear part: evenly spaced edges need only arithmetic
    step = (edges[-1] - edges[0]) / bins
    if np.allclose(np.diff(edges), step, rtol=1e-6):
        place = np.floor((inner - edges[0]) * (1 / step)).astype(np.int32)
        place = np.clip(place, -1, bins)
    else:
        place = np.searchsorted(edges, inner, side="right") - 1
    offset = np.arange(count, dtype=np.int32)[:, None, None] * (bins + 2)
    summed = np.bincount(
        (place + 1 + offset).ravel(), weights=values.ravel(), minlength=count * (bins + 2)
    )
    return summed.reshape(count, bins + 2)[:, 1:-1] / inner[0].size
