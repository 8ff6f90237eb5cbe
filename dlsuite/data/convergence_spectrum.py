"""The angular power spectrum of the lensing convergence, by CAMB and Limber's approximation.

``python -m dlsuite.data.convergence_spectrum FILE`` made ``convergence_spectrum.csv``, which
ships with dlsuite, so that simulating maps needs no CAMB. The cosmology is that of CosmoGAN's
simulations.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlsuite.errors import DlsuiteError

# Mustafa et al. 2017, arXiv:1706.02390, section 2.2: flat, no neutrino mass.
HUBBLE_KM_S_MPC = 72.0
OMEGA_MATTER = 0.26
SIGMA_8 = 0.798
SPECTRAL_INDEX = 0.96
SOURCE_REDSHIFT = 1.0
# not stated there; a usual value, and hardly a matter for the convergence
OMEGA_BARYON = 0.044

_SPEED_OF_LIGHT_KM_S = 299_792.458
_NUM_DISTANCES = 400
TABLE = Path(__file__).with_name("convergence_spectrum.csv")


def tabulated() -> tuple[np.ndarray, np.ndarray, float]:
    """Returns the shipped table: l, C_l [steradian], and the empty beam's convergence, below 0."""
    with TABLE.open(encoding="utf-8") as file:
        header = [next(file) for _ in range(3)]
        rows = np.loadtxt(file, delimiter=",")
    empty_beam = float(header[1].rpartition("=")[2])
    return rows[:, 0], rows[:, 1], empty_beam


def compute(multipoles: Sequence[float]) -> tuple[np.ndarray, float]:
    """Returns C_l of the convergence [steradian], and the convergence of an empty beam.

    C_l = int_0^X dx q(x)^2 / x^2 P((l + 1/2)/x, z(x)), with comoving distance x, the sources at
    X, the nonlinear matter spectrum P (HMcode 2020) and the lensing kernel
    q(x) = 3/2 (H0/c)^2 Omega_m (1 + z) x (X - x)/X. A beam that meets no matter has
    -int_0^X q(x) dx, below which no convergence lies.

    Args:
        multipoles: l.

    Raises:
        DlsuiteError: CAMB is not installed.

    Source: Bartelmann and Schneider 2001, arXiv:astro-ph/9912508, equations 2.84 and 6.13 ff.
    """
    try:
        import camb
    except ImportError:
        raise DlsuiteError(
            "Computing a spectrum needs CAMB. Received: an installation without it. "
            "Run `pip install 'dlsuite[cosmology]'`; the shipped table needs nothing."
        ) from None
    h = HUBBLE_KM_S_MPC / 100
    baryons, matter = OMEGA_BARYON * h**2, OMEGA_MATTER * h**2
    parameters = camb.set_params(
        H0=HUBBLE_KM_S_MPC,
        ombh2=baryons,
        omch2=matter - baryons,
        mnu=0.0,
        omk=0.0,
        ns=SPECTRAL_INDEX,
        As=2e-9,
        halofit_version="mead2020",
    )
    parameters.set_matter_power(redshifts=[0.0], kmax=10.0)
    # sigma_8 grows with the root of the amplitude
    ratio = SIGMA_8 / camb.get_results(parameters).get_sigma8_0()
    parameters.InitPower.set_params(As=2e-9 * ratio**2, ns=SPECTRAL_INDEX)
    results = camb.get_background(parameters)
    source = results.comoving_radial_distance(SOURCE_REDSHIFT)
    distance = (np.arange(_NUM_DISTANCES) + 0.5) * source / _NUM_DISTANCES  # Mpc
    redshift = results.redshift_at_comoving_radial_distance(distance)
    matter_power = camb.get_matter_power_interpolator(
        parameters,
        nonlinear=True,
        hubble_units=False,
        k_hunit=False,
        kmax=100.0,
        zmax=SOURCE_REDSHIFT,
        extrap_kmax=1e6,
    )
    factor = 1.5 * (HUBBLE_KM_S_MPC / _SPEED_OF_LIGHT_KM_S) ** 2 * OMEGA_MATTER
    kernel = factor * (1 + redshift) * distance * (source - distance) / source
    width = source / _NUM_DISTANCES
    power = np.array(
        [
            [matter_power.P(z, (l + 0.5) / x) for x, z in zip(distance, redshift, strict=True)]
            for l in multipoles  # noqa: E741
        ]
    )
    spectrum = (kernel**2 / distance**2 * power).sum(axis=1) * width
    return spectrum, -float(kernel.sum() * width)


def write(path: Path) -> None:
    """Computes the table of the paper's cosmology and writes it."""
    multipoles = np.round(np.geomspace(10, 100_000, 121), 3)
    spectrum, empty_beam = compute(multipoles)
    cosmology = (
        f"flat LCDM, H0={HUBBLE_KM_S_MPC:g} km/s/Mpc, Omega_m={OMEGA_MATTER}, "
        f"Omega_b={OMEGA_BARYON}, sigma_8={SIGMA_8}, n_s={SPECTRAL_INDEX}, "
        f"sources at z={SOURCE_REDSHIFT:g}, CAMB with HMcode 2020, Limber"
    )
    lines = [f"# {cosmology}", f"# convergence of the empty beam = {empty_beam:.6f}", "l,C_l_sr"]
    lines += [f"{l:g},{c:.6e}" for l, c in zip(multipoles, spectrum, strict=True)]  # noqa: E741
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
