"""What reducing gradients over worker processes costs: on loopback measured, elsewhere by formula.

    python benchmarks/loopback_communication.py              # two workers, about three minutes
    python benchmarks/loopback_communication.py --table      # the table for up to 1000 GPUs

A ring all-reduce of S bytes over W workers sends 2 (W - 1) / W S bytes from each of them, in
2 (W - 1) messages: t = 2 (W - 1) a + 2 (W - 1) / W S / b, with a message's latency a and a link's
bandwidth b. Measured are all-reduces of growing size, to which a and b are fitted, and training
steps with the workers, and with as many processes at once that don't speak to each other and have
the same share of the batch; what the workers take longer is set beside the formula's time for the
network's gradients.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
from paired import note_ordinary, real_time

SHARE = 32
NETS = ("mlp", "mnist_cnn", "resnet20")
SIZES = [2**power for power in range(12, 27, 2)]
# parameters of networks (dlsuite models), and links [s, bytes/s]: typical figures, not measured
PARAMETERS = {"resnet20": 0.27e6, "resnet50": 25.6e6, "resnet152": 60.2e6, "vgg16": 138.4e6}
LINKS = {"10 Gb/s Ethernet": (50e-6, 1.25e9), "200 Gb/s InfiniBand": (2e-6, 25e9)}


def ring_time(size: float, workers: int, latency: float, bandwidth: float) -> float:
    """Returns the time [s] of a ring all-reduce of so many bytes."""
    return 2 * (workers - 1) * (latency + size / workers / bandwidth)


def main() -> None:
    """Measures, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--nets", nargs="+", default=list(NETS))
    parser.add_argument("--table", action="store_true", help="by formula; measures nothing")
    parser.add_argument("--worker", type=int, metavar="NUMBER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        print(json.dumps(measure(arguments.nets, arguments.worker)), flush=True)
    elif arguments.table:
        print_table()
    else:
        compare(arguments.workers, arguments.nets)


def print_table() -> None:
    """Prints volume and time a step by network, link and number of workers."""
    print("| network | gradients | link | W = 8 | W = 64 | W = 1000 |")
    print("|---|---|---|---|---|---|")
    for net, parameters in PARAMETERS.items():
        for link, (latency, bandwidth) in LINKS.items():
            size = 4 * parameters
            times = [ring_time(size, workers, latency, bandwidth) for workers in (8, 64, 1000)]
            said = " | ".join(f"{1e3 * seconds:,.3g} ms" for seconds in times)
            print(f"| {net} | {size / 1e6:,.3g} MB | {link} | {said} |")


def compare(workers: int, nets: list[str]) -> None:
    """Runs the workers, then processes that don't speak, and prints both beside the formula."""
    cores = len(os.sched_getaffinity(0))
    if workers > cores:
        raise SystemExit(f"Each worker needs a core of its own. Received: {workers} for {cores}.")
    if not real_time():
        note_ordinary("times")
    together, apart = run(workers, nets), run(workers, nets, speaking=False)
    factor = 2 * (workers - 1)
    sizes, times = np.array(list(together["reduce"].items()), float).T
    # least squares of t = factor (a + S / W / b), each size weighing the same
    design = factor * np.stack([np.ones_like(sizes), sizes / workers], axis=1)
    scale = 1 / times[:, None]
    (latency, inverse), *_ = np.linalg.lstsq(design * scale, np.ones_like(times), rcond=None)
    print(f"latency {1e6 * latency:.0f} us, bandwidth {1e-9 / inverse:.2f} GB/s, fitted to")
    for size, seconds in zip(sizes, times, strict=True):
        fitted = ring_time(size, workers, latency, 1 / inverse)
        print(f"  {size:>12,.0f} bytes: {1e3 * seconds:.3f} ms, by formula {1e3 * fitted:.3f} ms")
    print("| network | gradients | apart | workers | longer by | formula |")
    print("|---|---|---|---|---|---|")
    for net in nets:
        (size, with_others), (_, by_itself) = together["steps"][net], apart["steps"][net]
        formula = ring_time(size, workers, latency, 1 / inverse)
        cells = [by_itself, with_others, with_others - by_itself, formula]
        said = " | ".join(f"{1e3 * seconds:.2f} ms" for seconds in cells)
        print(f"| {net} | {size / 1e6:.2f} MB | {said} |")


def run(workers: int, nets: list[str], *, speaking: bool = True) -> dict:
    """Returns what the first of the workers measured, or of as many that know of no others."""
    ports = [_free_port() for _ in range(workers)]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    processes = []
    for number in range(workers):
        task = {"cluster": cluster, "task": {"type": "worker", "index": number}}
        variables = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        if speaking:
            variables["TF_CONFIG"] = json.dumps(task)
        command = [sys.executable, __file__, "--worker", str(number), "--nets", *nets]
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
        )
    answers = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("A worker failed; its message stands above.")
    return json.loads(answers[0].splitlines()[-1])


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def measure(nets: list[str], number: int) -> dict:
    """Returns seconds of an all-reduce by size, and (bytes, seconds) of a step by network."""
    # a core of its own: TensorFlow runs operations side by side even with one thread for each
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[number]})
    from dlsuite.runtime import prepare

    prepare()
    from dlsuite.engine.device import set_threads
    from dlsuite.engine.strategy import choose_strategy

    set_threads(1)
    strategy = choose_strategy(1, "/CPU:0")
    with strategy.scope():
        workers = strategy.num_replicas_in_sync
        reduce = {size: reduce_time(strategy, size) for size in SIZES} if workers > 1 else {}
        return {"reduce": reduce, "steps": {net: step_time(net, workers) for net in nets}}


def reduce_time(strategy, size: int) -> float:
    """Returns the time [s] of an all-reduce of so many bytes, the median of ten."""
    import tensorflow as tf

    value = tf.ones(size // 4)

    def replica():
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, value)[0]

    reduce = tf.function(lambda: strategy.run(replica))
    times = []
    for _ in range(12):
        started = time.perf_counter()
        reduce().numpy()
        times.append(time.perf_counter() - started)
    return float(np.median(times[2:]))


def step_time(net: str, workers: int) -> tuple[int, float]:
    """Returns the bytes of a network's gradients and the time [s] of a step, XLA off."""
    from contestants import keras_model

    from dlsuite.data.dataset import Split
    from dlsuite.data.pipeline import training_batches
    from dlsuite.engine.loop import Loop
    from dlsuite.engine.replicas import prepare_model, replica_batches
    from dlsuite.recipes.schema import Augment

    model = keras_model(net)
    prepare_model(model, [(model.optimizer, model.trainable_variables)])
    examples = 16 * SHARE * workers
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (examples, *model.input_shape[1:]), dtype=np.uint8)
    labels = random.integers(0, 10, examples).astype(np.int32)
    split = Split("train", labels, images.__getitem__, images, range(examples))

    def batches(shard):
        return training_batches(
            split,
            batch_size=SHARE * workers,
            num_classes=10,
            seed=0,
            augment=Augment(),
            value_range=(0.0, 255.0),
            shard=shard,
        )

    # the same number of steps a call in every worker: none may wait for one that has ended
    loop = Loop(model, steps_per_call=1)
    events = loop.train(replica_batches(batches), steps_per_epoch=2**30, epochs=1)
    times = [next(events).seconds for _ in range(60)]
    events.close()
    return 4 * sum(int(np.prod(w.shape)) for w in model.trainable_weights), float(
        np.median(times[10:])
    )


if __name__ == "__main__":
    main()
