"""A prepared tfds dataset of small JPEGs, made here: pictures of smooth noise in ten classes."""

import io
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

COUNT = 40_000
SIDE = 32


class JpegPictures(tfds.core.GeneratorBasedBuilder):
    """Forty thousand 32x32 JPEGs of about a kilobyte, the size of CIFAR-10's."""

    VERSION = tfds.core.Version("1.0.0")
    # tfds otherwise looks for the package that this file is not part of
    pkg_dir_path = Path(__file__).parent

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        random = np.random.default_rng(0)
        for number in range(COUNT):
            coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            file = io.BytesIO()
            coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
            file.seek(0)
            yield number, {"image": file, "label": number % 10}
