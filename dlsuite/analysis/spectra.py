"""Power spectrum, two-point correlation and bispectrum of square maps.

Maps are (N, H, H) in any unit u, of side L. Wave numbers are k = 2 pi n / L in radians a unit
of L, with n cycles a side; with L in radians they are the multipoles l of a flat sky. Nothing
is windowed: maps cut from a larger field are compared with maps cut likewise, never with
theory.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

from dlsuite.errors import DlsuiteError

_CHUNK = 64


@dataclass(frozen=True)
class Spectra:
    """Power spectra of maps.

    Attributes:
        wave_number: k of each bin [rad / unit of the side], (K,).
        power: P(k) of each map [u^2 side^2], (N, K).
        num_modes: modes in each bin, (K,).
    """

    wave_number: np.ndarray
    power: np.ndarray
    num_modes: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean over the maps, (K,)."""
        return self.power.mean(axis=0)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the bins over the maps, (K, K)."""
        return np.cov(self.power, rowvar=False)

    @property
    def correlation(self) -> np.ndarray:
        """Correlation of the bins over the maps, (K, K): covariance over both deviations."""
        return np.corrcoef(self.power, rowvar=False)


def power_spectra(maps: np.ndarray, *, side: float = 2 * np.pi) -> Spectra:
    """Returns the azimuthally averaged power spectrum of each map.

    P(k) = L^2 <|FFT|^2> / H^4, averaged over the modes whose cycles a side round to n, for
    n = 1 .. H/2. White noise of variance s^2 has P = s^2 (L/H)^2, a pixel's area times s^2.

    Args:
        maps: (N, H, H).
        side: L. With the default, k counts cycles a side.

    Raises:
        DlsuiteError: maps that aren't square.
    """
    height = _checked(maps)
    ring, weight = _rings(height)
    bins = height // 2
    inside = (ring >= 1) & (ring <= bins)
    counts = np.bincount(ring[inside], weights=weight[inside], minlength=bins + 1)[1:]
    power = np.empty((len(maps), bins))
    for start in range(0, len(maps), _CHUNK):
        chunk = maps[start : start + _CHUNK]
        modes = scipy.fft.rfft2(chunk.astype(np.float32, copy=False), workers=-1)
        squares = (modes.real**2 + modes.imag**2).astype(np.float64) * weight
        # one sum for all maps: a bin's number is moved on by the map's
        offset = np.arange(len(chunk))[:, None] * bins + (ring[inside] - 1)
        summed = np.bincount(
            offset.ravel(), weights=squares[:, inside].ravel(), minlength=len(chunk) * bins
        )
        power[start : start + _CHUNK] = summed.reshape(len(chunk), bins) / counts
    wave_number = np.arange(1, bins + 1) * 2 * np.pi / side
    return Spectra(wave_number, power * (side / height**2) ** 2, counts.astype(int))


def two_point(
    maps: np.ndarray, *, side: float = 1.0, num_bins: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """Returns separations and the two-point correlation <u(x) u(x + r)> of each map [u^2].

    By the inverse transform of |FFT|^2 of the maps padded with zeros, so that no pair wraps
    around the edge, divided by the number of pairs at each separation. The maps' own means
    are not taken away.

    Args:
        maps: (N, H, H).
        side: L; separations come in its unit.
        num_bins: of separation, from 0 to half the side, evenly spaced.

    Shapes:
        separations: (num_bins,), mean over the bin's pixel pairs; correlation: (N, num_bins).

    Raises:
        DlsuiteError: maps that aren't square.
    """
    height = _checked(maps)
    padded = (2 * height, 2 * height)
    lag = scipy.fft.fftfreq(2 * height, 1 / (2 * height))
    distance = np.hypot(lag[:, None], lag[None, :]) / height
    which = np.floor(distance * 2 * num_bins).astype(int).ravel()
    inside = which < num_bins
    pairs = (height - np.abs(lag))[:, None] * (height - np.abs(lag))[None, :]
    pairs = pairs.ravel()[inside]
    total = np.bincount(which[inside], weights=pairs, minlength=num_bins)
    separation = np.bincount(which[inside], weights=pairs * distance.ravel()[inside]) / total
    correlation = np.empty((len(maps), num_bins))
    for start in range(0, len(maps), _CHUNK):
        chunk = maps[start : start + _CHUNK].astype(np.float64)
        modes = scipy.fft.rfft2(chunk, s=padded, workers=-1)
        products = scipy.fft.irfft2(modes.real**2 + modes.imag**2, s=padded, workers=-1)
        for row, product in enumerate(products, start=start):
            summed = np.bincount(which[inside], weights=product.ravel()[inside], minlength=num_bins)
            correlation[row] = summed / total
    return separation * side, correlation


def equilateral_bispectra(
    maps: np.ndarray, *, side: float = 2 * np.pi, num_bins: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Returns wave numbers and the bispectrum B(k, k, k) of each map [u^3 side^4].

    The mean over closed triangles of modes that all lie in one ring, by filtering:
    sum_x F(x)^3 over sum_x I(x)^3, with the map F and the unit field I of the ring's modes.

    Args:
        maps: (N, H, H).
        side: L. With the default, k counts cycles a side.
        num_bins: rings, evenly spaced to H/3, beyond which triangles alias.

    Shapes:
        wave numbers: (num_bins,); bispectrum: (N, num_bins).

    Source: Scoccimarro 2015, arXiv:1506.02729, equations 4 to 6, in two dimensions.

    Raises:
        DlsuiteError: maps that aren't square, or a ring without a closed triangle.
    """
    height = _checked(maps)
    ring, weight = _rings(height, rounded=False)
    edges = np.linspace(0.5, height / 3, num_bins + 1)
    result = np.empty((len(maps), num_bins))
    wave_number = np.empty(num_bins)
    shape = (height, height)
    for number in range(num_bins):
        inside = (ring >= edges[number]) & (ring < edges[number + 1])
        mean = np.average(ring[inside], weights=weight[inside])
        wave_number[number] = mean * 2 * np.pi / side
        triangles = (scipy.fft.irfft2(inside.astype(complex), s=shape) ** 3).sum()
        if triangles * height**4 < 0.5:
            raise DlsuiteError(
                "A ring must be wide enough for three of its modes to close. Received: "
                f"num_bins={num_bins} for maps of {height} pixels. Lower num_bins."
            )
        for start in range(0, len(maps), _CHUNK):
            modes = scipy.fft.rfft2(maps[start : start + _CHUNK].astype(np.float64), workers=-1)
            filtered = scipy.fft.irfft2(modes * inside, s=shape, workers=-1)
            result[start : start + _CHUNK, number] = (filtered**3).sum(axis=(1, 2)) / triangles
    # a mode of the continuous transform is the discrete one times a pixel's area
    return wave_number, result * side**4 / height**6


def _checked(maps: np.ndarray) -> int:
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2]:
        raise DlsuiteError(
            f"Spectra are of square maps, (N, H, H). Received: shape {maps.shape}. "
            "Cut the maps, or choose one channel."
        )
    return maps.shape[1]


@lru_cache(maxsize=8)
def _rings(height: int, *, rounded: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Cycles a side of rfft2's modes, and how many modes of the whole plane each stands for."""
    rows, columns = np.fft.fftfreq(height) * height, np.fft.rfftfreq(height) * height
    radius = np.hypot(rows[:, None], columns[None, :])
    doubled = (columns > 0) & (columns < height / 2)
    weight = np.where(doubled, 2.0, 1.0) * np.ones((height, 1))
    return (np.rint(radius).astype(int) if rounded else radius), weight
