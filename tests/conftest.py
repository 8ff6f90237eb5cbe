"""Shared fixtures. TensorFlow is imported once a worker."""

import os

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
