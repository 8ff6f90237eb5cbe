"""Training images/s of dlsuite, stock Keras and PyTorch, paired.

    python benchmarks/training_speed.py                      # all networks, about ten minutes
    python benchmarks/training_speed.py --nets mlp --rounds 3

Each library has a process of its own, which builds the network, warms up and then waits; the
rounds go through the libraries in turn, one running at a time, so that a machine whose speed
drifts is the same for all. Reported are medians over rounds, the median of the ratios within a
round, and each library's spread: the middle half of its rounds as a fraction of the median.

The same for all: architecture, batch size, float32, threads, optimizer, loss and accuracy
measured, images in memory as uint8 and drawn in a new random order each epoch, no
augmentation. PyTorch runs eager in the channels_last format.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

BATCH = 128
LIBRARIES = ("dlsuite", "keras", "torch")
# examples: an epoch of one to two seconds
NETS = {
    "mlp": {
        "title": "MLP 784-256-128-10",
        "shape": (28, 28, 1),
        "optimizer": "adam",
        "examples": 300 * BATCH,
    },
    "mnist_cnn": {
        "title": "default net, mnist_cnn",
        "shape": (28, 28, 1),
        "optimizer": "adam",
        "examples": 30 * BATCH,
    },
    "resnet20": {
        "title": "ResNet-20",
        "shape": (32, 32, 3),
        "optimizer": "momentum",
        "examples": 6 * BATCH,
    },
}


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0, help="per library and round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, metavar=("LIBRARY", "NET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(*arguments.worker, threads=arguments.threads, seconds=arguments.seconds)
        return
    results = {}
    if not arguments.json:
        print("| network | dlsuite | stock Keras | PyTorch | to Keras | to PyTorch | spread |")
        print("|---|---|---|---|---|---|---|")
    for net in arguments.nets:
        rounds = measure(net, arguments)
        results[net] = {
            "images_per_s": {name: statistics.median(rounds[name]) for name in LIBRARIES},
            "spread": {name: spread(rounds[name]) for name in LIBRARIES},
            "ratio": {
                name: statistics.median(
                    ours / theirs
                    for ours, theirs in zip(rounds["dlsuite"], rounds[name], strict=True)
                )
                for name in LIBRARIES[1:]
            },
        }
        if not arguments.json:
            print_row(net, results[net])
    if arguments.json:
        print(json.dumps({"batch": BATCH, "threads": arguments.threads, "nets": results}, indent=2))


def spread(rates: list[float]) -> float:
    """Returns the range of the middle half of the rounds, as a fraction of the median."""
    quarters = statistics.quantiles(rates, n=4)
    return (quarters[2] - quarters[0]) / statistics.median(rates)


def print_row(net: str, result: dict) -> None:
    rates = result["images_per_s"]
    cells = [NETS[net]["title"], *(f"{rates[name]:,.0f}" for name in LIBRARIES)]
    cells += [f"{result['ratio'][name]:.2f}" for name in LIBRARIES[1:]]
    cells.append(", ".join(f"{100 * result['spread'][name]:.0f} %" for name in LIBRARIES))
    print("| " + " | ".join(cells) + " |", flush=True)


def measure(net: str, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Returns images/s of each library in each round."""
    workers = {name: start(name, net, arguments) for name in LIBRARIES}
    rounds = {name: [] for name in LIBRARIES}
    try:
        for worker in workers.values():
            ask(worker)  # built and warm
        for number in range(arguments.rounds):
            # the order turns, so that none always follows the same other
            for offset in range(len(LIBRARIES)):
                name = LIBRARIES[(number + offset) % len(LIBRARIES)]
                rounds[name].append(ask(workers[name]))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    return rounds


