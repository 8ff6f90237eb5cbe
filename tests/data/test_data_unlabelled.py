"""Arrays of images without labels: `npy:` and `h5:` with one name."""

import json

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import dlsuite
from dlsuite.cli.main import cli
from dlsuite.data.load import load_dataset
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data


@pytest.fixture
def maps():
    return np.random.default_rng(0).standard_normal((50, 28, 28)).astype(np.float32)


def saved(tmp_path, array):
    path = tmp_path / "maps.npy"
    np.save(path, array)
    return path


@pytest.mark.parametrize("memory_gb", [2.0, 1e-6])
@pytest.mark.parametrize("reader", ["npy", "h5"])
def test_splits_are_blocks_in_the_order_of_the_file(tmp_path, maps, reader, memory_gb):
    if reader == "npy":
        name = f"npy:{saved(tmp_path, maps)}"
    else:
        with h5py.File(tmp_path / "maps.h5", "w") as file:
            file["kappa"] = maps
        name = f"h5:{tmp_path / 'maps.h5'}#kappa"
    dataset = load_dataset(Data(name=name, validation=0.2, memory_gb=memory_gb))
    assert dataset.class_names == () and dataset.image_shape == (28, 28, 1)
    assert (dataset.splits["train"].images is None) == (memory_gb < 1)
    ends = {"train": (0, 35), "validation": (35, 45), "test": (45, 50)}
    for split, (start, stop) in ends.items():
        read = dataset.splits[split].read(np.arange(stop - start)[::-1])
        np.testing.assert_array_equal(read[::-1, :, :, 0], maps[start:stop])


def test_float64_maps_become_float32(tmp_path, maps):
    dataset = load_dataset(Data(name=f"npy:{saved(tmp_path, maps.astype(np.float64))}"))
    assert dataset.splits["train"].read(np.arange(2)).dtype == np.float32


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: m.astype(np.int64), r"Maps are floats.*int64.*float32 or uint8"),
        (lambda m: m[:3], r"at least one image each.*3 in .*data.validation=0.1"),
        (lambda m: m[0], r"axes \(N, H, W\) or.*shape"),
        (
            lambda m: np.where(np.arange(50)[:, None, None] == 47, np.nan, m),
            r"nan in '.*\[45:50\]', image 2, row 0",
        ),
        (
            lambda m: np.where(np.isin(np.arange(50), (42, 44))[:, None, None], m[0, 0, 0], m),
            r"must differ in something.*2 of 5 with one value.*\[40:45\]', the first.* image 2\.",
        ),
        (
            # in float32, of which the network sees them
            lambda m: np.stack([1 + 1e-12 * m.astype(np.float64)] * 2, axis=-1),
            r"must differ in something.*40 of 40 with one value.*the first.* image 0\.",
        ),
    ],
    ids=["integers", "few", "shape", "nan", "blank", "all blank"],
)  # fmt: skip
@pytest.mark.parametrize("memory_gb", [2.0, 1e-9])
def test_maps_that_no_network_can_use_are_one_sentence(tmp_path, maps, spoil, words, memory_gb):
    path = saved(tmp_path, spoil(maps))
    with pytest.raises(DlsuiteError, match=words) as caught:
        load_dataset(Data(name=f"npy:{path}", memory_gb=memory_gb))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("memory_gb", [2.0, 1e-9])
def test_a_picture_of_one_colour_is_one(tmp_path, maps, memory_gb):
    pictures = np.abs(50 * maps).astype(np.uint8)
    pictures[3] = 255
    dataset = load_dataset(Data(name=f"npy:{saved(tmp_path, pictures)}", memory_gb=memory_gb))
    assert (dataset.splits["train"].read(np.array([3])) == 255).all()
    # nor is a map whose first row is empty
    maps[3, 0] = 0
    load_dataset(Data(name=f"npy:{saved(tmp_path, maps)}", memory_gb=memory_gb))


def test_what_is_no_array_is_one_sentence(tmp_path):
    (tmp_path / "no.npy").write_bytes(b"no array")
    with pytest.raises(DlsuiteError, match=r"what numpy\.save writes.*no\.npy"):
        load_dataset(Data(name=f"npy:{tmp_path / 'no.npy'}"))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DlsuiteError, match="never unpickles"):
        load_dataset(Data(name=f"npy:{tmp_path / 'objects.npy'}"))


def test_fewer_maps_than_a_batch_are_one_sentence(tmp_path, maps):
    name = f"npy:{saved(tmp_path, maps)}"
    with pytest.raises(
        DlsuiteError, match=r"more images than the train split.*batch_size=64 .*for 40 images"
    ):
        dlsuite.plan("mnist-dcgan", data=name, batch_size=64, settings={"data.validation": 5})


@pytest.mark.slow
def test_a_gan_learns_from_an_array_and_gives_back_its_units(tmp_path, maps):
    run = dlsuite.train(
        "mnist-dcgan", data=f"npy:{saved(tmp_path, 0.01 * maps)}", batch_size=10, epochs=1,
        run_dir=tmp_path / "run", settings={
            "data.validation": 5, "model.width": 4, "pixels.transform": "scale",
            "pixels.scale": 20.0,
        },
    )  # fmt: skip
    images = run.model(np.zeros((1, run.model.input_shape[-1]), np.float32)).numpy()
    assert np.abs(images).max() <= 1 / 20.0
    done = CliRunner().invoke(cli, ["evaluate", str(run.path)])
    # five images, which fill no row of the sheet
    assert done.exit_code == 0, done.output
    assert (run.path / "evaluation" / "samples.png").is_file()
    assert (
        json.loads((run.path / "evaluation" / "evaluation.json").read_text())["num_examples"] == 5
    )


def test_a_logarithm_takes_the_values_of_validation_too(tmp_path, maps):
    maps = 1 + maps**2
    maps[37, 3, 3] = -5.0  # of validation
    with pytest.raises(DlsuiteError, match=r"'logarithm'.*-5 in training or validation"):
        dlsuite.plan(
            "mnist-dcgan", data=f"npy:{saved(tmp_path, maps)}", batch_size=10, settings={
                "data.validation": 0.2, "model.width": 4, "pixels.transform": "logarithm",
                "pixels.shift": 1.0,
            },
        )  # fmt: skip
