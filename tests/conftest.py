"""Shared fixtures. TensorFlow is imported once a worker."""

import os

import pytest

# Tests share the machine's cores between workers; the numbers do not depend on it.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


@pytest.fixture(scope="session", autouse=True)
def keras_ready():
    """TensorFlow and Keras in dlsuite's configuration."""
    from dlsuite.runtime import prepare

    prepare()
