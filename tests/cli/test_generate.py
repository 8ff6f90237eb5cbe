"""`dlsuite generate` and `dlsuite evaluate` on a GAN: what they write, resume and refuse."""

import errno
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import dlsuite
from dlsuite.analysis.generated_arrays import ArrayFile
from dlsuite.analysis.generation import Sampler, great_circle, smooth_loop
from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")


def invoke(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def gan(tmp_path_factory, keras_ready):
    """Two epochs of a very small GAN on 200 digits: noise that is dark at the edges."""
    return dlsuite.train(
        "mnist-dcgan",
        epochs=2,
        batch_size=20,
        run_dir=tmp_path_factory.mktemp("gans") / "digits",
        settings={
            "data.train_limit": 200,
            "data.validation": 100,
            "model.width": 4,
            "model.latent_dim": 8,
            "optimizer.learning_rate": 5e-4,
        },
    ).path


def test_training_draws_a_sheet_an_epoch(gan):
    sheets = sorted(path.name for path in (gan / "samples").iterdir())
    assert sheets == ["epoch-0001.png", "epoch-0002.png"]


def test_a_gan_on_another_machine_is_known_by_its_losses(gan, tmp_path):
    """Other bits, as another library might give them, and the same two losses."""
    folder = Path(shutil.copytree(gan, tmp_path / "copy"))
    for name, pattern, other in (
        ("environment.json", r'"keras": "[\d.]+"', '"keras": "3.14.0"'),
        ("recipe.toml", r"learning_rate = 0\.0005\b", "learning_rate = 0.0005000002"),
    ):
        text, count = re.subn(pattern, other, (folder / name).read_text(encoding="utf-8"))
        assert count == 1
        (folder / name).write_text(text, encoding="utf-8")
    found = dlsuite.verify(folder)
    assert found.status == "reproduced"
    assert found.loss_deviation < 0.01


def test_an_array_is_the_models_images_and_the_same_each_time(gan, tmp_path):
    first, second = tmp_path / "a.npy", tmp_path / "b.h5"
    done = invoke("generate", gan, "--num", 100, "--seed", 3, "--output", first, "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert (value["file"], value["format"], value["num"]) == (str(first), "npy", 100)
    documented = PAGE.split("## dlsuite generate\n")[1].split("\n## ")[0]
    assert set(value) <= set(re.findall(r"`([\w]+)`", documented))
    assert invoke("generate", gan, "--num", 100, "--seed", 3, "--output", second).exit_code == 0
    images = np.load(first)
    assert images.shape == (100, 28, 28, 1) and images.dtype == np.float32
    with h5py.File(second) as file:
        assert (file["images"][()] == images).all()
        assert file["images"].attrs["seed"] == 3
    # in stored units, 0 to 255, and image i the same whatever their number
    assert images.min() >= -1e-3 and images.max() <= 255.001
    assert invoke("generate", gan, "--num", 7, "--seed", 3, "--output", tmp_path / "c.npy")
    assert (np.load(tmp_path / "c.npy") == images[:7]).all()
    assert invoke("generate", gan, "--num", 7, "--seed", 4, "--output", tmp_path / "d.npy")
    assert (np.load(tmp_path / "d.npy") != images[:7]).any()


def test_truncated_latents_stay_inside(gan):
    from dlsuite.analysis.generation import Sampler

    model = dlsuite.load(gan).model
    free, cut = (Sampler(model, seed=1, truncation=t).latents(0, 4000) for t in (None, 0.7))
    assert np.abs(free).max() > 3
    assert np.abs(cut).max() <= 0.7
    # a normal cut off at t: variance 1 - 2 t phi(t) / (2 Phi(t) - 1)
    t = 0.7
    density = np.exp(-t * t / 2) / np.sqrt(2 * np.pi)
    share = 0.5160727  # 2 Phi(0.7) - 1
    np.testing.assert_allclose(cut.var(), 1 - 2 * t * density / share, rtol=0.02)
    with pytest.raises(DlsuiteError, match=r"positive number of deviations.*-1"):
        Sampler(model, truncation=-1.0)


@pytest.mark.parametrize(
    ("name", "more"),
    [("maps.NPY", ()), ("maps.H5", ()), ("film.GIF", ("--interpolate", "--frames", 2))],
)
def test_a_suffix_in_capitals_is_the_same_format(gan, tmp_path, name, more):
    done = invoke("generate", gan, "--num", 2, *more, "--output", tmp_path / name)
    assert done.exit_code == 0, done.output
    start = {"NPY": b"\x93NUMPY", "H5": b"\x89HDF", "GIF": b"GIF8"}[name.split(".")[1]]
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A folder with room for a megabyte, and what gives it more."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        # mounting needs root: without it, as the system would say it
        append = ArrayFile.append

        def full(file, images):
            if file.done >= 320:
                raise OSError(errno.ENOSPC, "No space left on device")
            append(file, images)

        monkeypatch.setattr(ArrayFile, "append", full)
        yield place, monkeypatch.undo
        return
    more = ["mount", "-o", "remount,size=16m", str(place)]
    yield place, lambda: subprocess.run(more, check=True)
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("suffix", ["npy", "h5"])
def test_a_disk_that_fills_up_is_one_sentence_and_keeps_what_is_there(gan, small_disk, suffix):
    place, give_room = small_disk
    path, note = place / f"maps.{suffix}", place / f"maps.{suffix}.part.json"
    # 3 MB of images
    done = invoke("generate", gan, "--num", 1000, "--output", path)
    assert isinstance(done.exception, DlsuiteError)
    assert re.fullmatch(
        r".*a place that can be written.*maps\.\w+' \(No space left.*", str(done.exception)
    )
    assert not path.exists()
    kept = json.loads(note.read_text())["done"]
    assert 0 < kept <= 334  # images of 3 kB in a megabyte
    give_room()
    again = invoke("generate", gan, "--num", 1000, "--output", path)
    assert again.exit_code == 0, again.output
    assert f"Goes on after {kept} images" in " ".join(again.stderr.split())
    invoke("generate", gan, "--num", 1000, "--output", place / f"whole.{suffix}")
    assert path.read_bytes() == (place / f"whole.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [pytest.param("npy", marks=pytest.mark.slow), "h5"])
def test_an_array_killed_while_it_is_written_ends_as_one_that_was_not(gan, tmp_path, suffix):
    path, note = tmp_path / f"maps.{suffix}", tmp_path / f"maps.{suffix}.part.json"
    command = ["generate", str(gan), "--num", "20000", "--output"]
    running = subprocess.Popen([sys.executable, "-m", "dlsuite.cli", *command, str(path)])
    try:
        while running.poll() is None and not (note.exists() and _done(note)):
            time.sleep(0.005)
    finally:
        running.kill()
        running.wait()
    assert 0 < _done(note) < 20_000, "it ended before it was killed: give it more images"
    again, whole = invoke(*command, path), invoke(*command, tmp_path / f"whole.{suffix}")
    assert again.exit_code == whole.exit_code == 0, again.output
    assert "Goes on after" in again.stderr and "Goes on after" not in whole.stderr
    assert path.read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()


def _done(note):
    return json.loads(note.read_text())["done"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["npy", "h5"])
def test_many_images_need_no_more_memory_than_few(gan, tmp_path, suffix):
    # ru_maxrss would begin with that of the process that starts this one
    program = """
import sys
from pathlib import Path
from dlsuite.cli.main import cli
cli(sys.argv[1:], standalone_mode=False)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
    peaks = []
    for num in (200, 20_000):
        command = ["generate", gan, "--num", num, "--output", tmp_path / f"{num}.{suffix}"]
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, command)],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.splitlines()[-1]))
    # in kB: the array is of 63 MB, and without it the two were the same to 2 MB
    assert peaks[1] - peaks[0] < 16_000


def test_truncation_holds_along_a_film(keras_ready):
    latents = Sampler(constant_generator(), seed=3, truncation=1.0)
    ends = latents.normals(0, 40)
    for way in (
        great_circle(ends[:20], ends[20:], 8),
        smooth_loop(20, 4, 8, width=1.0, seed=3),
    ):
        points = np.stack(list(way))
        assert np.abs(points).max() > 1.5
        assert np.abs(latents.truncated(points)).max() <= 1
    np.testing.assert_array_equal(latents.truncated(ends), latents.latents(0, 40))


def constant_generator():
    latent = keras.Input((4,))
    return keras.Model(latent, keras.layers.Reshape((2, 2, 1))(latent))


@pytest.mark.parametrize("option", ["--frames", "--fps"])
def test_what_is_of_a_film_is_refused_without_one(gan, tmp_path, option):
    done = invoke("generate", gan, option, 24, "--output", tmp_path / "sheet.png")
    assert done.exit_code == 2
    assert f"{option} is of a film: add --interpolate" in done.output
    assert not list(tmp_path.iterdir())


def test_a_sheet_and_films(gan, tmp_path):
    assert invoke("generate", gan, "--num", 5, "--output", tmp_path / "s.png").exit_code == 0
    with Image.open(tmp_path / "s.png") as image:
        # 3 columns of 28 pixels and gaps of one, five times enlarged
        assert image.size == ((3 * 29 + 1) * 5, (2 * 29 + 1) * 5)
    for kind in ("circle", "loop"):
        path = tmp_path / f"{kind}.gif"
        done = invoke(
            "generate", gan, "--num", 2, "--interpolate", kind, "--frames", 6, "--output", path
        )
        assert done.exit_code == 0, done.output
        with Image.open(path) as film:
            assert film.n_frames == 6


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_film_as_mp4(gan, tmp_path):
    path = tmp_path / "film.MP4"
    done = invoke("generate", gan, "--num", 2, "--interpolate", "--frames", 4, "--output", path)
    assert done.exit_code == 0, done.output
    assert path.read_bytes()[4:8] == b"ftyp"


def test_without_ffmpeg_there_is_advice(gan, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    path = tmp_path / "film.mp4"
    done = invoke("generate", gan, "--num", 2, "--interpolate", "--frames", 4, "--output", path)
    assert re.search("without it.*--format gif", str(done.exception))
    assert not list(tmp_path.iterdir())


def test_paths_between_latents():
    from dlsuite.analysis.generation import great_circle, smooth_loop

    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 3, 5000)).astype("float32")
    points = list(great_circle(a, b, 8))
    np.testing.assert_allclose(points[0], a)
    np.testing.assert_allclose(points[2], b, atol=1e-5)
    # as long as a latent everywhere on the way, unlike a straight line's middle
    lengths = [np.sqrt((p**2).mean()) for p in points]
    assert max(abs(length - 1) for length in lengths) < 4 / np.sqrt(2 * 15_000) * 2
    loop = np.stack(list(smooth_loop(2, 50, 60, width=6.0, seed=1)))
    assert loop.shape == (60, 2, 50)
    np.testing.assert_allclose((loop**2).mean(), 1, rtol=1e-5)
    steps = np.abs(np.diff(np.concatenate([loop, loop[:1]]), axis=0)).mean(axis=(1, 2))
    # the step from the last frame to the first is like any other
    assert steps[-1] < 1.5 * steps.mean() and steps.max() < 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--num", "2000"], "at most 1024 images.*--num 2000"),
        (["--num", "100", "--interpolate"], "film shows at most 64.*--num 100"),
    ],
)
def test_too_much_for_a_picture_is_refused(gan, arguments, words):
    assert re.search(words, str(invoke("generate", gan, *arguments).exception))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "gif"], "made with --interpolate"),
        (["--output", "x.jpg"], r"ends in the format.*x\.jpg"),
        (["--output", "x.npy", "--format", "h5"], r"x\.npy' with --format h5"),
    ],
)
def test_formats_that_do_not_fit_are_wrong_usage(gan, arguments, words):
    done = invoke("generate", gan, *arguments)
    assert done.exit_code == 2
    assert re.search(words, " ".join(done.stderr.split()))


def test_a_run_that_is_no_gan_is_refused(small_run):
    done = invoke("generate", small_run.path)
    assert re.search("`dlsuite generate` is for runs of the task 'gan'", str(done.exception))
    done = invoke("evaluate", small_run.path, "--classifier", small_run.path)
    assert re.search("evaluate --classifier.*'gan'.*'classification'", str(done.exception))


def test_evaluation_has_each_statistic_with_its_floor(gan, small_run):
    done = invoke("evaluate", gan, "--classifier", small_run.path, "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert value["num_examples"] == 100 and value["floor_of"] == "validation"
    rows = {row["name"]: row for row in value["statistics"]}
    # a generator that has hardly learnt is far from real, and real is near real
    for name in ("pixel KS D", "P(k), KS D", "Minkowski V1, KS D", "bispectrum, KS D"):
        assert rows[name]["generated"] > 2 * rows[name]["floor"], name
    assert rows["pixel deviation ratio"]["floor"] == pytest.approx(1, abs=0.1)
    bins = rows["P(k), KS D"]["bins"]
    assert np.median(bins["generated_d"]) == rows["P(k), KS D"]["generated"]
    assert np.median(bins["floor_p"]) == rows["P(k), KS D"]["p_floor"]
    assert value["best"] == dlsuite.load(gan).info["best"]
    for shares in ("shares", "real_shares"):
        assert abs(sum(value["classifier"][shares]) - 1) < 1e-9
    # 100 images and 16 features of an MLP: the distance of blurred digits is above the floor
    frechet = rows["Frechet distance (16 features)"]
    assert frechet["floor"] < value["classifier"]["frechet_blurred"]
    folder = Path(value["folder"])
    assert sorted(value["files"]) == sorted(path.name for path in folder.iterdir())
    page = (folder / "index.html").read_text()
    assert all(f'src="{name}"' in page for name in value["files"] if name.endswith(".png"))
    assert f"Epoch {value['best']['epoch']}, chosen on validation: val_distance" in page
    section = PAGE.split("## dlsuite evaluate, on a GAN")[1].split("\n## ")[0]
    documented = set(re.findall(r"`([\w.\[\]]+)`", section))
    keys = set(value) | {f"statistics[].{key}" for key in value["statistics"][0]}
    assert keys | {f"classifier.{key}" for key in value["classifier"]} <= documented


def test_the_classifier_of_the_training_judges_unless_another_is_named(gan, small_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(gan, run)
    recipe = (run / "recipe.toml").read_text()
    judge = tmp_path / "judge.keras"
    shutil.copy(small_run.path / "model.keras", judge)
    (run / "recipe.toml").write_text(recipe.replace("[gan]", f'[gan]\nclassifier = "{judge}"'))
    done = invoke("evaluate", run, "--json", "--output", tmp_path / "own")
    own = json.loads(done.stdout)["classifier"]
    named = invoke("evaluate", gan, "--classifier", judge, "--json", "--output", tmp_path / "named")
    assert own == json.loads(named.stdout)["classifier"]
    judge.unlink()
    done = invoke("evaluate", run, "--json", "--output", tmp_path / "gone")
    assert json.loads(done.stdout)["classifier"] is None
    assert "the run's classifier is gone" in " ".join(done.stderr.split())


def test_another_command_names_the_task(gan):
    done = invoke("predict", gan, "digit.png")
    assert re.search("`dlsuite predict`.*'classification'.*'gan'", str(done.exception))
