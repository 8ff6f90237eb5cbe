"""Models and calls off the usual path: each works, or is refused in a sentence."""

import json
import shlex

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers

from dlsuite.cli.main import cli

QUICK = ("--steps", "2", "--limit", "20")


def invoke(*arguments):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli, ["visualize-filters", *words])


def saved(folder, make, *, name="model"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((28, 28, 1))
    model = keras.Model(inputs, make(inputs))
    path = folder / f"{name}.keras"
    model.save(path)
    return path


def classifier(inputs):
    x = layers.Conv2D(4, 5, strides=4, activation="relu", name="edges")(inputs)
    x = layers.Flatten()(x)
    x = layers.Dense(3, name="hidden")(x)
    return layers.Dense(3, name="classes")(x)


def content(folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    start = text.index(">", text.index("application/json")) + 1
    return json.loads(text[start : text.index("</script>", start)])


@pytest.fixture(scope="module")
def network(tmp_path_factory, keras_ready):
    return saved(tmp_path_factory.mktemp("network"), classifier)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    path = tmp_path_factory.mktemp("names") / "class names.txt"
    path.write_text("ant\nbee\ncat\n")
    return path


def test_a_maxout_units_pieces_are_channels_of_its_kernel(tmp_path, keras_ready):
    from dlsuite.layers.maxout import Maxout

    path = saved(tmp_path, lambda x: layers.Dense(2)(Maxout(3, 2, name="m")(layers.Flatten()(x))))
    result = invoke(path, "--method", "kernels", "--layer", "m", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    kernel = keras.saving.load_model(path).get_layer("m").get_weights()[0]  # 784 x (3 units x 2)
    with np.load(tmp_path / "out" / "kernels-m.npz") as arrays:
        for unit, piece in ((0, 0), (1, 1), (2, 0)):
            expected = kernel[:, 2 * unit + piece].reshape(28, 28)
            np.testing.assert_array_equal(arrays["weights"][unit, :, :, piece], expected)
    assert invoke(path, *QUICK, "--output", tmp_path / "page").exit_code == 0


def test_unlabelled_data_and_silent_units_give_exemplars_and_codes(tmp_path, keras_ready):
    def with_a_silent_unit(inputs):
        silent = keras.initializers.Constant([-1.0, 0, 0])
        x = layers.Conv2D(
            3, 5, strides=4, activation="relu", name="edges", kernel_initializer="zeros",
            bias_initializer=silent,
        )(inputs)  # fmt: skip
        x = layers.Conv2D(3, 3, activation="relu", name="parts", bias_initializer=silent)(x)
        return layers.Dense(2)(layers.Flatten()(x))

    path = saved(tmp_path, with_a_silent_unit)
    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    data = ("--data", f"npy:{tmp_path / 'images.npy'}", "--output", tmp_path / "out")
    methods = ("--method", "exemplars", "--method", "codes")
    result = invoke(path, *methods, "--layer", "edges", *QUICK, *data)
    assert result.exit_code == 0, result.output
    # no unit of this layer is ever above 0, so that there is nothing a code could be off by
    assert "codes off" not in result.stdout


def test_a_model_with_a_list_of_outputs_has_a_page(tmp_path, keras_ready):
    def two(inputs):
        x = layers.Conv2D(3, 5, strides=4, name="mask")(inputs)
        return [x, layers.Dense(2, name="label")(layers.Flatten()(x))]

    folder = tmp_path / "filters"
    result = invoke(saved(tmp_path, two), "--data", "mnist_5k", "--output", folder, *QUICK)
    assert result.exit_code == 0, result.output
    assert [layer["name"] for layer in content(folder)["layers"]] == ["mask", "label"]


def test_class_names_belong_to_the_last_layer_alone_and_to_the_folder(network, names, tmp_path):
    folder = tmp_path / "filters"
    call = (network, "--output", folder, *QUICK)
    assert invoke(*call, "--class-names", names).exit_code == 0
    found = {layer["name"]: layer["names"] for layer in content(folder)["layers"]}
    assert found == {"edges": None, "hidden": None, "classes": ["ant", "bee", "cat"]}
    result = invoke(*call, "--layer", "edges", "--units", "all")
    assert result.exit_code == 1
    assert "whose class_names differ" in str(result.exception)


def test_the_command_on_the_page_adds_to_it(network, names, tmp_path):
    folder = tmp_path / "o 8"
    call = (network, "--data", "mnist_5k", "--split", "train", "--output", folder)
    result = invoke(*call, *QUICK, "--class-names", names, "--layer", "edges", "--units", "0-1")
    assert result.exit_code == 0, result.output
    words = shlex.split(content(folder)["command"])
    assert words[:2] == ["dlsuite", "visualize-filters"]
    result = invoke(*words[2:], "--layer", "edges", "--units", "3")
    assert result.exit_code == 0, result.output
    assert [unit["unit"] for unit in content(folder)["layers"][0]["units"]] == [0, 1, 3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--units", "500"), "none of the 3 layers has"),
        (("--units", "3-1"), "the lower first"),
        (("--method", "maximisation", "--layer", "all", "--units", "9"), "none of the 3 layers"),
    ],
)
def test_units_that_no_layer_has_are_refused(network, tmp_path, options, words):
    result = invoke(network, "--output", tmp_path / "filters", *QUICK, *options)
    assert result.exit_code == 1
    assert words in str(result.exception)


def test_layers_without_the_units_are_left_out(network, tmp_path):
    options = ("--method", "maximisation", "--layer", "all", "--units", "3", "--json")
    result = invoke(network, "--output", tmp_path, *QUICK, *options)
    assert result.exit_code == 0, result.output
    (layer,) = json.loads(result.stdout)["methods"]["maximisation"]["layers"]
    assert (layer["layer"], layer["units"]) == ("edges", [3])


def test_a_sigmoid_head_gives_probabilities_of_its_own(tmp_path, keras_ready):
    from dlsuite.analysis.neurons.anatomy import Anatomy
    from dlsuite.analysis.neurons.attribution import Explained
    from dlsuite.analysis.neurons.subject import from_model

    def binary(inputs):
        x = layers.Conv2D(4, 5, strides=4, activation="relu")(inputs)
        return layers.Dense(1, activation="sigmoid")(layers.Flatten()(x))

    keras.utils.set_random_seed(0)
    inputs = keras.Input((28, 28, 1))
    model = keras.Model(inputs, binary(inputs))
    images = np.random.default_rng(0).random((5, 28, 28, 1)).astype(np.float32)
    explained = Explained(Anatomy(from_model(model)))
    # one float32 forward pass against another
    np.testing.assert_allclose(explained.probabilities(images), model(images), atol=1e-6)


def test_weights_that_are_no_numbers_leave_the_page_readable(tmp_path, keras_ready):
    path = saved(tmp_path, classifier)
    model = keras.saving.load_model(path)
    kernel, bias = model.get_layer("edges").get_weights()
    kernel[..., 0] = np.nan
    model.get_layer("edges").set_weights([kernel, bias])
    model.save(path)
    folder = tmp_path / "filters"
    result = invoke(path, "--output", folder, *QUICK)
    assert result.exit_code == 0, result.output
    assert len(content(folder)["layers"]) == 3


def test_a_class_map_of_a_layer_behind_the_logits_is_refused(tmp_path, keras_ready):
    def segmenter(inputs):
        x = layers.Conv2D(4, 5, strides=4, name="edges")(inputs)
        return layers.Conv2D(3, 1, activation="softmax", name="seg")(x)

    call = (saved(tmp_path, segmenter), "--data", "mnist_5k", "--output", tmp_path / "filters")
    result = invoke(*call, "--method", "grad-cam", "--layer", "seg")
    assert result.exit_code == 1
    assert "don't depend on" in str(result.exception)


def test_an_image_file_is_refused_where_images_have_other_values(network, tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        np.savez(
            tmp_path / f"{split}.npz",
            images=rng.random((12, 28, 28, 1)).astype(np.float32),
            labels=np.arange(12) % 3,
        )
    Image.new("L", (28, 28)).save(tmp_path / "one.png")
    call = (network, "--data", f"npz:{tmp_path}/train.npz", "--output", tmp_path / "filters")
    result = invoke(*call, "--method", "gradient", "--image", tmp_path / "one.png")
    assert result.exit_code == 1
    assert "values from 0 to 255" in str(result.exception)


def test_a_unit_silenced_before_a_normalization_still_has_a_gradient(keras_ready):
    from dlsuite.analysis.neurons.anatomy import Anatomy
    from dlsuite.analysis.neurons.maximisation import maximise
    from dlsuite.analysis.neurons.subject import from_model

    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(2, 3, activation="relu", name="conv", bias_initializer="ones")(inputs)
    outputs = layers.BatchNormalization()(x)
    model = keras.Model(inputs, outputs)
    kernel, bias = model.get_layer("conv").get_weights()
    model.get_layer("conv").set_weights([kernel, bias - 3e3])
    subject = from_model(model)
    (layer,) = Anatomy(subject).neuron_layers
    made = maximise(subject, layer, [0], steps=16)
    assert made.history[-1, 0] > made.history[0, 0]  # (steps, units)


def test_watching_a_second_training_forgets_the_first(tmp_path, keras_ready):
    from dlsuite.visualize.watching import FilterWatcher

    x = np.random.default_rng(0).random((8, 28, 28, 1)).astype(np.float32)
    for epochs in (3, 1):
        inputs = keras.Input((28, 28, 1))
        model = keras.Model(inputs, classifier(inputs))
        model.compile(loss="mse")
        watcher = FilterWatcher(tmp_path, steps=0)
        model.fit(x, np.zeros((8, 3)), epochs=epochs, verbose=0, callbacks=[watcher])
    found = sorted(path.name for path in tmp_path.glob("epoch-*.npz"))
    assert found == ["epoch-0000.npz", "epoch-0001.npz"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layer", "pool"], "The page shows layers with weights. Received: 'pool'"),
        (["--method", "grad-cam", "--layer", "all"], "of one layer. Received: --layer all"),
        (["--method", "attribution", "--layer", "hidden"], "with height and width"),
        (["--split", "train", "--method", "kernels"], "--split train without data"),
    ],
)
def test_what_a_method_can_not_look_at_is_said_before_the_work(tmp_path, options, words):
    def pooled(inputs):
        x = layers.Conv2D(4, 5, strides=2, name="edges")(inputs)
        x = layers.Flatten()(layers.MaxPooling2D(name="pool")(x))
        return layers.Dense(3, name="classes")(layers.Dense(3, name="hidden")(x))

    data = () if "--split" in options else ("--data", "mnist_5k")
    result = invoke(saved(tmp_path, pooled), *options, *data, "--output", tmp_path / "out", *QUICK)
    assert words in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_data_without_labels_get_none_of_the_models_names(network, names, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (100, 28, 28)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    given = (network, "--class-names", names, "--data", f"npy:{tmp_path / 'images.npy'}",
             "--split", "train")  # fmt: skip
    out = tmp_path / "out"
    result = invoke(*given, "--method", "exemplars", "--layer", "edges", "--output", out, "--json")
    units = json.loads(result.stdout)["methods"]["exemplars"]["layers"][0]["units"]
    assert all(unit["classes"] == {} for unit in units)
    result = invoke(*given, "--method", "embedding", "--layer", "hidden", "--output", out, "--json")
    (row,) = json.loads(result.stdout)["methods"]["embedding"]["layers"]
    assert row["neighbour_agreement"] is None
    result = invoke(*given, "--layer", "edges", *QUICK, "--output", tmp_path / "page")
    assert result.exit_code == 0, result.output
    shown = content(tmp_path / "page")
    assert set(shown["reference_labels"]) == {""}
    assert not any("classes" in unit or "labels" in unit for unit in shown["layers"][0]["units"])


def test_maps_below_zero_are_drawn(tmp_path, keras_ready):
    def negative(inputs):
        x = layers.Conv2D(1, 3, kernel_initializer="zeros", bias_initializer="ones", name="a")
        x = layers.Rescaling(-1.0)(x(inputs))
        x = layers.Conv2D(2, 3, kernel_initializer="ones", name="below")(x)
        return layers.Dense(3)(layers.Flatten()(x))

    path, out = saved(tmp_path, negative), tmp_path / "out"
    result = invoke(path, "--data", "mnist_5k", "--method", "activations", "--output", out)
    assert result.exit_code == 0, result.output


def test_a_refused_call_leaves_no_folder_that_refuses_the_next(network, tmp_path):
    wide = np.random.default_rng(0).integers(0, 255, (12, 20, 24)).astype(np.uint8)
    np.save(tmp_path / "wide.npy", wide)
    out = tmp_path / "out"
    bad = keras.Sequential([keras.Input((20, 28, 1)), layers.Conv2D(2, 3, name="edges")])
    bad.save(tmp_path / "bad.keras")
    result = invoke(tmp_path / "bad.keras", "--data", f"npy:{tmp_path / 'wide.npy'}", *QUICK,
                    "--output", out)  # fmt: skip
    assert "takes images of shape (20, 28, 1)" in str(result.exception)
    assert not (out / "microscope.json").exists()


def test_class_names_are_a_file_of_text_and_not_of_a_run(network, small_run, tmp_path):
    (tmp_path / "latin.txt").write_bytes("Möwe\n".encode("latin-1"))
    result = invoke(network, "--class-names", tmp_path / "latin.txt", "--list")
    assert "is UTF-8 text" in str(result.exception)
    (tmp_path / "names.txt").write_text("a\n")
    result = invoke(small_run.path, "--class-names", tmp_path / "names.txt", "--list")
    assert "A run knows its classes" in str(result.exception)


def test_a_page_says_which_options_it_makes_no_use_of(network, tmp_path):
    result = invoke(network, "--layer", "edges", "--size", 20, "--copies", 2, *QUICK,
                    "--output", tmp_path / "out")  # fmt: skip
    assert "It makes no use of --size, --copies" in result.stdout
