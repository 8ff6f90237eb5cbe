"""Where and how a run computes: device, threads and XLA, resolved once and written down."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled

from dlsuite.data.pipeline import reader_error
from dlsuite.diagnosis import cuda
from dlsuite.diagnosis.check import Check
from dlsuite.environment import usable_cores
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Recipe, Train
from dlsuite.wording import counted

# By what TensorFlow's errors of many classes tell of a GPU's driver and libraries, and of those
# the ones that want memory.
_GPU_FAILURE = re.compile(
    r"cuda|cudnn|cublas|cusolver|cufft|DNN library|No algorithm worked|Blas .*fail|"
    "libdevice|ptxas|no kernel image",
    re.IGNORECASE,
)
_GPU_MEMORY = re.compile("OUT_OF_MEMORY|ALLOC_FAILED")
# "do not yet have a deterministic XLA implementation", "Determinism is not yet supported in ..."
_NOT_DETERMINISTIC = re.compile("determinis(tic|m)", re.IGNORECASE)
# Characters of such an error that the user is shown.
_MOST_SAID = 200


@dataclass(frozen=True)
class Execution:
    """What was resolved for a run. These change bits, so they are part of the run.

    Attributes:
        device: TensorFlow's name of the device, such as ``/CPU:0``.
        threads: threads that one operation may use.
        use_xla: whether steps are compiled with XLA.
        xla_reason: why, for the user.
        replicas: of the model, over all devices and workers.
        workers: processes that train together.
    """

    device: str
    threads: int
    use_xla: bool
    xla_reason: str
    replicas: int = 1
    workers: int = 1


def set_threads(threads: int | None) -> int:
    """Fixes the threads an operation may use and returns their number.

    TensorFlow takes them once a process, before its first operation; a later request for
    another number is refused with a warning.
    """
    wanted = threads or usable_cores()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(wanted)
    except RuntimeError:  # TensorFlow has started
        # 0 is what TensorFlow says where it was never told: it then takes all cores
        actual = tf.config.threading.get_intra_op_parallelism_threads() or usable_cores()
        if actual != wanted:
            warnings.warn(
                f"TensorFlow already runs with {actual} threads an operation in this process and "
                f"can't change to {wanted}; the run uses {actual}.",
                stacklevel=2,
            )
        return actual
    return wanted


def resolve_device(name: str) -> str:
    """Returns TensorFlow's name of the device that ``auto``, ``cpu`` or ``gpu:N`` asks for.

    Raises:
        DlsuiteError: another name, or a GPU was asked for and TensorFlow sees none of that number.
    """
    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", name):
        raise DlsuiteError(
            f"The device must be there and usable. Received: {name!r}, which is none of auto, cpu, "
            "gpu and gpu:N. Run `dlsuite doctor` for those that TensorFlow sees."
        )
    gpus = tf.config.list_physical_devices("GPU")
    if name == "cpu" or (name == "auto" and not gpus):
        return "/CPU:0"
    number = int(name.partition(":")[2] or 0)
    if number >= len(gpus):
        seen = f"TensorFlow sees {counted(len(gpus), 'GPU')}, counted from gpu:0"
        few = Check("GPU", "warning", seen, f"Take one up to gpu:{len(gpus) - 1}")
        raise _unusable(repr(name), few if gpus else cuda.unseen())
    return f"/GPU:{number}"


def set_up(settings: Train, *, threads: int | None = None) -> tuple[str, int]:
    """Returns TensorFlow's name of a run's device and its threads, fixed for this process.

    So is ``train.deterministic`` on a GPU, which then holds for later runs of the process too.

    Args:
        threads: what an earlier part of the run had; None takes the settings'.

    Raises:
        DlsuiteError: as `resolve_device`.
    """
    device, fixed = resolve_device(settings.device), set_threads(threads or settings.threads)
    if settings.deterministic and device.startswith("/GPU"):  # a CPU is so anyway
        tf.config.experimental.enable_op_determinism()
    return device, fixed


def repeats_itself(device: str) -> bool:
    """Whether the same operations give the same bits there: on a GPU only where it was asked to."""
    return not device.startswith("/GPU") or is_op_determinism_enabled()


def resolve_xla(asked: str, device: str, model: keras.Model) -> tuple[bool, str]:
    """Returns whether to compile with XLA, and the reason.

    By the rule: on a CPU XLA speeds up dense networks and slows down convolutions.

    Args:
        asked: ``rule``, ``on`` or ``off``; ``auto`` is `dlsuite.engine.xla.measure_xla`'s.
        device: TensorFlow's name of it.
        model: built.

    Raises:
        DlsuiteError: XLA is asked for, and a layer has operations that it doesn't know.
    """
    # of Keras's layers those of recurrent networks on cuDNN and most random image layers
    unknown = [layer.name for layer in model._flatten_layers() if not layer.supports_jit]
    if unknown and asked == "on":
        raise DlsuiteError(
            "XLA compiles networks of operations that it knows. Received: train.xla='on' with the "
            f"layer {unknown[0]!r}, which has others. Leave it at rule."
        )
    if unknown and asked != "off":
        return False, f"the layer {unknown[0]} has operations that XLA doesn't know"
    on_gpu = device.startswith("/GPU")
    if on_gpu and repeats_itself(device) and asked != "off" and _pools(model):
        if asked == "on":
            raise DlsuiteError(
                "XLA has no max pooling on a GPU that repeats its numbers. Received: "
                "train.xla='on' with train.deterministic. Leave it at rule."
            )
        return False, "max pooling repeats its numbers on a GPU only without XLA"
    if asked in ("on", "off"):
        return asked == "on", "asked for"
    if on_gpu:
        return True, "on a GPU"
    convolves = any("Conv" in type(layer).__name__ for layer in model._flatten_layers())
    return not convolves, "CPU, convolutions" if convolves else "CPU, no convolutions"


def _pools(model: keras.Model) -> bool:
    pooling = keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D
    return any(isinstance(layer, pooling) for layer in model._flatten_layers())


def resolve_execution(
    settings: Train,
    model: keras.Model,
    *,
    device: str,
    threads: int,
    replicas: int = 1,
    workers: int = 1,
    before: Mapping[str, Any] | None = None,
) -> Execution:
    """Returns the execution of a run whose network is built.

    Args:
        before: what is settled already, by an earlier part of the run or by measuring: XLA
            stays as there.

    Raises:
        DlsuiteError: XLA asked for with several replicas.
    """
    if replicas > 1:
        if settings.xla == "on":
            raise DlsuiteError(
                f"XLA compiles for one device. Received: train.xla='on' with {replicas} replicas. "
                "Leave it at rule, or use one device."
            )
        use_xla, reason = False, "several replicas"
    elif before is not None:
        use_xla, reason = before["use_xla"], before["xla_reason"]
    else:
        use_xla, reason = resolve_xla(settings.xla, device, model)
    return Execution(device, threads, use_xla, reason, replicas, workers)


@contextmanager
def explaining(recipe: Recipe, device: str) -> Iterator[None]:
    """Raises the user's sentence in the place of TensorFlow's error, where there is one.

    For what does not train by a recipe's accumulation: races, range tests, building a network.

    Args:
        recipe: what is trained.
        device: TensorFlow's name of it.
    """
    try:
        yield
    except tf.errors.OpError as error:
        raise (explained(error, recipe, device, accumulates=False) or error) from None


def explained(
    error: tf.errors.OpError, recipe: Recipe, device: str, *, accumulates: bool = True
) -> DlsuiteError | None:
    """Returns the user's sentence for an error of a step.

    That is: no memory, damaged data, or a GPU that is seen and does not compute, or not
    repeatably.
    """
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return out_of_memory(recipe, device, accumulates=accumulates)
    # an image that is read only when it is needed shows its damage here
    if (unreadable := reader_error(error)) is not None:
        return unreadable
    if not device.startswith("/GPU"):
        return None
    # the files of its traceback may lie in folders of such names
    said = [line for line in map(str.strip, error.message.splitlines()) if line[:5] != "File "]
    unrepeatable = next((line for line in said if _NOT_DETERMINISTIC.search(line)), None)
    if unrepeatable is not None and repeats_itself(device):
        without = "train.xla=off" if "XLA" in unrepeatable else "train.deterministic=false"
        return DlsuiteError(
            "train.deterministic asks for operations that a GPU can repeat. Received: "
            f"{unrepeatable[:_MOST_SAID]!r}. Train with {without}, or on the CPU."
        )
    line = next((line for line in said if _GPU_FAILURE.search(line)), None)
    if line is None:
        return None
    if _GPU_MEMORY.search(line):
        return out_of_memory(recipe, device, accumulates=accumulates)
    fault = cuda.fault()
    if fault is None:
        remedy = "Look with nvidia-smi whether other processes fill it, run `dlsuite doctor`"
        fault = Check("GPU", "warning", "CUDA's packages and libraries are in order", remedy)
    return _unusable(f"{device[1:]}, which ends in {line[:_MOST_SAID]!r}", fault)


def _unusable(received: str, reason: Check) -> DlsuiteError:
    """What to raise where a GPU was asked for and can't be had."""
    return DlsuiteError(
        f"The device must be there and usable. Received: {received}: {reason.result}. "
        f"{reason.remedy.rstrip('.')}, or use --device cpu."
    )


def out_of_memory(recipe: Recipe, device: str, *, accumulates: bool = True) -> DlsuiteError:
    """Returns the user's sentence for a training step that found no memory."""
    batch_size, steps = recipe.train.batch_size, 2 * recipe.optimizer.accumulate
    remedy = "a smaller network or image"
    if batch_size > 1:
        remedy = f"--batch-size {batch_size // 2}"
        if accumulates:
            remedy += f" (with --set optimizer.accumulate={steps} for the same mean)"
    return DlsuiteError(
        f"A training step must fit into the memory of {device[1:]}. Received: out of memory with "
        f"train.batch_size={batch_size}. Try {remedy}, or --precision bfloat16."
    )
