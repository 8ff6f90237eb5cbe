"""The plane of a path: a path that lies in one is found whole; runs keep theirs."""

import keras
import numpy as np
import pytest

import dlsuite
from dlsuite.analysis.landscape import weights_of
from dlsuite.analysis.trajectory import load_path, path_plane
from dlsuite.errors import DlsuiteError


def test_a_path_in_a_plane_is_explained_whole_and_keeps_its_distances():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    rng = np.random.default_rng(0)
    last = weights_of(model)
    two = [[rng.normal(size=w.shape) for w in last] for _ in range(2)]
    steps = rng.normal(size=(6, 2))
    steps[-1] = 0
    points = [
        [(w + a * d + b * e).astype("float32") for w, d, e in zip(last, *two, strict=True)]
        for a, b in steps
    ]
    plane = path_plane(model, points)
    assert plane.explained.sum() == pytest.approx(1)
    assert plane.coordinates[-1].tolist() == [0, 0]
    flat = [np.concatenate([w.ravel() for w in point]) for point in points]
    for one, other in ((0, 1), (2, 4)):
        # float32 weights of size 1
        assert np.linalg.norm(plane.coordinates[one] - plane.coordinates[other]) == pytest.approx(
            np.linalg.norm(flat[one] - flat[other]), rel=1e-5
        )
    # a path off the plane, about its own mean and not about its end
    bent = [[w + rng.normal(size=w.shape).astype("float32") for w in point] for point in points]
    plane = path_plane(model, bent)
    flat = np.stack([np.concatenate([w.ravel() for w in point]) for point in bent])
    expected = plane.coordinates.var(axis=0) / flat.var(axis=0).sum()
    np.testing.assert_allclose(plane.explained, expected, rtol=1e-6)
    assert plane.explained.sum() < 0.99
    for axis, values in zip(plane.axes(9), plane.coordinates.T, strict=True):
        assert axis[0] < values.min() and axis[-1] > values.max()


@pytest.mark.slow
def test_a_run_keeps_its_path_and_one_without_is_refused(tmp_path):
    settings = {
        "data.train_limit": 300,
        "model.hidden": [8],
        "schedule.warmup_epochs": 0.0,
        "train.trajectory": True,
    }
    run = dlsuite.train("mnist-mlp", epochs=2, run_dir=tmp_path / "run", settings=settings)
    points = load_path(run.path)
    assert len(points) == 3
    if run.info["best"]["epoch"] == 2:
        assert all(map(np.array_equal, points[-1], weights_of(run.model)))
    first = run.path / "trajectory" / "00000.npz"
    first.write_bytes(first.read_bytes()[:500])
    with pytest.raises(DlsuiteError, match=r"must be whole\. Received: '.*00000\.npz'"):
        load_path(run.path)
    first.unlink()
    with pytest.raises(DlsuiteError, match=r"which kept 2\. Train with --set train\.trajectory"):
        load_path(run.path)
