"""Small images, and small files as users bring them."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def pixels():
    """Returns a function that makes images (B, H, W, C), float32 in 0..255."""

    def make(*shape, seed=0):
        return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")

    return make


@pytest.fixture(scope="session")
def from_file(keras_ready, tmp_path_factory):
    """Returns a function that saves a model as a user would and builds a network from the file."""
    from dlsuite.models.build import build_network

    folder = tmp_path_factory.mktemp("files")

    def made(model, *, classes=3, mean=None, std=None, **options):
        path = folder / f"{len(list(folder.iterdir()))}.keras"
        model.save(path)
        return build_network(
            str(path),
            image_shape=model.input_shape[1:],
            num_classes=classes,
            mean=mean,
            std=std,
            options=options,
        )

    return made
