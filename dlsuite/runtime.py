"""TensorFlow and Keras as dlsuite needs them: imported once, quietly, and always the same way.

Everything that imports `tensorflow` or `keras` calls `prepare()` first, or is itself imported
after it. The user's own Keras configuration (``keras.json`` or environment) may name another
backend, channels first or float64: dlsuite's models and input pipeline are written for
TensorFlow, channels last and float32, so it fixes these and says where they differ.
"""

import contextlib
import ctypes
import functools
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlsuite.errors import DlsuiteError, DlsuiteWarning

# Written by TensorFlow's C++ side to the file descriptor at every start, whatever its log
# level; none of them asks anything of the user. All else that appears there is passed on.
_START_UP_NOISE = re.compile(
    r"All log messages before absl::InitializeLog"
    r"|oneDNN custom operations are on"
    r"|Could not find cuda drivers"
    r"|This TensorFlow binary is optimized"
    r"|To enable the following instructions"
    r"|failed call to cuInit: .*(303|NO_DEVICE|no CUDA-capable device)"
    r"|Unable to register cu\w+ factory"
    r"|computation placer already registered"
    r"|oneDNN supports DT_(BFLOAT16|HALF) only"
)
_prepared = False


def user_configuration() -> dict[str, str]:
    """Returns the settings of the user's Keras configuration that differ from dlsuite's.

    Keys are ``backend``, ``image_data_format`` and ``floatx``; values what the user has.
    """
    folder = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        configured = json.loads((Path(folder) / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        configured = {}
    if not isinstance(configured, dict):
        configured = {}
    if os.environ.get("KERAS_BACKEND"):
        configured["backend"] = os.environ["KERAS_BACKEND"]
    fixed = {"backend": "tensorflow", "image_data_format": "channels_last", "floatx": "float32"}
    return {
        key: str(configured[key])
        for key, value in fixed.items()
        if configured.get(key, value) != value
    }


def set_variables() -> None:
    """Sets what TensorFlow and Keras read from the environment when they are imported."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # INFO off, warnings and errors on
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    if "tensorflow" not in sys.modules and platform.machine() in ("x86_64", "AMD64"):
        # TensorFlow's own default leaves oneDNN's kernels off where a processor has neither VNNI
        # nor the instructions for bfloat16
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def prepare() -> None:
    """Imports TensorFlow and Keras with dlsuite's fixed configuration.

    Idempotent. Warns once, in one line, where the user's Keras configuration says otherwise.

    Raises:
        DlsuiteError: Keras was imported before with another backend.
    """
    global _prepared
    if _prepared:
        return
    differing = user_configuration()
    if "keras" in sys.modules and sys.modules["keras"].config.backend() != "tensorflow":
        raise DlsuiteError(
            "dlsuite runs on the TensorFlow backend of Keras. Received: Keras was already "
            f"imported with the backend {sys.modules['keras'].config.backend()!r}. "
            "Import dlsuite before keras, or set KERAS_BACKEND=tensorflow."
        )
    set_variables()
    _open_cusolver()
    with _interrupts_deferred(), _without_start_up_noise():
        import keras
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            # TensorFlow otherwise takes all of the GPU's memory from everyone. It refuses to change
            # that where it has started, or the user has divided the GPU
            with contextlib.suppress(RuntimeError, ValueError):
                tf.config.experimental.set_memory_growth(gpu, True)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    _prepared = True
    if differing:
        said = ", ".join(f"{key}={value}" for key, value in differing.items())
        warnings.warn(
            f"Your Keras configuration says {said}; dlsuite uses TensorFlow, channels last and "
            "float32 and leaves your file as it is.",
            DlsuiteWarning,
            stacklevel=2,
        )


def _open_cusolver() -> None:
    """Opens cuSOLVER of the CUDA packages, which TensorFlow then finds open.

    TensorFlow 2.21's wheel looks in the folders of the other packages and not in this one's:
    without it, it sees no GPU where all that it asks for is installed.
    """
    try:
        found = importlib.util.find_spec("nvidia.cusolver")
    except ModuleNotFoundError:
        return
    # PyTorch brings these packages to machines without NVIDIA's driver too
    has_driver = Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi")
    if found is None or not has_driver:
        return
    for folder in found.submodule_search_locations or ():
        for path in Path(folder).glob("lib/libcusolver.so.*"):
            with contextlib.suppress(OSError):  # `dlsuite doctor` names what doesn't open, and why
                ctypes.CDLL(str(path))


@functools.cache
def hear_of_emulation(precision: str) -> None:
    """Lets TensorFlow say unheard, as it does once a process, that oneDNN lacks that precision.

    `train` and `doctor` say it in their own words. To be called where networks are built, since it
    computes something and so ends the time in which devices and threads can be set.
    """
    import tensorflow as tf

    with _without_start_up_noise(), tf.device("/CPU:0"):
        one = tf.ones((1, 1, 1, 1), precision)
        tf.function(tf.nn.conv2d)(one, one, strides=1, padding="SAME")


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Puts Ctrl-C off: within the start of a C extension it would come out as an ImportError."""
    handler = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(handler):  # ignored, or not Python's to handle
        yield
        return
    received = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if received:
        raise KeyboardInterrupt


@contextmanager
def _without_start_up_noise() -> Iterator[None]:
    """Holds back the process's stderr and passes on all of it but the known noise."""
    try:
        stderr = os.dup(2)
    except OSError:  # a daemon without stderr has nothing to filter
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if line.strip() and not _START_UP_NOISE.search(line):
                    print(line, file=sys.stderr)
