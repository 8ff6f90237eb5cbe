"""Images/s of dlsuite's input pipeline and of the usual one, and the time to start anywhere.

    python benchmarks/input_pipeline.py                # both sources and the start: five minutes
    python benchmarks/input_pipeline.py --what memory --rounds 5 --generations 1

Both draw a random order each epoch and, for each image, a mirroring, a place of a crop padded by
4 pixels and an angle up to 15 degrees, at batch 128. ``memory``: 50,000 uint8 images of 32x32x3;
``jpeg``: a prepared tfds dataset of JPEGs of that size (jpeg_pictures.py), decoded when read. The
usual pipeline is shuffle, map, batch and Keras's RandomRotation on the batch. ``start`` is the
time to the first batch at several steps, the last in the middle of the hundredth epoch.
"""

import argparse
import json
import os
import sys
import time

import numpy as np
from paired import run_race, serve

BATCH = 128
EXAMPLES = 50_000
SHUFFLED = 10_000
WHAT = ("memory", "jpeg", "start")


def main() -> None:
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--generations", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--folder", help="keeps the prepared JPEGs there", default="")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        serve(contestant(*arguments.worker, arguments.folder), seconds=arguments.seconds)
        return
    arguments.folder = arguments.folder or f"/tmp/dlsuite-pictures-{os.getuid()}"
    results = {}
    for what in arguments.what:
        results[what] = starts(arguments.folder) if what == "start" else race(what, arguments)
        if not arguments.json:
            print(
                f"{what}: {results[what] if what == 'start' else _said(results[what])}", flush=True
            )
    if arguments.json:
        print(json.dumps(results, indent=2))


def race(source: str, arguments: argparse.Namespace) -> dict:
    """Returns the race of the two pipelines over one source."""
    if source == "jpeg":
        split_of_pictures(arguments.folder)  # prepared before the contestants need it

    def command(who):
        worker = [sys.executable, __file__, "--worker", who, source]
        return [*worker, "--folder", arguments.folder, "--seconds", str(arguments.seconds)]

    found = run_race(
        {who: command(who) for who in ("dlsuite", "usual")},
        rounds=arguments.rounds,
        generations=arguments.generations,
    )
    return found.as_json("dlsuite")


def _said(result: dict) -> str:
    rate, ratio = result["wall"]["rate"], result["wall"]["ratio"]["usual"]
    return (
        f"{rate['dlsuite']:,.0f} against {rate['usual']:,.0f} images/s, "
        f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
    )


def contestant(who: str, source: str, folder: str):
    """Returns a function that makes so many times ten batches and returns the images."""
    from dlsuite.runtime import prepare

    prepare()
    if who == "dlsuite":
        split = split_in_memory() if source == "memory" else split_of_pictures(folder)
        batches = iter(ours(split))
    else:
        batches = iter(usual(source, folder))

    def work(count):
        for _ in range(10 * count):
            next(batches)
        return 10 * count * BATCH

    return work


def ours(split, start_step: int = 0):
    """dlsuite's training batches."""
    from dlsuite.data.pipeline import training_batches
    from dlsuite.recipes.schema import Augment

    return training_batches(
        split,
        batch_size=BATCH,
        num_classes=10,
        seed=0,
        augment=Augment(flip="horizontal", crop_padding=4, rotation=15.0),
        value_range=(0.0, 255.0),
        start_step=start_step,
    )


def usual(source: str, folder: str):
    """The same augmentations as most code writes them."""
    import keras
    import tensorflow as tf

    rotation = keras.layers.RandomRotation(15 / 360, fill_mode="constant")

    def change(image, label):
        image = tf.image.random_flip_left_right(image)
        image = tf.image.resize_with_crop_or_pad(image, 40, 40)
        return tf.image.random_crop(image, (32, 32, 3)), tf.one_hot(label, 10)

    if source == "memory":
        data = tf.data.Dataset.from_tensor_slices(arrays())
    else:
        import tensorflow_datasets as tfds

        data = tfds.load(
            builder_name(), split="train", data_dir=folder, as_supervised=True, shuffle_files=True
        )
    return (
        data.repeat()
        .shuffle(SHUFFLED)
        .map(change, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH, drop_remainder=True)
        .map(
            lambda images, labels: (rotation(tf.cast(images, tf.float32), training=True), labels),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def arrays():
    """Random images and labels: what they show changes no time."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (EXAMPLES, 32, 32, 3), dtype=np.uint8)
    return images, random.integers(0, 10, EXAMPLES).astype(np.int32)


def split_in_memory():
    from dlsuite.data.dataset import Split

    images, labels = arrays()
    return Split("train", labels, lambda index: images[index], images, range(EXAMPLES))


def builder_name() -> str:
    import jpeg_pictures  # noqa: F401  registers the builder

    return "jpeg_pictures"


def split_of_pictures(folder: str):
    """The training split of the JPEGs, prepared where it isn't yet, read when needed."""
    from dlsuite.runtime import prepare

    prepare()
    os.environ["TFDS_DATA_DIR"] = folder
    import tensorflow_datasets as tfds

    builder = tfds.builder(builder_name(), data_dir=folder)
    builder.download_and_prepare()
    from dlsuite.data.tfds_reader import read_builder
    from dlsuite.recipes.schema import Data

    settings = Data(name=builder_name(), memory_gb=0.0)
    return read_builder(builder, "", settings, name=builder_name()).splits["train"]


def starts(folder: str) -> dict[int, float]:
    """Returns the time [s] to the first batch, by the step that the training starts at."""
    split = split_of_pictures(folder)
    next(iter(ours(split)))  # imports and traces what the first one of a process needs
    steps = split.num_examples // BATCH
    times = {}
    for step in (0, steps // 2, 10 * steps + 7, 99 * steps + steps // 2):
        started = time.perf_counter()
        next(iter(ours(split, step)))
        times[step] = round(time.perf_counter() - started, 3)
    return times


if __name__ == "__main__":
    main()
