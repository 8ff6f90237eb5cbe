"""Speed of networks under every combination of the settings asked for.

Each variant is measured in a process of its own (`dlsuite.studies.measure`): threads and oneDNN
are fixed when TensorFlow starts, peak memory never falls, and a network that does not fit takes
its own process down and no other.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dlsuite.environment import usable_cores
from dlsuite.errors import DlsuiteError
from dlsuite.models import MODELS

MODES = ("inference", "training")
PRECISIONS = ("float32", "bfloat16", "float16")
# an MLP, a small convolutional network and a residual one: a minute in all on two cores
DEFAULT_MODELS = ("mlp", "mnist_cnn", "resnet20")
# those of the lecture slides, J. Johnson's cnn-benchmarks
SLIDE_MODELS = ("vgg16", "vgg19", "resnet18", "resnet50")
SLIDE_BATCH = 16


@dataclass(frozen=True)
class Variant:
    """One setting.

    Attributes:
        model: a registered network, or keras:NAME.
        image_shape: (H, W, C).
        num_classes: number of logits.
        device: ``cpu`` or ``gpu:N``.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        xla: ``rule``, ``on`` or ``off``, as ``train.xla``.
        threads: that an operation may use.
        batch_size: examples a step.
        optimized: oneDNN on a CPU, cuDNN's autotuning on a GPU.
    """

    model: str
    image_shape: tuple[int, int, int]
    num_classes: int
    device: str = "cpu"
    precision: str = "float32"
    xla: str = "rule"
    threads: int = 1
    batch_size: int = 128
    optimized: bool = True


def variants(
    models: Sequence[str] = DEFAULT_MODELS,
    *,
    devices: Sequence[str] = ("cpu",),
    precisions: Sequence[str] = ("float32",),
    xla: Sequence[str] = ("rule",),
    threads: Sequence[int] = (),
    batch_sizes: Sequence[int] = (128,),
    image_size: int | None = None,
) -> list[Variant]:
    """Returns every combination.

    Args:
        models: networks.
        devices: ``cpu`` and ``gpu:N``.
        precisions: of the arithmetic.
        xla: ``rule``, ``on``, ``off``.
        threads: of an operation; none means one a usable core.
        batch_sizes: examples a step.
        image_size: height and width; None takes each network's own.

    Raises:
        DlsuiteError: an unknown network, one that is no classifier, or a file.
    """
    made = []
    for model in models:
        details = MODELS[model].details
        if "task" in details or model.endswith(".keras"):
            raise DlsuiteError(
                "A benchmark times classifiers by name. Received: "
                f"{model!r}. Choose one from `dlsuite models`, or keras:NAME; for any run there is "
                "`dlsuite profile RUN`."
            )
        height, width, channels = details.get("image_shape", (224, 224, 3))
        shape = (image_size or height, image_size or width, channels)
        made += [
            Variant(model, shape, details.get("num_classes", 1000), *settings)
            for settings in itertools.product(
                devices, precisions, xla, threads or (usable_cores(),), batch_sizes
            )
        ]
    return made


def measure_speed(
    chosen: Iterable[Variant],
    *,
    modes: Sequence[str] = MODES,
    seconds: float = 2.0,
    before: Callable[[Variant], None] = lambda variant: None,
) -> Iterator[dict[str, Any]]:
    """Yields a row for each variant and mode.

    A row has the variant's fields, ``mode``, ``status`` (``ok`` or ``failed``) and ``reason``
    (of a failure); measured are ``images_per_s``, ``step_p50_s``, ``step_p95_s``,
    ``first_step_s`` (tracing and compiling included), ``peak_memory_bytes``,
    ``flops_per_image``, ``flops_per_s``, ``peak_flops_per_s`` (of a matrix product) and
    ``xla_used``.

    Args:
        chosen: what to measure.
        modes: of ``inference`` and ``training``.
        seconds: measured for each mode.
        before: told of each variant when it begins.
    """
    ordered = [mode for mode in MODES if mode in modes]
    for variant in chosen:
        before(variant)
        answer, reason = _ask("speed", variant, modes=ordered, seconds=seconds)
        for mode in ordered:
            yield _row(variant, (answer or {}).get(mode, {}), reason, mode=mode)


def measure_passes(
    chosen: Iterable[Variant],
    *,
    seconds: float = 3.0,
    before: Callable[[Variant], None] = lambda variant: None,
) -> Iterator[dict[str, Any]]:
    """Yields a row for each variant: ``forward_s`` and ``forward_backward_s`` of one batch.

    Args:
        chosen: what to measure.
        seconds: measured for each of the two; at least three times.
        before: told of each variant when it begins.
    """
    for variant in chosen:
        before(variant)
        answer, reason = _ask("passes", variant, seconds=seconds)
        yield _row(variant, answer or {}, reason)


def with_plain_primitives(variant: Variant) -> list[Variant]:
    """Returns the variant with optimised primitives and with plain ones, most optimised first.

    On a CPU oneDNN's against TensorFlow's own; on a GPU XLA, cuDNN with autotuning, and cuDNN
    without.
    """
    if variant.device == "cpu":
        return [variant, replace(variant, optimized=False)]
    without = replace(variant, xla="off")
    return [replace(variant, xla="on"), without, replace(without, optimized=False)]


def primitives(variant: Variant) -> str:
    """Returns what computes a variant of `with_plain_primitives`, for the user."""
    if variant.device == "cpu":
        return "oneDNN" if variant.optimized else "plain (oneDNN off)"
    if variant.xla == "on":
        return "XLA and cuDNN"
    return "cuDNN, autotuned" if variant.optimized else "cuDNN, not autotuned"


def measure_device(device: str, *, precision: str = "float32") -> dict[str, float]:
    """Returns ``peak_flops_per_s`` and ``bandwidth_bytes_per_s`` of a device.

    Raises:
        DlsuiteError: the device can't be used.
    """
    variant = Variant("mlp", (28, 28, 1), 10, device, precision, threads=usable_cores())
    answer, reason = _ask("device", variant)
    if answer is None:
        raise DlsuiteError(
            f"The device must be there and usable. Received: {device!r} ({reason}). "
            "Run `dlsuite doctor` for the reason."
        )
    return answer


def visible_devices() -> list[str]:
    """Returns ``cpu`` and ``gpu:N`` for each GPU that TensorFlow sees.

    Asked in another process: one that has started TensorFlow holds memory of every GPU.
    """
    code = "from dlsuite.environment import gpus; print(len(gpus()))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    count = int(done.stdout) if done.stdout.strip().isdecimal() else 0
    return ["cpu", *(f"gpu:{number}" for number in range(count))]


def _row(
    variant: Variant, measured: Mapping[str, Any], reason: str | None, **more: Any
) -> dict[str, Any]:
    status = "ok" if reason is None else "failed"
    return {**asdict(variant), **more, "status": status, "reason": reason, **measured}


def _ask(what: str, variant: Variant, **arguments: Any) -> tuple[Any, str | None]:
    """Returns the answer of a process of its own, or None and why there is none."""
    request = json.dumps({"what": what, "variant": asdict(variant), **arguments})
    switch = str(int(variant.optimized))
    variables = os.environ | {
        "TF_ENABLE_ONEDNN_OPTS": switch,
        "TF_CUDNN_USE_AUTOTUNE": switch,
        # a CPU's variant must not be slowed by the start of GPUs it doesn't use
        **({"CUDA_VISIBLE_DEVICES": "-1"} if variant.device == "cpu" else {}),
    }
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-P", "-m", "dlsuite.studies.measure", request, str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, env=variables)
        if answer.exists():
            return json.loads(answer.read_text(encoding="utf-8")), None
    if done.returncode < 0:
        return None, f"killed by signal {-done.returncode}, as where memory runs out"
    # a traceback ends in the error's class and what it says, in several lines if it is TensorFlow's
    said = re.findall(r"^(?:[A-Za-z_]\w*\.)*([A-Z]\w*: .+)$", done.stderr, re.MULTILINE)
    reason = said[-1] if said else f"exit code {done.returncode}"
    return None, reason.removeprefix("DlsuiteError: ")[:300]
