"""Points of a loss landscape a second: dlsuite's compiled grid against the usual loop.

    python benchmarks/landscape_speed.py --network mnist_cnn

Paired slices (see paired.py) of three programs on the same network and 512 images: the grid of
`dlsuite loss-landscape`; ``set_weights`` and ``evaluate`` for each point; and the bare forward
passes, compiled, on weights that never change. The grid is to be at least 3 times as fast as the
loop and to take at most 1.3 times the bare passes' time.
"""

import argparse
import json
import sys

import numpy as np
from paired import run_race, serve

_SAMPLES, _BATCH = 512, 128
_SHAPES = {"mnist_cnn": (28, 28, 1), "mlp": (28, 28, 1), "resnet20": (32, 32, 3)}


def main() -> None:
    """Runs the race, or one contestant of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=_SHAPES, default="mnist_cnn")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--generations", type=int, default=3)
    parser.add_argument("--contestant", choices=("grid", "loop", "bare"))
    arguments = parser.parse_args()
    if arguments.contestant:
        serve(_work(arguments.contestant, arguments.network))
        return
    commands = {
        name: [sys.executable, __file__, "--network", arguments.network, "--contestant", name]
        for name in ("grid", "loop", "bare")
    }
    race = run_race(commands, rounds=arguments.rounds, generations=arguments.generations)
    for clock in ("wall", "cpu"):
        found = {
            "network": arguments.network,
            "clock": clock,
            "points_per_s": {name: race.rate(name, clock=clock) for name in commands},
            "grid_to_loop": str(race.ratio("grid", "loop", clock=clock)),
            "bare_to_grid": str(race.ratio("bare", "grid", clock=clock)),
        }
        print(json.dumps(found, indent=1))


def _work(contestant: str, network: str):
    """What a contestant repeats: so many points of a plane; returns their number."""
    from dlsuite.runtime import prepare

    prepare()
    import keras
    import tensorflow as tf

    from dlsuite.analysis.landscape import Samples, Surface, random_direction, weights_of
    from dlsuite.models.build import build_network

    shape = _SHAPES[network]
    built = build_network(network, image_shape=shape, num_classes=10, mean=None, std=None, seed=0)
    model = built.model
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (_SAMPLES, *shape)).astype(np.float32)
    labels = rng.integers(0, 10, _SAMPLES).astype(np.int32)
    start = weights_of(model)
    directions = [random_direction(model, seed=0, number=number) for number in range(2)]
    places = rng.uniform(-1, 1, (10_000, 2))
    samples = Samples(
        tf.constant(images.reshape(-1, _BATCH, *shape)), tf.constant(labels.reshape(-1, _BATCH))
    )
    if contestant == "grid":
        surface = Surface(model, {"train": samples}, [start, *directions])

        def grid(count: int) -> int:
            surface(np.column_stack([np.ones(count), places[:count]]))
            return count

        return grid
    if contestant == "bare":

        @tf.function
        def passes(count):
            total = 0.0
            for _ in tf.range(count):
                for index in tf.range(_SAMPLES // _BATCH):
                    total += tf.reduce_sum(model(samples.images[index], training=False))
            return total

        def bare(count: int) -> int:
            passes(tf.constant(count))
            return count

        return bare
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )

    def loop(count: int) -> int:
        for a, b in places[:count]:
            moved = [w + a * d + b * e for w, d, e in zip(start, *directions, strict=True)]
            model.set_weights(moved)
            model.evaluate(images, labels, batch_size=_BATCH, verbose=0)
        return count

    return loop


if __name__ == "__main__":
    main()
