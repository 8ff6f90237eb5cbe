"""Shared fixtures. TensorFlow is imported once a worker."""

import os
import signal

import pytest

from dlsuite.runtime import set_variables

# before any test module imports keras or tensorflow at its top, after which `prepare` is too late
set_variables()
# what the tests state was measured on a CPU
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


@pytest.fixture(scope="session", autouse=True)
def keras_ready():
    """TensorFlow and Keras in dlsuite's configuration."""
    from dlsuite.runtime import prepare

    prepare()


@pytest.fixture(scope="module")
def few_parents(tmp_path_factory):
    """`convergence_maps` with 3, 2 and 2 parents."""
    from dlsuite.data import convergence_maps as module

    patch = pytest.MonkeyPatch()
    patch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))
    patch.setattr(module, "_PARENTS", {"train": 3, "validation": 2, "test": 2})
    yield
    patch.undo()


_HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}


@pytest.fixture(autouse=True)
def signals_as_they_were():
    """`train` and `resume` keep a queue's signals to the end of their process, which this isn't."""
    yield
    for number, handler in _HANDLERS.items():
        signal.signal(number, handler)
