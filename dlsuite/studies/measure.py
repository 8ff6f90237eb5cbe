"""Speed of one network under one setting, measured in a process of its own.

    python -m dlsuite.studies.measure REQUEST ANSWER

REQUEST is JSON: ``what`` (``speed``, ``passes`` or ``device``), ``variant`` and further arguments
of the function of that name; ANSWER the file that gets the JSON. Threads, oneDNN and peak memory
belong to a process, so nothing else is measured in it (see `dlsuite.studies.benchmark`).
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlsuite.runtime import prepare

prepare()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from dlsuite.data.dataset import Split  # noqa: E402
from dlsuite.data.pipeline import training_batches  # noqa: E402
from dlsuite.engine.device import resolve_device, resolve_xla, set_threads  # noqa: E402
from dlsuite.engine.loop import Loop  # noqa: E402
from dlsuite.engine.replicas import prepare_model  # noqa: E402
from dlsuite.errors import DlsuiteError  # noqa: E402
from dlsuite.models.build import build_network  # noqa: E402
from dlsuite.models.summary import flops  # noqa: E402
from dlsuite.recipes.schema import Augment  # noqa: E402
from dlsuite.tasks.precision import precision_policy  # noqa: E402

# A timed call lasts about this long [s]: a call's own cost, under a millisecond, is then below 2 %.
_CALL_SECONDS = 0.05
_MOST_STEPS = 32
_BATCHES_IN_MEMORY = 8
# The backward pass computes two products for each one of the forward pass: one for the gradient
# of its input, one for that of its weights.
_TRAINING_TO_FORWARD = 3


def speed(
    variant: Mapping[str, Any], *, modes: list[str], seconds: float
) -> dict[str, dict[str, Any]]:
    """Returns, by mode, images/s, step times, time to the first step, memory and FLOP/s.

    Training goes through the engine's loop and input pipeline, without augmentation; inference
    takes images from memory and brings the logits back there, a batch a call.

    Args:
        variant: the fields of a `dlsuite.studies.benchmark.Variant`.
        modes: of ``inference`` and ``training``, in this order: the peak of the memory that a
            process uses never falls, and training needs more of it.
        seconds: measured for each mode.
    """
    device, threads = resolve_device(variant["device"]), set_threads(variant["threads"])
    with tf.device(device):
        peak = matrix_product(device, variant["precision"])
        if "GPU" in device:  # what the product took is not the network's
            tf.config.experimental.reset_memory_stats(device.strip("/"))
        model, use_xla = _network(variant, device)
        per_image = flops(model)
        rows = {}
        for mode in modes:
            timed = _train if mode == "training" else _infer
            work = per_image * (_TRAINING_TO_FORWARD if mode == "training" else 1)
            first, steps = timed(model, variant, use_xla, seconds)
            step = float(np.sum([s for s, _ in steps]) / np.sum([n for _, n in steps]))
            each = [total / count for total, count in steps]
            rows[mode] = {
                "images_per_s": variant["batch_size"] / step,
                "step_p50_s": float(np.percentile(each, 50)),
                "step_p95_s": float(np.percentile(each, 95)),
                "first_step_s": first,
                "peak_memory_bytes": _peak_memory(device),
                "flops_per_image": work,
                "flops_per_s": work * variant["batch_size"] / step,
                "xla_used": use_xla,
                "threads": threads,
            }
        # before and after, as another process may have used the cores in the meantime
        peak = max(peak, matrix_product(device, variant["precision"]))
    return {mode: row | {"peak_flops_per_s": peak} for mode, row in rows.items()}


def passes(variant: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    """Returns the time of a forward pass, and of a forward and backward pass [s].

    The loss of one batch that lies in the device's memory and its gradient for every weight;
    no optimizer, no input pipeline. Medians over the calls of about `seconds` each, three at
    least.
    """
    device = resolve_device(variant["device"])
    set_threads(variant["threads"])
    with tf.device(device):
        model, use_xla = _network(variant, device)
        images, labels = _examples(variant, variant["batch_size"])
        images = tf.constant(images, tf.float32)
        targets = tf.one_hot(labels, model.output_shape[-1])

        def forward() -> tf.Tensor:
            return model.compute_loss(y=targets, y_pred=model(images, training=True))

        def backward() -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = forward()
            # one number out of each: none may be left out as unused, and little is copied
            gradients = tape.gradient(loss, model.trainable_variables)
            return tf.add_n([tf.reduce_max(gradient) for gradient in gradients])

        compiled = [
            tf.function(one, jit_compile=use_xla, autograph=False) for one in (forward, backward)
        ]
        times = [_median(call, seconds) for call in compiled]
    return {"forward_s": times[0], "forward_backward_s": times[1], "xla_used": use_xla}


def device(variant: Mapping[str, Any]) -> dict[str, float]:
    """Returns what a device computes and moves at most: FLOP/s and bytes/s, measured."""
    name = resolve_device(variant["device"])
    set_threads(variant["threads"])
    with tf.device(name):
        return {
            "peak_flops_per_s": matrix_product(name, variant["precision"]),
            "bandwidth_bytes_per_s": copy_bandwidth(name),
        }


def matrix_product(device: str, precision: str) -> float:
    """Returns FLOP/s of the product of two square matrices: 2 n^3 operations, best of several."""
    side = 8192 if "GPU" in device else 2048
    dtype = tf.as_dtype(precision)
    matrix = tf.cast(tf.random.stateless_normal((side, side), seed=(0, 0)), dtype)

    @tf.function(autograph=False)
    def product() -> tf.Tensor:
        return tf.reduce_max(tf.matmul(matrix, matrix))

    return 2 * side**3 / _best(product)


def copy_bandwidth(device: str) -> float:
    """Returns bytes/s read and written by y = a x, the best of several.

    STREAM's kernel "scale", a copy that no compiler can leave out, over 256 MiB (1 GiB on a GPU).
    """
    count = 2**28 if "GPU" in device else 2**26
    values = tf.ones(count)
    factor = tf.constant(1.000001)

    def scaled() -> tf.Tensor:
        return values * factor

    return 2 * 4 * count / _best(scaled, finish=lambda tensor: tensor[0])


def _best(call: Callable[[], tf.Tensor], *, finish: Callable = lambda tensor: tensor) -> float:
    """The shortest of at least five calls after two; a result's value is waited for."""
    times = []
    started = time.perf_counter()
    while len(times) < 7 or time.perf_counter() - started < 0.5:
        before = time.perf_counter()
        finish(call()).numpy()
        times.append(time.perf_counter() - before)
    return min(times[2:])


