import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from PIL import Image

from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError
from dlsuite.models import FORMS, MODELS


def _run(*arguments):
    done = CliRunner().invoke(cli, ["models", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_listing_needs_no_tensorflow():
    script = (
        "import sys\n"
        "from dlsuite.cli.models import command\n"
        "command(['--json'], standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'scipy', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["models"]}
    assert set(rows) == {*MODELS, *(form.name for form in FORMS)}
    assert rows["resnet20"]["parameters"] == 269_722
    assert rows["resnet20"]["image_shape"] == [32, 32, 3]
    assert rows["keras:NAME"]["parameters"] is None


def test_the_table_names_every_network():
    done = _run()
    assert done.exit_code == 0
    for name in MODELS:
        assert name in done.output
    assert "61,706" in done.output


def test_show_counts_layers_parameters_and_operations():
    shown = json.loads(_run("show", "lenet5", "--json").stdout)
    assert shown["parameters"] == 61_706
    # multiply-adds of C1, C3, C5, F6 and the output, twice
    macs = 28 * 28 * 25 * 6 + 10 * 10 * 150 * 16 + 400 * 120 + 120 * 84 + 84 * 10
    assert shown["flops"] == 2 * macs
    layers = {row["name"]: row for row in shown["layers"]}
    assert layers["c3"]["output_shape"] == [10, 10, 16]
    assert layers["c3"]["parameters"] == 150 * 16 + 16
    assert list(shown["features"])[-1] == "logits"


def test_show_takes_sizes_and_options():
    done = _run(
        *("show", "mlp", "--image-size", "4", "--channels", "3", "--classes", "2", "--json"),
        *("--set", "hidden=[5]", "--set", "activation=tanh"),
    )
    shown = json.loads(done.stdout)
    assert shown["image_shape"] == [4, 4, 3]
    assert shown["parameters"] == (48 * 5 + 5) + (5 * 2 + 2)
    assert shown["options"]["activation"] == "tanh"


def test_show_draws_the_schematic(tmp_path):
    path = tmp_path / "vgg16.png"
    done = _run("show", "vgg16", "--figure", str(path))
    assert "138,357,544" in done.output
    assert Image.open(path).size[0] > 2000


def test_show_opens_a_file_with_its_own_sizes(tmp_path):
    import keras

    image = keras.Input((6, 5, 2))
    outputs = keras.layers.Dense(7)(keras.layers.Flatten()(image))
    keras.Model(image, outputs).save(tmp_path / "mine.keras")
    shown = json.loads(_run("show", str(tmp_path / "mine.keras"), "--json").stdout)
    assert (shown["image_shape"], shown["num_classes"]) == ([6, 5, 2], 7)


def test_show_fills_in_what_a_file_leaves_open_and_refuses_what_is_no_image(tmp_path):
    import keras

    image = keras.Input((None, None, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(image))
    keras.Model(image, keras.layers.Dense(7)(x)).save(tmp_path / "open.keras")
    shown = json.loads(_run("show", str(tmp_path / "open.keras"), "--json").stdout)
    assert (shown["image_shape"], shown["num_classes"]) == ([224, 224, 1], 7)
    keras.Sequential([keras.Input((784,)), keras.layers.Dense(5)]).save(tmp_path / "flat.keras")
    with pytest.raises(DlsuiteError, match=r"height x width x channels.*which takes 784\."):
        _run("show", str(tmp_path / "flat.keras"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["resnt20"], r"Unknown model. Received: 'resnt20'. Did you mean 'resnet20'"),
        # a recipe's name, of which one word is the network's
        (["mnist_mlp"], r"Received: 'mnist_mlp'. Did you mean 'mlp'"),
        (["mlp", "--set", "hiden=3"], r"Received: 'hiden'. Did you mean 'hidden'"),
        (["mlp", "--figure", "mlp.jpg"], r"A figure is a PNG file .* Received: mlp.jpg"),
        (["mlp", "--figure", "nowhere/mlp.png"], r"in a folder that exists. Received: nowhere"),
        (["lenet5", "--image-size", "1"], r"at least 16x16 pixels. Received: 1x1"),
    ],
)
def test_mistakes_are_one_sentence(arguments, message):
    with pytest.raises(DlsuiteError, match=message):
        _run("show", *arguments)


def test_sizes_below_one_are_wrong_usage():
    assert _run("show", "mlp", "--classes", "0").exit_code == 2
