"""Simulated convergence maps: spectrum, moments, splits, and the table they follow."""

import importlib.util

import numpy as np
import pytest

from dlsuite.data import convergence_spectrum
from dlsuite.data.convergence_maps import MAPS_A_SIDE, field, simulate_parent
from dlsuite.data.lensing import LognormalField, cut
from dlsuite.data.load import load_dataset, resolve
from dlsuite.errors import DlsuiteError
from dlsuite.recipes import resolve as recipes
from dlsuite.recipes.schema import Data


def rings(side):
    wave = np.fft.fftfreq(side) * side
    return np.rint(np.hypot(wave[:, None], wave[None, :])).astype(int)


def measured_power(parents, side_rad):
    """Mean C_l [steradian] of periodic squares: |FFT|^2 times area over N^4."""
    squares = [np.abs(np.fft.fft2(parent)) ** 2 for parent in parents]
    return np.mean(squares, axis=0) * side_rad**2 / parents[0].size ** 2


def test_parents_have_the_tabulated_spectrum():
    made = field(64)
    power = measured_power([simulate_parent(64, "train", i) for i in range(60)], made.side_rad)
    ring, expected = rings(made.num_pixels), made.power()
    for low, high in ((4, 8), (8, 16), (16, 32), (32, 64), (64, 128)):
        inside = (ring >= low) & (ring < high)
        ratio = power[inside].sum() / expected[inside].sum()
        # 60 squares: for Gaussian modes sqrt(2 / (60 modes)); log-normal ones scatter a few
        # times as much
        assert abs(ratio - 1) < max(0.02, 4 * np.sqrt(2 / (60 * inside.sum()))), (low, ratio)


def test_parents_are_shifted_lognormal():
    made = field(64)
    maps = np.stack([simulate_parent(64, "test", i) for i in range(40)]).astype(np.float64)
    assert maps.min() > -made.shift
    # ln(k + s) is Gaussian: no skewness, where the convergence itself has about 1
    gaussian = np.log(maps + made.shift)
    gaussian = (gaussian - gaussian.mean()) / gaussian.std()
    # pixels are correlated; 40 squares of about 100 independent patches: 4 sqrt(6 / 4000)
    assert abs((gaussian**3).mean()) < 0.16
    standard = (maps - maps.mean()) / maps.std()
    assert (standard**3).mean() > 0.7


@pytest.mark.parametrize("recipe", ["cosmogan-64", "cosmogan-64-spectral"])
def test_the_recipes_scale_gives_the_networks_a_deviation_of_a_fifth(recipe):
    scale = recipes.resolve(recipe).recipe.pixels.scale
    maps = np.stack([simulate_parent(64, "train", i) for i in range(25)])
    # the deviation of one square scatters by 3 %
    assert scale * maps.std() == pytest.approx(0.2, rel=4 * 0.03 / np.sqrt(25))


def test_moments_of_a_lognormal_field_of_one_wave():
    """White noise: <k> = 0, <k^2> = s^2 (exp v - 1), <k^3> = s^3 (w^3 - 3 w + 2), w = exp v."""
    side, shift, density = 128, 0.5, 128**2
    # N^2 pixels a steradian where the side is 1 rad: C = variance / N^2
    variance = 0.04
    flat = np.full(2, variance / density)
    made = LognormalField(
        multipoles=np.array([1e-3, 1e6]), spectrum=flat, shift=shift, num_pixels=side,
        pixel_arcmin=np.rad2deg(1) * 60 / side,
    )  # fmt: skip
    fields = np.stack([made.simulate(np.random.RandomState(i)) for i in range(30)])
    count = fields.size
    grown = 1 + variance / shift**2
    assert abs(fields.mean()) < 4 * np.sqrt(variance / count)
    # kurtosis near 4: deviation of the variance about sqrt(3 / count)
    np.testing.assert_allclose(fields.var(), variance, rtol=4 * np.sqrt(4 / count))
    third = shift**3 * (grown**3 - 3 * grown + 2)
    np.testing.assert_allclose((fields.astype(float) ** 3).mean(), third, rtol=0.05)


def test_a_parent_is_cut_into_its_tiles():
    parent = np.arange(64).reshape(8, 8)
    tiles = cut(parent, 4)
    assert tiles.shape == (4, 4, 4)
    np.testing.assert_array_equal(tiles[1], parent[:4, 4:])
    np.testing.assert_array_equal(tiles[2], parent[4:, :4])


def test_splits_come_from_parents_of_their_own(few_parents):
    dataset = load_dataset(Data(name="convergence_maps"))
    per_parent = MAPS_A_SIDE**2
    counts = {name: split.num_examples for name, split in dataset.splits.items()}
    assert counts == {"train": 3 * per_parent, "validation": 2 * per_parent, "test": 2 * per_parent}
    for split, number in (("train", 2), ("validation", 0), ("test", 1)):
        tiles = cut(simulate_parent(64, split, number), 64)
        place = np.arange(number * per_parent, (number + 1) * per_parent)
        np.testing.assert_array_equal(dataset.splits[split].read(place)[..., 0], tiles)
    parents = [simulate_parent(64, split, 0) for split in ("train", "validation", "test")]
    assert not any((parents[i] == parents[j]).any() for i, j in ((0, 1), (0, 2), (1, 2)))
    assert dataset.image_shape == (64, 64, 1) and dataset.class_names == ()
    assert any("simulated" in note and "0.8 arcmin" in note for note in dataset.notes)


def test_maps_too_large_for_memory_are_read_by_index(few_parents):
    held = load_dataset(Data(name="convergence_maps"))
    read = load_dataset(Data(name="convergence_maps", memory_gb=1e-6))
    assert read.splits["train"].images is None
    some = np.array([5, 0, 17])
    np.testing.assert_array_equal(read.splits["train"].read(some), held.splits["train"].read(some))


def test_classification_of_maps_is_refused(few_parents):
    import dlsuite

    with pytest.raises(DlsuiteError, match=r"needs a label.*'convergence_maps', which has none"):
        dlsuite.plan("mnist-mlp", data="convergence_maps")


def test_another_size_is_refused():
    with pytest.raises(DlsuiteError, match=r"size of convergence_maps.*'512'.*64, 128, 256"):
        load_dataset(Data(name="convergence_maps/512"))


def test_configurations_belong_to_datasets_that_have_them():
    assert resolve("convergence_maps/128") == ("convergence_maps", "/128")
    assert resolve("convergence_maps[:20%]") == ("convergence_maps", "[:20%]")
    assert resolve("mnist_5k/odd") == ("tfds", "mnist_5k/odd")


@pytest.mark.slow
def test_the_shipped_table_is_what_camb_gives():
    if importlib.util.find_spec("camb") is None:
        pytest.skip("the extra cosmology is not installed")
    multipoles, spectrum, empty_beam = convergence_spectrum.tabulated()
    some = slice(10, 110, 20)
    computed, empty = convergence_spectrum.compute(multipoles[some])
    # versions of CAMB differ in their nonlinear corrections by less
    np.testing.assert_allclose(computed, spectrum[some], rtol=0.02)
    np.testing.assert_allclose(empty, empty_beam, rtol=1e-4)


def test_without_camb_there_is_advice(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "camb", None)
    with pytest.raises(DlsuiteError, match=r"needs CAMB.*dlsuite\[cosmology\]"):
        convergence_spectrum.compute([100])