def start(name: str, net: str, arguments: argparse.Namespace) -> subprocess.Popen:
    threads = str(arguments.threads)
    # idle processes must not spin on the cores that the running one needs
    environment = os.environ | {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, __file__, "--worker", name, net]
    command += ["--threads", threads, "--seconds", str(arguments.seconds)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def ask(worker: subprocess.Popen) -> float:
    worker.stdin.write("go\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise SystemExit("A worker ended early; its message stands above.")
    return float(answer)


def work(library: str, net: str, *, threads: int, seconds: float) -> None:
    """Answers each line on stdin with images/s over about that many seconds."""
    # imported here: each process loads one library alone
    import numpy as np

    random = np.random.default_rng(0)
    shape, examples = NETS[net]["shape"], NETS[net]["examples"]
    images = random.integers(0, 256, (examples, *shape), dtype=np.uint8)
    labels = random.integers(0, 10, examples).astype("int32")
    make = {"dlsuite": dlsuite_epochs, "keras": keras_epochs, "torch": torch_epochs}[library]
    train = make(net, images, labels, threads)
    train(2)
    rate = None
    for _ in sys.stdin:
        epochs = 1 if rate is None else max(1, round(rate * seconds / examples))
        started = time.perf_counter()
        train(epochs)
        rate = epochs * examples / (time.perf_counter() - started)
        print(rate, flush=True)


def dlsuite_epochs(net, images, labels, threads):
    from dlsuite.runtime import prepare

    prepare()
    from dlsuite.data.dataset import Split
    from dlsuite.data.pipeline import training_batches
    from dlsuite.engine.device import resolve_xla, set_threads
    from dlsuite.engine.loop import Loop, Progress
    from dlsuite.recipes.schema import Augment

    set_threads(threads)
    model = keras_model(net)
    batches = training_batches(
        Split("train", labels, lambda index: images[index], images, range(len(labels))),
        batch_size=BATCH,
        num_classes=10,
        seed=0,
        augment=Augment(),
        value_range=(0.0, 255.0),
    )
    loop = Loop(model, use_xla=resolve_xla("auto", "/CPU:0", model)[0])

    def train(epochs):
        steps = len(labels) // BATCH
        for _ in loop.train(batches, steps_per_epoch=steps, epochs=epochs, progress=Progress()):
            pass

    return train


def keras_epochs(net, images, labels, threads):
    from dlsuite.runtime import prepare

    prepare()
    import keras
    import tensorflow as tf

    from dlsuite.engine.device import set_threads

    set_threads(threads)
    ours = keras_model(net)
    # through the file format every layer becomes Keras's own
    path = f"/tmp/dlsuite-benchmark-{os.getpid()}.keras"
    keras.Model(ours.inputs, ours.outputs).save(path)
    model = keras.saving.load_model(path)
    os.remove(path)
    compile_model(model, net)
    data = (
        tf.data.Dataset.from_tensor_slices((images, np_one_hot(labels)))
        .shuffle(len(labels))
        .batch(BATCH, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )

    def train(epochs):
        model.fit(data, epochs=epochs, shuffle=False, verbose=0)  # the data shuffles itself

    return train


def np_one_hot(labels):
    import numpy as np

    return np.eye(10, dtype="float32")[labels]


def keras_model(net):
    from dlsuite.models.build import build_network

    shape = NETS[net]["shape"]
    statistics = {"mean": [127.5] * shape[-1], "std": [73.9] * shape[-1]}
    model = build_network(net, image_shape=shape, num_classes=10, **statistics).model
    compile_model(model, net)
    return model


def compile_model(model, net):
    import keras

    optimizers = {
        "adam": keras.optimizers.Adam(1e-3),
        "momentum": keras.optimizers.SGD(0.1, momentum=0.9),
    }
    model.compile(
        optimizers[NETS[net]["optimizer"]],
        keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    model.optimizer.build(model.trainable_variables)


def torch_epochs(net, images, labels, threads):
    import torch
    from torch_networks import NETWORKS

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    model = NETWORKS[net]().to(memory_format=torch.channels_last)
    parameters = model.parameters()
    if NETS[net]["optimizer"] == "adam":
        optimizer = torch.optim.Adam(parameters, 1e-3)
    else:
        optimizer = torch.optim.SGD(parameters, 0.1, momentum=0.9)
    # (N, H, W, C) in memory is what PyTorch calls channels_last
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    targets = torch.from_numpy(labels).long()
    measure_loss = torch.nn.CrossEntropyLoss()

    def train(epochs):
        model.train()
        for _ in range(epochs):
            order = torch.randperm(len(labels))
            loss_sum, hits = torch.zeros(()), torch.zeros(())
            for start in range(0, len(labels), BATCH):
                index = order[start : start + BATCH]
                image = (pixels[index].float() - 127.5) / 73.9
                target = targets[index]
                optimizer.zero_grad(set_to_none=True)
                logits = model(image)
                loss = measure_loss(logits, target)
                loss.backward()
                optimizer.step()
                loss_sum += loss.detach()
                hits += (logits.detach().argmax(1) == target).sum()

    return train


if __name__ == "__main__":
    main()
