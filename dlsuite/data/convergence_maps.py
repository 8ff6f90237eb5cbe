"""Simulated convergence maps of weak gravitational lensing, as a tfds dataset."""

from functools import cache, partial

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from dlsuite.data import convergence_spectrum
from dlsuite.data.lensing import LognormalField, cut
from dlsuite.data.source import Source, in_memory, numbered_names, on_demand
from dlsuite.data.tfds_builders import data_dir, prepare_builder
from dlsuite.data.tfds_reader import records_of
from dlsuite.data.tfds_splits import choose_splits, split_argument
from dlsuite.errors import unknown_name
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "convergence_maps",
        "description": "simulated (log-normal) lensing convergence, 64, 128 or 256 px; no labels",
        "source": "Taruya et al. 2002, arXiv:astro-ph/0202090; cosmology of arXiv:1706.02390",
        "kind": "dataset",
        "configurations": ("64", "128", "256"),
        "syntax": "convergence_maps, convergence_maps/256 or convergence_maps[:20%]",
    },
]

# A map covers 51.2' x 51.2' whatever its pixels, a parent 4 x 4 maps.
MAP_ARCMIN = 51.2
MAPS_A_SIDE = 4
# parents by split: 4,000, 1,008 and 1,008 maps
_PARENTS = {"train": 250, "validation": 63, "test": 63}
_CHUNK = 256


@cache
def field(side: int) -> LognormalField:
    """Returns the parents of maps of that many pixels a side: the paper's cosmology.

    The shift is the convergence of an empty beam. Pixels are points: no window is applied.
    """
    multipoles, spectrum, empty_beam = convergence_spectrum.tabulated()
    return LognormalField(
        multipoles=multipoles,
        spectrum=spectrum,
        shift=-empty_beam,
        num_pixels=side * MAPS_A_SIDE,
        pixel_arcmin=MAP_ARCMIN / side,
    )


def simulate_parent(side: int, split: str, number: int) -> np.ndarray:
    """Returns a parent of a split, (4 side, 4 side), float32, by its number alone."""
    seed = 1_000_000 * list(_PARENTS).index(split) + number
    # a Generator's stream may change between NumPy's versions, a RandomState's is frozen
    return field(side).simulate(np.random.RandomState(seed))


class ConvergenceMaps(tfds.core.GeneratorBasedBuilder):
    """Simulated convergence maps, split by parent so that neighbours never part."""

    name = "convergence_maps"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=side, description=f"{side} x {side} pixels")
        for side in ENTRIES[0]["configurations"]
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        side = int(self.builder_config.name)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Shifted log-normal convergence maps, dimensionless, sources at z = 1.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(side, side, 1), dtype=np.float32),
                    "parent": tfds.features.Scalar(np.int32),
                }
            ),
            # the order of the parents, so that a map's number tells its place
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, count) for split, count in _PARENTS.items()}

    def _generate_examples(self, split, count):
        side = int(self.builder_config.name)
        for number in range(count):
            maps = cut(simulate_parent(side, split, number), side)
            for place, image in enumerate(maps):
                yield number * len(maps) + place, {"image": image[..., None], "parent": number}


def convergence_maps(argument: str, settings: Data) -> Source:
    """Returns simulated convergence maps: dimensionless float32, 51.2' x 51.2' each.

    Train, validation and test come from parents of their own. The maps of a parent are its 4 x 4
    tiles and follow each other.

    Args:
        argument: ``/64`` (the default), ``/128`` or ``/256``, and sub-splits in brackets.
        settings: the recipe's data table.

    Raises:
        DlsuiteError: another size.
    """
    name = f"convergence_maps{argument}"
    plain, spec = split_argument(name)
    sizes = ENTRIES[0]["configurations"]
    size = plain.partition("/")[2] or sizes[0]
    if size not in sizes:
        remedy = f"Sizes: {', '.join(sizes)}."
        raise unknown_name("size of convergence_maps", size, sizes, remedy)
    builder = ConvergenceMaps(config=size, data_dir=str(data_dir()))
    prepare_builder(builder)
    chosen, notes = choose_splits(builder, spec, name)
    shape = (int(size), int(size), 1)
    notes.append(
        f"The maps are simulated: log-normal fields, {MAP_ARCMIN / int(size):g} arcmin a pixel."
    )
    records = {split: records_of(builder, instruction) for split, instruction in chosen.items()}
    held = sum(map(len, records.values())) * int(np.prod(shape)) * 4
    is_held = held <= settings.memory_gb * 2**30
    splits, low, high, first = {}, np.inf, -np.inf, next(iter(records))
    for split, found in records.items():
        read = partial(_read, records=found, shape=shape)
        count, names = len(found), numbered_names(name, split, len(found))
        images = np.empty((count, *shape), np.float32) if is_held else None
        for start in range(0, count, _CHUNK):
            stop = min(start + _CHUNK, count)
            chunk = read(np.arange(start, stop))
            if split == first:  # as with other arrays: what is held out sets nothing
                low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
            if images is not None:
                images[start:stop] = chunk
        labels = np.zeros(count, np.int32)
        splits[split] = (
            on_demand(split, read, labels, names)
            if images is None
            else in_memory(split, images, labels, names)
        )
    return Source(name, (), shape, splits, (low, high), notes)


def _read(indices: np.ndarray, *, records, shape: tuple[int, int, int]) -> np.ndarray:
    feature = {"image": tf.io.FixedLenFeature(shape, tf.float32)}
    return tf.io.parse_example([records[int(i)] for i in indices], feature)["image"].numpy()
