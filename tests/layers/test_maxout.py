import subprocess
import sys
import textwrap

import numpy as np
import pytest


@pytest.fixture(scope="module")
def maxout(keras_ready):
    from dlsuite.layers.maxout import Maxout

    return Maxout


def test_each_unit_takes_the_largest_of_its_pieces(maxout):
    layer = maxout(2, 3)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    layer.build(x.shape)
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(4, 6)).astype("float32"), rng.normal(size=6).astype("float32")
    layer.set_weights([kernel, bias])
    expected = np.stack(
        [
            np.max([x @ kernel[:, 3 * u + p] + bias[3 * u + p] for p in range(3)], axis=0)
            for u in range(2)
        ],
        axis=1,
    )
    # four float32 products are added in another order
    np.testing.assert_allclose(np.asarray(layer(x)), expected, rtol=1e-5, atol=1e-6)


def test_two_pieces_make_the_absolute_value(maxout):
    layer = maxout(1, 2)
    layer.build((None, 1))
    layer.set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    x = np.array([[-2.0], [0.5]], "float32")
    np.testing.assert_array_equal(np.asarray(layer(x)), np.abs(x))


def test_leading_axes_are_kept_and_the_batch_may_be_open(maxout):
    import keras

    outputs = maxout(4, 2)(keras.Input((7, 3)))
    assert outputs.shape == (None, 7, 4)
    assert maxout(4, 2)(np.zeros((2, 7, 3))).shape == (2, 7, 4)


@pytest.mark.parametrize("units, pieces", [(0, 2), (3, 0), (-1, 2)])
def test_counts_are_at_least_one(maxout, units, pieces):
    with pytest.raises(ValueError, match=f"at least 1.*units={units}, pieces={pieces}"):
        maxout(units, pieces)


def test_a_saved_layer_opens_in_a_new_process(maxout, tmp_path):
    import keras

    inputs = keras.Input((3,))
    model = keras.Model(inputs, maxout(4, 3, name="maxout")(inputs))
    path = tmp_path / "maxout.keras"
    model.save(path)
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    np.savez(tmp_path / "arrays.npz", x=x, y=np.asarray(model(x)))
    script = textwrap.dedent("""
        import sys
        from dlsuite.runtime import prepare
        prepare()
        import keras, numpy as np
        import dlsuite.layers.maxout
        arrays = np.load(sys.argv[2])
        model = keras.saving.load_model(sys.argv[1])
        np.testing.assert_array_equal(np.asarray(model(arrays["x"])), arrays["y"])
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(tmp_path / "arrays.npz")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
