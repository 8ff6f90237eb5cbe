"""What parts of the engine cost, each against the same without it, paired.

    python benchmarks/engine_costs.py                      # all, about fifteen minutes
    python benchmarks/engine_costs.py --what loop-mlp --rounds 5 --generations 1

``loop-NET``: the engine's loop, which keeps the state from before each call, against a loop written
by hand around the same network, optimizer, metrics and batches, 32 steps a call (8 for ResNet-20).
``augmentation``: the default recipe's epoch with and without its augmentation. ``input``: ResNet-20
with flips and padded crops against one batch that is there already. ``checkpoint-NET``: 100 steps
and a checkpoint against 100 steps, in pairs within one process, since a checkpoint of ResNet-20
takes far less than what two processes of one program differ by.
Reported is the share of the time that the part takes, with its 95 % interval, and of the CPU time,
which tells more on a machine that others use.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time

from contestants import BATCH, begin, guard_of, keras_model
from paired import median_interval, real_time, run_race, serve

THREADS = 2
# what is measured: the contestant with the part, and the one without
PAIRS = {
    "loop-mlp": ("engine", "by-hand"),
    "loop-resnet20": ("engine", "by-hand"),
    "augmentation": ("augmented", "plain"),
    "input": ("pipeline", "one-batch"),
}
CHECKPOINTS = ("checkpoint-mlp", "checkpoint-mnist_cnn", "checkpoint-resnet20")
WHAT = [*PAIRS, *CHECKPOINTS]


def main() -> None:
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--generations", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        what, who = arguments.worker
        if what in CHECKPOINTS:
            print(json.dumps(checkpoint_pairs(what, int(who), arguments.threads)))
        else:
            serve(contestant(what, who, arguments.threads), seconds=arguments.seconds)
        return
    results = {}
    for what in arguments.what:
        measured = checkpoint_share if what in CHECKPOINTS else share
        results[what] = measured(what, arguments)
        if not arguments.json:
            part, low, high = (
                f"{100 * results[what][key]:.1f}" for key in ("share", "low", "high")
            )
            by_cpu = f"{100 * results[what]['cpu_share']:.1f} % of the CPU time"
            print(f"{what}: {part} % ({low} to {high}), {by_cpu}", flush=True)
    if arguments.json:
        print(json.dumps(results, indent=2))


def share(what: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Returns the share of the time that the part takes: 1 - rate with it / rate without."""
    with_it, without = PAIRS[what]

    def command(who):
        worker = [sys.executable, __file__, "--worker", what, who]
        numbers = ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
        return worker + numbers

    race = run_race(
        {who: command(who) for who in (with_it, without)},
        rounds=arguments.rounds,
        generations=arguments.generations,
        environment={"OMP_NUM_THREADS": str(arguments.threads)},
    )
    ratio = race.ratio(with_it, without)
    return {
        "share": 1 - ratio.median,
        "low": 1 - ratio.high,
        "high": 1 - ratio.low,
        "cpu_share": 1 - race.ratio(with_it, without, "cpu").median,
        "rates": {who: race.rate(who) for who in (with_it, without)},
    }


