"""How a step's time grows with the batch, and an epoch's with the data.

    python benchmarks/step_scaling.py --figure scaling.png      # about three minutes

Fits t = c n^p to the larger half of the sizes, by least squares in the logarithms: below it a
step's own fixed cost shows, which is no growth. Linear growth is p = 1.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from paired import note_ordinary, real_time

BATCHES = (8, 16, 32, 64, 128, 256, 512)
EXAMPLES = (1024, 2048, 4096, 8192, 16384)
BATCH = 128


def main() -> None:
    """Measures, fits, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=["mnist_cnn", "resnet20"])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not real_time():
        note_ordinary("times")
    curves = {}
    for net in arguments.nets:
        curves[f"{net}, step by batch"] = step_times(net, arguments.seconds)
    curves["mnist_cnn, epoch by examples"] = epoch_times()
    results = {
        name: {"sizes": list(times), "seconds": list(times.values()), "exponent": fitted(times)[0]}
        for name, times in curves.items()
    }
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        for name, row in results.items():
            print(f"{name}: exponent {row['exponent']:.3f}")
    if arguments.figure:
        draw(curves, arguments.figure)


def step_times(net: str, seconds: float) -> dict[int, float]:
    """Returns the median time [s] of a training step by batch size, each in its own process."""
    from dlsuite.studies.benchmark import measure_speed, variants

    rows = measure_speed(variants([net], batch_sizes=BATCHES), modes=["training"], seconds=seconds)
    return {row["batch_size"]: row["step_p50_s"] for row in rows}


def epoch_times() -> dict[int, float]:
    """Returns the time [s] of an epoch by the number of examples: the best of three."""
    from dlsuite.runtime import prepare

    prepare()
    import time

    from contestants import keras_model

    from dlsuite.data.dataset import Split
    from dlsuite.data.pipeline import training_batches
    from dlsuite.engine.loop import Loop
    from dlsuite.recipes.schema import Augment

    loop = Loop(keras_model("mnist_cnn"))
    times = {}
    for count in EXAMPLES:
        images = np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
        labels = np.arange(count, dtype=np.int32) % 10
        batches = training_batches(
            Split("train", labels, images.__getitem__, images, range(count)),
            batch_size=BATCH,
            num_classes=10,
            seed=0,
            augment=Augment(rotation=10.0),
            value_range=(0.0, 255.0),
        )
        found = []
        for _ in range(4):  # the first one of all compiles
            started = time.perf_counter()
            list(loop.train(batches, steps_per_epoch=count // BATCH, epochs=1))
            found.append(time.perf_counter() - started)
        times[count] = min(found[1:])
    return times


def fitted(times: dict[int, float]) -> tuple[float, float]:
    """Returns p and log c of t = c n^p over the larger half of the sizes."""
    half = list(times.items())[-(-len(times) // 2) :]
    return tuple(np.polyfit(*np.log(np.array(half)).T, 1))


def draw(curves: dict[str, dict[int, float]], path: Path) -> None:
    """Draws the times with their fits."""
    from matplotlib.figure import Figure

    from dlsuite.reports import style

    with style.applied():
        figure = Figure(figsize=(2.6 * len(curves), 2.4))
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (name, times) in zip(panels, curves.items(), strict=True):
            exponent, offset = fitted(times)
            sizes = np.array(list(times))
            axes.loglog(sizes, list(times.values()), "o", color=style.BLUE, markersize=4)
            fit = np.exp(offset) * sizes**exponent
            axes.loglog(sizes, fit, color=style.ORANGE, label=f"exponent {exponent:.2f}")
            axes.set_title(name.partition(", ")[0])
            axes.set_xlabel(name.rpartition(" ")[2])
            axes.set_ylabel(name.partition(", ")[2].partition(" ")[0] + " [s]")
            axes.legend()
    style.save(figure, path)


if __name__ == "__main__":
    main()
