"""Which images an evaluation of a generator compares, through `evaluate_generator`."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from dlsuite.analysis.gan import evaluate_generator
from dlsuite.analysis.gan_statistics import compare, summarise
from dlsuite.analysis.generation import Sampler
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


def generator_of(images):
    """A generator whose images for seed 0 are these, (N, 16, 16, 1): a linear map of N latents."""
    latent = keras.Input((2 * len(images),))
    dense = keras.layers.Dense(256, use_bias=False)
    model = keras.Model(latent, keras.layers.Reshape((16, 16, 1))(dense(latent)))
    drawn = Sampler(model, seed=0, batch_size=8).latents(0, len(images)).astype(np.float64)
    dense.kernel.assign(np.linalg.pinv(drawn) @ images.reshape(len(images), -1))
    return model


@pytest.fixture
def noise(tmp_path):
    """White noise of mean 120 and deviation 50, cut off at 0 and 255: 40 images a split."""
    random = np.random.default_rng(2)
    images = np.clip(random.normal(120, 50, (120, 16, 16)), 0, 255).astype(np.uint8)
    labels = np.arange(120) % CLASSES
    parts = {"x_train": images[:80], "y_train": labels[:80]}
    np.savez(tmp_path / "noise.npz", **parts, x_test=images[80:], y_test=labels[80:])
    dataset = load_dataset(Data(name=f"npz:{tmp_path / 'noise.npz'}", validation=40))
    everything = np.arange(40)
    real, other = (dataset.splits[name].read(everything) for name in ("test", "validation"))
    return dataset, real.astype(np.float64), other.astype(np.float64)


def ring_power(images):
    """Mean of |FFT|^2 over images and over the modes of k = 1 .. 8 cycles a side."""
    power = (np.abs(np.fft.fft2(images[..., 0])) ** 2).mean(axis=0)
    frequency = np.fft.fftfreq(16) * 16
    ring = np.rint(np.hypot(frequency[:, None], frequency))
    return np.array([power[ring == k].mean() for k in range(1, 9)])


def test_statistics_are_those_of_planted_images(noise):
    dataset, real, other = noise
    place = np.arange(16)
    wave = np.cos(2 * np.pi * 5 * place / 16)[:, None] * np.ones(16)
    finest = (-1.0) ** place[:, None] * np.ones(16)
    # more contrast, another mean, and power at 5 and, most of it, at 8 cycles a side
    fake = 130 + 1.1 * (real - 120) + (20 * wave + 60 * finest)[..., None]
    evaluation = evaluated(generator_of(fake), dataset)
    rows = {row.name: row for row in evaluation.rows}
    assert set(rows) >= {
        "pixel KS D", "pixel deviation ratio", "pixel mean shift (deviations)",
        "histogram bins, KS D", "pixels at the tanh limit", "P(k) ratio, median",
        "P(k) ratio, worst |1 - r| to S/3", "P(k), KS D", "mode correlation, rms gap",
        "Minkowski V0, KS D", "Minkowski V1, KS D", "Minkowski V2, KS D",
        "peaks by height, KS D", "minima by height, KS D", "two-point correlation, KS D",
        "bispectrum, KS D", "sliced Wasserstein distance (deviations)",
        "nearest training image, 5 % quantile (deviations)",
    }  # fmt: skip

    def check(name, statistic, best, **tolerance):
        found = rows[name]
        # float32 images and sums
        tolerance = {"rel": 1e-4} | tolerance
        assert found.generated == pytest.approx(statistic(fake), **tolerance)
        assert found.floor == pytest.approx(statistic(other), **tolerance)
        assert found.best == pytest.approx(best)

    check("pixel deviation ratio", lambda x: x.std() / real.std(), 1)
    shift = "pixel mean shift (deviations)"
    check(shift, lambda x: (x.mean() - real.mean()) / real.std(), 0, abs=1e-5)
    # of the range of 0 to 255, a thousandth at either end
    limit = lambda x: ((x <= 0.255) | (x >= 254.745)).mean()  # noqa: E731
    assert 0 < limit(real) < limit(fake)
    check("pixels at the tanh limit", limit, limit(real))
    ratio = lambda x: ring_power(x) / ring_power(real)  # noqa: E731
    assert ratio(fake)[7] > 2 * ratio(fake)[4] > 2 * ratio(fake)[3]
    check("P(k) ratio, median", lambda x: np.median(ratio(x)), 1)
    # up to 5 of 16 cycles a side
    check("P(k) ratio, worst |1 - r| to S/3", lambda x: np.abs(ratio(x)[:5] - 1).max(), 0)


def test_the_sliced_distance_of_a_shift_is_in_deviations(noise):
    """Along a random direction of n pixels it is |sum of n of N(0, 1/n)|: sqrt(2 / pi) of it."""
    dataset, real, _ = noise
    row = evaluated(generator_of(real + 30), dataset).row(
        "sliced Wasserstein distance (deviations)"
    )
    # 256 directions of deviation sqrt(1 - 2 / pi)
    tolerance = 4 * np.sqrt((1 - 2 / np.pi) / 256)
    assert row.generated * real.std() / 30 == pytest.approx(np.sqrt(2 / np.pi), abs=tolerance)
    assert row.best == 0 < row.floor < row.generated


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
