"""What this machine and installation can do, and what to do where they can't.

One check a function; `all_checks` goes through them. Nothing here imports TensorFlow before the
check that does.
"""

from collections.abc import Iterator
from pathlib import Path

from dlsuite.diagnosis import cuda, devices, machine
from dlsuite.diagnosis.check import Check


def all_checks() -> Iterator[Check]:
    """Yields every check; those on devices only where TensorFlow starts."""
    yield machine.python()
    yield machine.packages()
    yield machine.processor()
    yield machine.keras_configuration()
    yield from cuda.packages()
    yield from cuda.libraries()
    started = machine.tensorflow()
    yield started
    if started.status == "ok":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        yield cuda.gpu(len(gpus))
        if gpus:
            yield cuda.cudnn()
        for name in ["CPU:0", *(f"GPU:{number}" for number in range(len(gpus)))]:
            yield devices.arithmetic(name)
            yield devices.xla(name)
    yield machine.memory()
    yield machine.run_folder(Path("runs"))
    yield machine.dataset_folder()
    yield from machine.extras()
