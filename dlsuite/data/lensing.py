"""Simulated fields of the lensing convergence: shifted log-normal, flat sky, periodic.

A log-normal field has the skewness of the convergence (few high peaks above wide, shallow
voids) and any power spectrum that is asked for, but not the higher correlations of structure
that gravity made: what is measured on such maps says nothing about N-body simulations.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LognormalField:
    """A periodic square of sky, k + s = s exp(g - <g^2>/2) with a Gaussian field g.

    The mean of k is 0 and k > -s. The spectrum of g follows from that of k on the same grid,
    xi_g = ln(1 + xi_k / s^2), so that the convergence has the given spectrum and not the
    Gaussian field. Modes of g that would need negative power get none.

    Attributes:
        multipoles: of the tabulated spectrum, l, ascending.
        spectrum: C_l [steradian], interpolated as a power law between the multipoles.
        shift: s, positive: minus the smallest possible convergence.
        num_pixels: N, pixels a side.
        pixel_arcmin: side of a pixel [arcmin].

    Source: Taruya et al. 2002, arXiv:astro-ph/0202090, equations 7 and 8; Hilbert et al. 2011,
        arXiv:1105.3980, equations 21 to 23.
    """

    multipoles: np.ndarray
    spectrum: np.ndarray
    shift: float
    num_pixels: int
    pixel_arcmin: float

    @property
    def side_rad(self) -> float:
        """Side of the square [rad]."""
        return float(np.deg2rad(self.num_pixels * self.pixel_arcmin / 60))

    def power(self) -> np.ndarray:
        """Returns C_l [steradian] at the modes of a two-dimensional FFT, (N, N).

        The mode of wave number 0, the square's own mean, has the power of the longest wave.
        """
        wave = np.fft.fftfreq(self.num_pixels) * self.num_pixels * (2 * np.pi / self.side_rad)
        multipole = np.hypot(wave[:, None], wave[None, :])
        multipole[0, 0] = multipole[0, 1]
        logarithm = np.interp(np.log(multipole), np.log(self.multipoles), np.log(self.spectrum))
        return np.exp(logarithm)

    def simulate(self, random: np.random.RandomState) -> np.ndarray:
        """Returns one square of convergence, (N, N), float32, dimensionless.

        Args:
            random: its normal numbers are drawn, N^2 of them.
        """
        amplitude, variance = self._gaussian()
        noise = random.standard_normal((self.num_pixels, self.num_pixels))
        gaussian = np.fft.ifft2(np.fft.fft2(noise) * amplitude).real
        # expm1: most of the convergence is small against the shift
        return (self.shift * np.expm1(gaussian - variance / 2)).astype(np.float32)

    def _gaussian(self) -> tuple[np.ndarray, float]:
        """Returns what white noise's modes are multiplied by, and the Gaussian's variance."""
        density = self.num_pixels**2 / self.side_rad**2  # pixels a steradian
        correlation = np.fft.ifft2(self.power()).real * density
        power = np.fft.fft2(np.log1p(correlation / self.shift**2)).real / density
        power = np.maximum(power, 0)
        return np.sqrt(power * density), float(power.sum() / self.side_rad**2)


def cut(parent: np.ndarray, side: int) -> np.ndarray:
    """Returns the square's maps, row by row and without overlap, (M, side, side).

    Args:
        parent: (N, N), N a multiple of the side.
        side: pixels a side of a map.
    """
    rows = len(parent) // side
    tiles = parent.reshape(rows, side, rows, side).swapaxes(1, 2)
    return tiles.reshape(rows * rows, side, side)
