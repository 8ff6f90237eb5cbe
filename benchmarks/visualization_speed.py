"""Activation maximisation: all channels of a layer in one call against a loop over channels.

    python benchmarks/visualization_speed.py MODEL.keras --preprocessing torch

takes turns, a round each, on the same machine: the batched call of dlsuite, and what is written
without it, one channel after the other through a step that is compiled once (pictures of one, so
that only the batching differs) and through one that is compiled anew for each channel, which is
what a `tf.function` in the body of a loop does. tf-keras-vis is entered where it is installed. The
last two have nothing that several channels share and run over a few of them; seconds a channel are
compared. With `--memory` it prints the resident memory after every 20 units instead.
"""

import argparse
import resource
import statistics
import time

import numpy as np

from dlsuite.visualize.opening import open_study
from dlsuite.visualize.study import Options


def main() -> None:
    arguments = _arguments()
    study = open_study(arguments.model, options=Options(), preprocessing=arguments.preprocessing)
    layer = study.anatomy.find(arguments.layer)
    if arguments.memory:
        _memory(study, layer, arguments)
        return
    contestants = {
        "batched": (_ours, arguments.channels, arguments.channels),
        "loop, compiled once": (_ours, arguments.channels, 1),
        "loop, compiled each time": (_retraced, arguments.loop_channels, None),
    }
    if _tf_keras_vis() is not None:
        contestants["tf-keras-vis"] = (_theirs, arguments.loop_channels, None)
    seconds = {name: [] for name in contestants}
    for number in range(arguments.rounds):
        for name, (run, channels, batch_size) in contestants.items():
            start = time.perf_counter()
            run(study, layer, arguments, channels, batch_size)
            seconds[name].append((time.perf_counter() - start) / channels)
            print(
                f"round {number + 1}: {name} {seconds[name][-1]:.2f} s a channel of {channels}",
                flush=True,
            )
    ours = seconds["batched"]
    for name, found in seconds.items():
        ratios = [a / b for a, b in zip(found, ours, strict=True)]
        print(
            f"{name}: median {statistics.median(found):.2f} s a channel, "
            f"{statistics.median(ratios):.2f} times the batched call's"
        )


def _ours(study, layer, arguments, channels: int, batch_size: int) -> None:
    from dlsuite.analysis.neurons.maximisation import maximise

    maximise(
        study.subject,
        layer,
        range(channels),
        steps=arguments.steps,
        size=arguments.size,
        batch_size=batch_size,
    )


def _retraced(study, layer, arguments, channels: int, _) -> None:
    from dlsuite.analysis.neurons.maximisation import maximise

    for unit in range(channels):
        maximise(study.subject, layer, [unit], steps=arguments.steps, size=arguments.size)


def _tf_keras_vis():
    try:
        from tf_keras_vis.activation_maximization import ActivationMaximization
    except Exception as error:  # an old release may fail in any way on a new Keras
        print(f"tf-keras-vis can't be entered: {type(error).__name__}: {error}")
        return None
    return ActivationMaximization


def _theirs(study, layer, arguments, channels: int, _) -> None:
    """One channel after the other, on the part of the network up to the layer, at the same size.

    Its defaults otherwise: a picture in pixels, moved by NumPy and SciPy between the steps.
    """
    import keras
    from tf_keras_vis.utils.scores import CategoricalScore

    from dlsuite.models.graft import graft

    image = keras.Input((arguments.size, arguments.size, study.subject.input_shape[-1]))
    whole = keras.Model(image, graft(study.subject.model, image))
    part = keras.Model(image, whole.get_layer(layer.place.name).output)
    visualiser = _tf_keras_vis()(part, clone=False)
    for unit in range(channels):
        visualiser(CategoricalScore(unit), steps=arguments.steps, input_range=(-2.0, 2.0))


def _memory(study, layer, arguments) -> None:
    from dlsuite.analysis.neurons.maximisation import maximise

    for start in range(0, 200, 20):
        units = np.arange(start, start + 20) % layer.place.num_units
        maximise(study.subject, layer, units, steps=8, size=arguments.size, batch_size=20)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[1]) * resource.getpagesize() / 2**20
        print(f"{start + 20} units: {now:.0f} MB resident, {peak:.0f} MB at most", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--preprocessing", default=None)
    parser.add_argument("--layer", default="features_8_conv_0_0")
    parser.add_argument("--channels", type=int, default=64, help="channels of the batched call")
    parser.add_argument("--loop-channels", type=int, default=4, help="channels of the others")
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="print memory instead of times")
    return parser.parse_args()


if __name__ == "__main__":
    main()
