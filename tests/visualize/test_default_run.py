"""The default recipe's run, trained in full and looked into by the command."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import dlsuite
from dlsuite.cli.main import cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def default_run(tmp_path_factory, keras_ready):
    return dlsuite.train(run_dir=tmp_path_factory.mktemp("runs") / "default")


def look(run, method, folder):
    arguments = ["visualize-filters", run.path, "--method", method, "--output", folder, "--json"]
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["methods"][method]


def test_half_of_the_live_first_kernels_are_oriented(default_run, tmp_path):
    (layer,) = look(default_run, "kernels", tmp_path)["layers"]
    live = layer["num_units"] - layer["num_dead"]
    assert live >= 16  # of 32
    assert layer["num_oriented"] >= live / 2


def test_another_network_reads_the_maximised_digits(default_run, tmp_path):
    look(default_run, "maximisation", tmp_path)
    with np.load(tmp_path / "maximisation-logits.npz") as arrays:
        pictures, digits = arrays["inputs"], arrays["units"]
    assert digits.tolist() == list(range(10))
    reader = dlsuite.train("mnist-cnn", model="lenet5", epochs=12, seed=3, run_dir=tmp_path / "run")
    read = reader.model(np.rint(pictures).astype(np.float32)).numpy().argmax(axis=1)
    assert (read == digits).sum() >= 8