def checkpoint_share(what: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Returns the share of the time that checkpoints take: 1 - time without / time with."""
    pairs = max(2, arguments.rounds * arguments.generations)
    command = [sys.executable, __file__, "--worker", what, str(pairs)]
    done = subprocess.run(
        [*command, "--threads", str(arguments.threads)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    wall, cpu = (
        sorted(1 - plain[clock] / saving[clock] for saving, plain in found) for clock in range(2)
    )
    low, high = median_interval(pairs)
    return {
        "share": statistics.median(wall),
        "low": wall[low],
        "high": wall[high],
        "cpu_share": statistics.median(cpu),
    }


def contestant(what: str, who: str, threads: int):
    """Returns a function that does its steps so many times and returns the images."""
    begin(threads)
    kind, _, net = what.partition("-")
    if kind == "loop":
        return loop(net, by_hand=who == "by-hand")
    if kind == "augmentation":
        return augmentation(is_on=who == "augmented")
    return waiting(is_there=who == "one-batch")


def batches_of(net: str, augment):
    """Batches of random images, enough that they don't lie in a core's cache."""
    import numpy as np

    from dlsuite.data.dataset import Split
    from dlsuite.data.pipeline import training_batches

    random, examples = np.random.default_rng(0), 20 * BATCH
    shape = keras_model(net).input_shape[1:]
    images = random.integers(0, 256, (examples, *shape), dtype=np.uint8)
    labels = random.integers(0, 10, examples).astype("int32")
    return training_batches(
        Split("train", labels, lambda index: images[index], images, range(examples)),
        batch_size=BATCH,
        num_classes=10,
        seed=0,
        augment=augment,
        value_range=(0.0, 255.0),
    )


def engine_steps(model, batches, steps_per_call: int):
    """Returns a function that trains so many calls' steps by the engine's loop."""
    from dlsuite.engine.device import resolve_xla
    from dlsuite.engine.loop import Loop

    loop = Loop(
        model,
        steps_per_call=steps_per_call,
        use_xla=resolve_xla("rule", "/CPU:0", model)[0],
    )
    events = loop.train(batches, steps_per_epoch=2**30, epochs=1, guard=guard_of(model, batches))

    def work(count):
        done = 0
        while done < count * steps_per_call:
            done += next(events).count
        return done * BATCH

    return work


def loop(net: str, *, by_hand: bool):
    """The engine's loop, or one written by hand: ``tf.function`` over ``tf.range``."""
    from dlsuite.engine.device import resolve_xla
    from dlsuite.recipes.schema import Augment

    calls = 8 if net == "resnet20" else 32
    model, batches = keras_model(net), batches_of(net, Augment())
    if not by_hand:
        return engine_steps(model, batches, calls)
    import keras
    import tensorflow as tf

    iterator = iter(batches)
    mean, accuracy = keras.metrics.Mean(), keras.metrics.CategoricalAccuracy()
    measure = keras.losses.CategoricalCrossentropy(from_logits=True)

    def step(images, labels):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = measure(labels, logits)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        mean.update_state(loss)
        accuracy.update_state(labels, logits)

    if resolve_xla("rule", "/CPU:0", model)[0]:
        step = tf.function(step, jit_compile=True)

    @tf.function
    def many(iterator):
        for _ in tf.range(calls):
            step(*next(iterator))
        return mean.result()

    def work(count):
        for _ in range(count):
            many(iterator).numpy()
        return count * calls * BATCH

    return work


def augmentation(*, is_on: bool):
    """Epochs of the default recipe, with or without its augmentation."""
    from dlsuite.planning import plan
    from dlsuite.recipes.schema import Augment

    off = {f"data.augment.{name}": value for name, value in Augment().model_dump().items()}
    task = plan("mnist-cnn", settings={} if is_on else off).task
    batch = task.recipe.train.batch_size
    steps = engine_steps(task.model, task.training_data(), 16)
    return lambda count: steps(count) / BATCH * batch


def waiting(*, is_there: bool):
    """ResNet-20 with its pipeline, or with one batch again and again."""
    from dlsuite.recipes.schema import Augment

    batches = batches_of("resnet20", Augment(flip="horizontal", crop_padding=4))
    if is_there:
        batches = batches.take(1).cache().repeat()
    return engine_steps(keras_model("resnet20"), batches, 2)


def checkpoint_pairs(what: str, pairs: int, threads: int) -> list[list[tuple[float, float]]]:
    """Returns wall-clock and CPU time of 100 steps, with and without a checkpoint meanwhile [s]."""
    from pathlib import Path

    real_time()
    begin(threads)
    from dlsuite.engine.checkpoint import Checkpoints
    from dlsuite.engine.state import State
    from dlsuite.recipes.schema import Augment
    from dlsuite.runs.folder import RunFolder

    net = what.partition("-")[2]
    model = keras_model(net)
    steps = engine_steps(model, batches_of(net, Augment()), 20 if net == "mlp" else 4)
    each = 5 if net == "mlp" else 25
    state = State(model, [model.optimizer])
    folder = RunFolder.create(Path(tempfile.mkdtemp()) / "run")
    checkpoint, saved = Checkpoints(folder), 0

    def timed(is_saving: bool) -> tuple[float, float]:
        nonlocal saved
        wall, cpu = time.perf_counter(), time.process_time()
        if is_saving:
            saved += 1
            checkpoint.save(state, {"step": saved}, step=saved, best=0)
        steps(each)
        checkpoint.wait()
        return time.perf_counter() - wall, time.process_time() - cpu

    for is_saving in (True, False):  # compiles
        timed(is_saving)
    order, found = random.Random(0), []
    for _ in range(pairs):
        both = {is_saving: timed(is_saving) for is_saving in order.sample((True, False), 2)}
        found.append([both[True], both[False]])
    return found


if __name__ == "__main__":
    main()
