"""Seconds for Minkowski functionals and power spectra of many maps, against plain loops.

    python benchmarks/statistics_speed.py            # 1,000 maps of 256 x 256
    python benchmarks/statistics_speed.py --maps 100

The loop is over maps, rings and thresholds in NumPy, as such code is usually written; quantimpy,
where it is installed, counts on the map cut at each threshold, which is another estimator of the
same functionals. Both take the first 50 maps and their time is multiplied. A warm-up comes first;
the two take turns, and medians are printed.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np

from dlsuite.analysis.minkowski import minkowski_functionals
from dlsuite.analysis.spectra import power_spectra

LEVELS = np.linspace(-3, 3, 25)


def loop_spectra(maps: np.ndarray) -> np.ndarray:
    height = maps.shape[1]
    wave = np.fft.fftfreq(height) * height
    ring = np.rint(np.hypot(wave[:, None], wave[None, :]))
    rings = [ring == k for k in range(1, height // 2 + 1)]
    powers = (np.abs(np.fft.fft2(m)) ** 2 for m in maps)
    return np.array([[power[r].mean() for r in rings] for power in powers])


def loop_functionals(maps: np.ndarray) -> np.ndarray:
    step, result = LEVELS[1] - LEVELS[0], []
    for u in maps:
        y, x = np.gradient(u)
        (yy, yx), (_, xx) = np.gradient(y), np.gradient(x)
        size = np.hypot(x, y)
        turn = (2 * x * y * yx - x**2 * yy - y**2 * xx) / np.maximum(size**2, 1e-30)
        rows = []
        for level in LEVELS:
            near = np.abs(u - level) < step / 2
            v1, v2 = (size * near).mean() / step / 4, (turn * near).mean() / step / (2 * np.pi)
            rows.append(((u > level).mean(), v1, v2))
        result.append(rows)
    return np.array(result)


def quantimpy_functionals(maps: np.ndarray) -> np.ndarray:
    from quantimpy import minkowski

    return np.array([[minkowski.functionals(u > level) for level in LEVELS] for u in maps])


def timed(work: Callable, maps: np.ndarray, count: int) -> float:
    """Seconds for so many maps, from those for all of `maps`."""
    started = time.perf_counter()
    work(maps)
    return (time.perf_counter() - started) * count / len(maps)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=1000)
    parser.add_argument("--peers-maps", type=int, default=50, help="of them, for loop and library")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    maps = random.standard_normal((arguments.maps, arguments.size, arguments.size), np.float32)
    races = {"power spectra, loop": (power_spectra, loop_spectra)}
    races["functionals, loop"] = (functionals, loop_functionals)
    if importlib.util.find_spec("quantimpy"):
        races["functionals, quantimpy"] = (functionals, quantimpy_functionals)
    print("| statistic, peer | dlsuite, s | peer, s | ratio |\n|---|---|---|---|")
    for name, (ours, peer) in races.items():
        few, count = maps[: arguments.peers_maps], len(maps)
        ours(few)
        pairs = [
            (timed(ours, maps, count), timed(peer, few, count)) for _ in range(arguments.rounds)
        ]
        mine, its = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"| {name} | {mine:.1f} | {its:.1f} | {ratio:.1f} |", flush=True)


def functionals(maps: np.ndarray) -> object:
    return minkowski_functionals(maps, LEVELS)


if __name__ == "__main__":
    main()
