"""Shared fixtures. TensorFlow is imported once a worker."""

import os
import platform

import pytest

# before any test module imports keras or tensorflow at its top
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
if platform.machine() in ("x86_64", "AMD64"):
    # as `dlsuite.runtime.prepare` has it for users: it comes too late after such an import
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# what the tests state was measured on a CPU
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


@pytest.fixture(scope="session", autouse=True)
def keras_ready():
    """TensorFlow and Keras in dlsuite's configuration."""
    from dlsuite.runtime import prepare

    prepare()
