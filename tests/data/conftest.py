"""Small datasets for the data tests."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlsuite.data.source import in_memory, numbered_names


@pytest.fixture(scope="session")
def tfds_folder(tmp_path_factory):
    """A folder of its own for prepared datasets."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(autouse=True)
def _own_tfds_folder(tfds_folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_folder))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def make_split():
    """A training split of random images in memory."""

    def make(count=20, shape=(8, 8, 3), classes=4, images=None):
        images = noise(count, *shape) if images is None else images
        labels = np.arange(len(images)) % classes
        return in_memory("train", images, labels, numbered_names("made", "train", len(images)))

    return make


@pytest.fixture
def make_folder(tmp_path):
    """An image folder; classes by split ("" for no splits), each of as many noise images."""

    def make(classes, *, count=4, size=(8, 6), mode="RGB", root=tmp_path / "photos"):
        seed = 0
        for split, names in classes.items():
            for name in names:
                folder = Path(root, split, name)
                folder.mkdir(parents=True)
                for number in range(count):
                    seed += 1
                    channels = () if mode == "L" else (3,)
                    pixels = noise(size[1], size[0], *channels, seed=seed)
                    Image.fromarray(pixels).save(folder / f"{number}.png")
        return root

    return make