def _median(call: Callable[[], tf.Tensor], seconds: float) -> float:
    call().numpy()  # compiles
    call().numpy()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        before = time.perf_counter()
        call().numpy()
        times.append(time.perf_counter() - before)
    return float(np.median(times))


def _network(variant: Mapping[str, Any], device: str) -> tuple[keras.Model, bool]:
    """The compiled network and whether XLA compiles its steps."""
    shape = tuple(variant["image_shape"])
    with precision_policy(variant["precision"]):
        model = build_network(
            variant["model"],
            image_shape=shape,
            num_classes=variant["num_classes"],
            mean=[127.5] * shape[-1],
            std=[73.9] * shape[-1],
            # values change no time, and Keras's pretrained ones would be fetched
            options={"weights": "random"} if variant["model"].startswith("keras:") else None,
        ).model
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    model.optimizer.build(model.trainable_variables)
    prepare_model(model, [(model.optimizer, model.trainable_variables)])
    return model, resolve_xla(variant["xla"], device, model)[0]


def _examples(variant: Mapping[str, Any], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images and labels: what they show changes no time."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, *variant["image_shape"]), dtype=np.uint8)
    return images, random.integers(0, variant["num_classes"], count).astype(np.int32)


def _train(
    model: keras.Model, variant: Mapping[str, Any], use_xla: bool, seconds: float
) -> tuple[float, list[tuple[float, int]]]:
    """Seconds to the first step, and (seconds, steps) of each timed call."""
    images, labels = _examples(variant, _BATCHES_IN_MEMORY * variant["batch_size"])
    split = Split("train", labels, lambda index: images[index], images, range(len(labels)))
    batches = training_batches(
        split,
        batch_size=variant["batch_size"],
        num_classes=model.output_shape[-1],
        seed=0,
        augment=Augment(),
        value_range=(0.0, 255.0),
    )
    started = time.perf_counter()
    loop = Loop(model, steps_per_call=1, use_xla=use_xla)

    def blocks() -> Iterator:
        return loop.train(batches, steps_per_epoch=2**30, epochs=1)

    warming = blocks()
    next(warming)
    first = time.perf_counter() - started
    next(warming)
    step = next(warming).seconds
    warming.close()
    loop.steps_per_call = max(1, min(_MOST_STEPS, round(_CALL_SECONDS / step)))
    timed = blocks()
    next(timed)  # its pipeline begins empty
    calls = []
    while len(calls) < 3 or sum(time for time, _ in calls) < seconds:
        block = next(timed)
        calls.append((block.seconds, block.count))
    timed.close()
    return first, calls


def _infer(
    model: keras.Model, variant: Mapping[str, Any], use_xla: bool, seconds: float
) -> tuple[float, list[tuple[float, int]]]:
    """Seconds to the first step, and (seconds, 1) of each timed step."""
    images, _ = _examples(variant, variant["batch_size"])

    @tf.function(jit_compile=use_xla, autograph=False)
    def forward(batch: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(batch, tf.float32), training=False)

    def step() -> float:
        started = time.perf_counter()
        forward(tf.constant(images)).numpy()
        return time.perf_counter() - started

    first = step()
    step()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        times.append(step())
    return first, [(time, 1) for time in times]


def _peak_memory(device: str) -> int | None:
    """The most bytes used so far: of the GPU's memory, or by the process, TensorFlow included."""
    if "GPU" in device:
        return tf.config.experimental.get_memory_info(device.strip("/"))["peak"]
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:  # no Linux
        return None
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main() -> None:
    """Measures what the request asks for and writes the answer."""
    request = json.loads(sys.argv[1])
    what = {"speed": speed, "passes": passes, "device": device}[request.pop("what")]
    variant = request.pop("variant")
    try:
        answer = what(variant, **request)
    except tf.errors.ResourceExhaustedError:
        raise DlsuiteError(
            f"A step must fit into memory. Received: out of memory with a batch of "
            f"{variant['batch_size']}. Take a smaller --batch-size or --image-size."
        ) from None
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
