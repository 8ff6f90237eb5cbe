"""Small images, and small files as users bring them."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def pixels():
    """Returns a function that makes images (B, H, W, C), float32 in 0..255."""

    def make(*shape, seed=0):
        return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")

    return make
