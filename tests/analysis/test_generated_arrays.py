"""Arrays of generated images on disk: what is gone on with, and what is refused."""

import errno
import re

import h5py
import numpy as np
import pytest

from dlsuite.analysis.generated_arrays import ArrayFile
from dlsuite.errors import DlsuiteError


@pytest.mark.parametrize("suffix", ["npy", "h5"])
def test_a_stopped_array_goes_on_where_it_was(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("dlsuite.analysis.generated_arrays._NOTED_EVERY", 4)
    path, about = tmp_path / f"maps.{suffix}", {"seed": 1, "truncation": None}
    images = np.random.default_rng(0).random((10, 3, 3, 1), dtype=np.float32)
    with pytest.raises(KeyboardInterrupt), ArrayFile(path, shape=images.shape, about=about) as file:
        file.append(images[:4])
        file.append(images[4:6])
        raise KeyboardInterrupt
    assert not path.exists()
    with ArrayFile(path, shape=images.shape, about=about) as file:
        assert file.done == 6
        file.append(images[6:])
    saved = np.load(path) if suffix == "npy" else h5py.File(path)["images"][()]
    assert (saved == images).all()
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    with pytest.raises(DlsuiteError, match=r"not overwritten.*exists"):
        ArrayFile(path, shape=images.shape, about=about)


@pytest.mark.parametrize("other", [{"seed": 2}, {"model": "b"}, {"shape": (5, 2, 2, 1)}])
def test_a_part_of_other_images_is_refused_and_stays(tmp_path, other):
    asked = {"seed": 1, "model": "a", "shape": (4, 2, 2, 1)}

    def opened(options):
        about = {key: options[key] for key in ("seed", "model")}
        return ArrayFile(tmp_path / "maps.npy", shape=options["shape"], about=about)

    with opened(asked) as file:
        pass
    with opened(asked | other) as file:  # nothing was in it
        assert file.done == 0
    with opened(asked) as file:
        file.append(np.ones((2, 2, 2, 1), np.float32))
    [(key, value)] = ((key, list(v) if key == "shape" else v) for key, v in other.items())
    words = rf"maps\.npy\.part' with 2 images of {key} .*, and now {key} {re.escape(str(value))}\. "
    with pytest.raises(DlsuiteError, match=words + "Finish it with its own"):
        opened(asked | other)
    with opened(asked) as file:
        assert file.done == 2
    (tmp_path / "maps.npy.part.json").write_text("[]")
    with pytest.raises(DlsuiteError, match=r"maps\.npy\.part' with a note that can't be read"):
        opened(asked)


@pytest.mark.parametrize("kind", [RuntimeError, lambda text: OSError(errno.ENOSPC, text)])
def test_hdf5_that_can_not_close_a_file_says_so_as_the_system_does(tmp_path, monkeypatch, kind):
    close = h5py.File.close

    def full(file):
        close(file)
        raise kind("Can't close it (No space left on device\n, filename = 'maps.h5')")

    monkeypatch.setattr(h5py.File, "close", full)
    with pytest.raises(OSError, match=r"No space left") as caught:
        ArrayFile(tmp_path / "maps.h5", shape=(4, 2, 2, 1), about={"seed": 1})
    assert "\n" not in caught.value.strerror
