"""Which images an evaluation of a generator compares, through `evaluate_generator`."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from dlsuite.analysis.gan import evaluate_generator
from dlsuite.analysis.gan_statistics import compare, summarise
from dlsuite.data.load import load_dataset, load_for_evaluation
from dlsuite.data.source import subset
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.resolve import resolve
from dlsuite.recipes.schema import Data

CLASSES = 4


@pytest.fixture(scope="module")
def generator():
    """Latents to images of 16 x 16 that are nowhere near any digit."""
    latent = keras.Input((3,))
    return keras.Model(latent, keras.layers.Reshape((16, 16, 1))(keras.layers.Dense(256)(latent)))


def evaluated(generator, dataset, **options):
    recipe = resolve("mnist-dcgan").recipe
    return evaluate_generator(
        generator, dataset, split="test", recipe=recipe, batch_size=8, **options
    )


def by_class(path, *, train=80, test=40):
    """Images sorted by class, whose grey level is the class's."""
    random = np.random.default_rng(0)
    arrays = {}
    for name, count in (("train", train), ("test", test)):
        labels = np.repeat(np.arange(CLASSES), count // CLASSES)
        grey = 40 + 50 * labels[:, None, None] + random.integers(0, 9, (count, 16, 16))
        arrays |= {f"x_{name}": grey.astype(np.uint8), f"y_{name}": labels}
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_sorted_classes_are_compared_with_all_classes(generator, tmp_path):
    name = by_class(tmp_path / "sorted.npz")
    settings = Data(name=name, validation=20)
    evaluation = evaluated(generator, load_dataset(settings))
    # of 40 test images 20 are taken, and the first 20 are of two classes of the four
    assert evaluation.num_examples == 20 and evaluation.floor_of == "validation"
    # equal classes differ by their noise alone: 20 images of 256 pixels, 9 levels in each class
    assert evaluation.row("pixel KS D").floor < 0.05
    # and where there is no other split, one half of the images with the other half
    classes = load_dataset(settings).class_names
    whole = load_for_evaluation(Data(name=name), class_names=classes)
    halves = evaluated(generator, without(whole, "train"))
    assert halves.floor_of == "the other half of test" and halves.num_examples == 20
    assert halves.row("pixel KS D").floor < 0.05


def without(dataset, split):
    splits = {name: kept for name, kept in dataset.splits.items() if name != split}
    return replace(dataset, splits=splits)


def test_copies_are_found_wherever_they_lie_in_training(tmp_path):
    """A generator that gives back the very last training image."""
    random = np.random.default_rng(1)
    images = random.integers(0, 255, (2600, 16, 16)).astype(np.uint8)
    np.save(tmp_path / "noise.npy", images)
    dataset = load_dataset(Data(name=f"npy:{tmp_path / 'noise.npy'}", validation=0.1))
    train = dataset.splits["train"]
    assert train.num_examples > 2000
    last = train.read(np.array([train.num_examples - 1]))[0].astype(np.float32)
    latent = keras.Input((3,))
    copied = keras.layers.Dense(256, kernel_initializer="zeros")
    copier = keras.Model(latent, keras.layers.Reshape((16, 16, 1))(copied(latent)))
    copied.bias.assign(last.ravel())
    row = evaluated(copier, dataset).row("nearest training image, 5 % quantile (deviations)")
    assert row.generated == 0 and row.floor > 1


def statistics(real, fake, other):
    """The rows by name, of sets (N, H, H)."""
    sets = [images[..., None].astype(np.float32) for images in (real, fake, other)]
    summaries = summarise(*sets)[1]
    return {row.name: row for row in compare(sets, summaries, limits=(-9, 9), train=None)}


def test_real_images_compared_as_generated_reach_the_floor_and_themselves_the_best():
    random = np.random.default_rng(0)
    real, other = random.standard_normal((2, 40, 32, 32))
    for name, row in statistics(real, other, other).items():
        assert row.generated == row.floor, name
    for name, row in statistics(real, real, other).items():
        # sums in float32 of the same numbers in another order
        assert row.generated == pytest.approx(row.best, abs=1e-6), name


def test_what_the_generator_alone_makes_is_counted():
    """Spikes higher than any of the real ones', in a bin of heights that these leave empty."""
    random = np.random.default_rng(0)
    real, fake, other = random.standard_normal((3, 40, 32, 32))
    fake[:, 7, 7] = 30.0
    row = statistics(real, fake, other)["peaks by height, KS D"]
    generated, floor = row.tests
    # every generated image has a peak in the last bin and no real one has
    assert generated.statistic[-1] == 1 and floor.statistic[-1] == 0
    assert generated.p_value[-1] < 1e-9 and floor.p_value[-1] == 1


def test_too_few_images_and_a_bad_classifier_are_said_before_anything_is_generated(
    generator, tmp_path
):
    name = by_class(tmp_path / "few.npz", test=4)
    dataset = load_dataset(Data(name=name, validation=20))
    single = replace(dataset, splits={"test": subset(dataset.splits["test"], np.arange(3))})
    with pytest.raises(DlsuiteError, match=r"at least two real ones.*3 images in the split test"):
        evaluated(generator, single)
    generated = []
    with pytest.raises(DlsuiteError, match=r"none\.keras"):
        evaluated(generator, dataset, classifier=tmp_path / "none.keras", progress=generated.append)
    assert not generated
