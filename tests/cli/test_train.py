"""`dlsuite train` as users meet it. Processes where start-up, signals or exit codes matter."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import dlsuite
from dlsuite.cli.main import cli

# an MLP of one small layer on 200 digits: a run of a second or two
TINY = [
    "mnist-mlp",
    "--epochs",
    "2",
    "--batch-size",
    "50",
    "--set",
    "data.train_limit=200",
    "--set",
    "data.validation=100",
    "--set",
    "model.hidden=[8]",
    "--set",
    "train.log_every=1",
]
SETTINGS = {
    "data.train_limit": 200,
    "data.validation": 100,
    "model.hidden": [8],
    "train.log_every": 1,
}


def invoke(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def dlsuite_process(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "dlsuite.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def photos(tmp_path):
    """A folder of twelve random photographs of two classes."""
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(6):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = invoke("train", *TINY, "--run-dir", folder)
    assert result.exit_code == 0, result.output
    return folder, result


def weights(run):
    return np.concatenate([weight.ravel() for weight in run.model.get_weights()])


def test_it_ends_with_the_run_folder_and_the_next_command(tiny_run):
    folder, result = tiny_run
    assert f"Run folder: {folder}" in result.stdout
    assert f"Next: dlsuite evaluate {folder}" in result.stdout
    assert "epoch  2/2" in result.stderr  # plain lines where stderr is no terminal
    for words in ("4 steps an epoch", "200 train", "kFLOPs an example", "examples/s"):
        assert words in result.stderr


def test_the_header_says_what_no_epoch_sees(tmp_path):
    limits = ["--set", "data.train_limit=190", "--epochs", "1"]
    result = invoke("train", *TINY, *limits, "--run-dir", tmp_path / "run")
    # 190 examples in batches of 50
    assert "3 steps an epoch" in result.stderr
    assert "40 examples an epoch left out, others each time" in result.stderr


def test_the_run_folder_describes_itself(tiny_run):
    folder, _ = tiny_run
    run = dlsuite.load(folder)
    assert run.status == "finished"
    assert run.recipe.model.options["hidden"] == [8]
    assert run.class_names == tuple("0123456789")
    assert run.image_shape == (28, 28, 1)
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert set(run.history[0]) == {
        "epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate",
    }  # fmt: skip
    assert len((folder / "history.csv").read_text().splitlines()) == 3
    timing = [json.loads(line) for line in (folder / "timing.jsonl").read_text().splitlines()]
    assert all(row["seconds"] > 0 for row in timing)
    assert "tensorflow" in json.dumps(json.loads((folder / "environment.json").read_text()))
    assert tomllib.loads((folder / "recipe.toml").read_text())["train"]["epochs"] == 2
    assert (folder / "checkpoints" / "last.keras").is_file()


def test_command_and_library_give_the_same_weights(tiny_run, tmp_path):
    folder, _ = tiny_run
    again = dlsuite.train(
        "mnist-mlp", epochs=2, batch_size=50, settings=SETTINGS, run_dir=tmp_path / "again"
    )
    assert (weights(again) == weights(dlsuite.load(folder))).all()
    assert again.history == dlsuite.load(folder).history


def test_a_saved_recipe_repeats_the_run_bit_for_bit(tiny_run, tmp_path):
    folder, _ = tiny_run
    result = invoke("train", folder / "recipe.toml", "--run-dir", tmp_path / "again")
    assert result.exit_code == 0, result.output
    first, second = dlsuite.load(folder), dlsuite.load(tmp_path / "again")
    assert (weights(first) == weights(second)).all()
    assert (folder / "metrics.jsonl").read_text() == (
        tmp_path / "again" / "metrics.jsonl"
    ).read_text()


def test_another_seed_gives_other_weights(tiny_run, tmp_path):
    folder, _ = tiny_run
    result = invoke("train", *TINY, "--seed", 1, "--run-dir", tmp_path / "other")
    assert result.exit_code == 0, result.output
    assert not (weights(dlsuite.load(folder)) == weights(dlsuite.load(tmp_path / "other"))).any()


def test_the_model_opens_in_plain_keras_without_dlsuite(tiny_run, tmp_path):
    folder, _ = tiny_run
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    program = (
        "import sys; sys.modules['dlsuite'] = None\n"
        "import keras, numpy\n"
        f"model = keras.saving.load_model({str(folder / 'model.keras')!r})\n"
        f"numpy.save({str(tmp_path / 'logits.npy')!r}, "
        f"model(numpy.load({str(tmp_path / 'images.npy')!r})))\n"
    )
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    # the same operations in the same order; one thread pool may split a sum otherwise
    expected = keras.ops.convert_to_numpy(dlsuite.load(folder).model(images))
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, rtol=0, atol=1e-5)


def test_named_features_come_without_hooks(tiny_run):
    run = dlsuite.load(tiny_run[0])
    extractor = run.extract(["logits"])
    images = np.zeros((2, 28, 28, 1), "float32")
    assert extractor(images)["logits"].shape == (2, 10)
    with pytest.raises(dlsuite.DlsuiteError, match=r"Unknown feature. Received: 'logit'.*'logits'"):
        run.extract(["logit"])


def test_json_reports_the_run(tmp_path):
    result = invoke("train", *TINY, "--run-dir", tmp_path / "run", "--json")
    report = json.loads(result.stdout)
    assert report["status"] == "finished"
    assert report["run"] == str(tmp_path / "run")
    assert report["best_epoch"]["val_loss"] == report["best"]["value"]
    assert report["steps"] == 8


def test_dry_run_says_everything_and_trains_nothing(tmp_path):
    result = invoke("train", *TINY, "--run-dir", tmp_path / "run", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    # 784 x 8 + 8 hidden, 8 x 10 + 10 logits
    assert report["trainable_parameters"] == 784 * 8 + 8 + 8 * 10 + 10
    assert report["steps_per_epoch"] == 4
    assert report["origins"]["train.epochs"] == "--epochs"
    assert report["origins"]["train.seed"] == "default"
    assert not (tmp_path / "run").exists()
    text = invoke("train", *TINY, "--dry-run").stdout
    assert "--epochs" in text and "recipe mnist-mlp" in text and "default" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mnist-cn"], "Unknown recipe. Received: 'mnist-cn'"),
        (["--data", "mnist_5"], "'mnist_5k'"),
        (["--model", "resnt20"], "'resnet20'"),
        (["--optimizer", "adm"], "'adam'"),
        (["--schedule", "cosin"], "'cosine'"),
        (["--set", "model.widht=3"], "'width'"),
        (["--set", "optimizer.beta1=0.5"], "'beta_1'"),
        (["--set", "optimizer.learing_rate=0.5"], "Did you mean 'learning_rate'"),
        (["--epochs", "0"], "Received: 0"),
        (["--batch-size", "-1"], "Received: -1"),
        (["--batch-size", "100000"], "train.batch_size"),
        (["--set", "train.monitor=val_f1"], "val_accuracy"),
        (["--device", "gpu"], "TensorFlow sees no GPU"),
        (["--set", "loss.class_weights=[1.0, 2.0]"], "2 weights for 10 classes"),
        (["--set", "data.normalize=imagenet"], "1 channel"),
    ],
)
def test_bad_input_gives_one_sentence_and_writes_nothing(arguments, words, tmp_path):
    process = invoke("train", *arguments, "--run-dir", tmp_path / "run")
    # a user's mistake reaches main(), which prints it; see the process tests for that
    message = str(process.exception)
    assert isinstance(process.exception, dlsuite.DlsuiteError), process.output
    assert words in message and "\n" not in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "folder:nowhere"], r"folder:PATH reads a folder. Received: 'nowhere'"),
        (["--data", "h5:nowhere.h5#images,labels"], r"h5:PATH reads a file.*'nowhere.h5'"),
        (["--model", "nowhere.keras"], r"nowhere.keras, which does not exist"),
    ],
)
def test_a_missing_file_is_said_before_tensorflow_loads(arguments, words, tmp_path):
    code = (
        "import sys\nfrom dlsuite.cli.main import cli\nfrom dlsuite.errors import DlsuiteError\n"
        f"try: cli({['train', *arguments]!r}, standalone_mode=False)\n"
        "except DlsuiteError as error: print(error)\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.search(words, done.stdout)


def test_a_dry_run_fetches_no_weights(photos, monkeypatch):
    def fetch(*arguments, **options):
        raise AssertionError("a dry run went to the network")

    monkeypatch.setattr("keras.utils.get_file", fetch)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fetch)
    result = invoke(
        "train", "finetune-folder", "--data", f"folder:{photos}", "--batch-size", "4",
        "--set", "data.image_size=32", "--dry-run", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    report = json.loads(result.stdout)
    assert report["recipe"]["model"]["weights"] == "imagenet"
    # MobileNetV2 without its head, and 1280 x 2 + 2
    assert report["parameters"] == 2_257_984 + 1280 * 2 + 2


def test_an_existing_run_is_never_overwritten(tiny_run):
    folder, _ = tiny_run
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = invoke("train", *TINY, "--run-dir", folder)
    assert isinstance(result.exception, dlsuite.DlsuiteError)
    assert "nothing is ever overwritten" in str(result.exception)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_users_mistake_is_one_line_on_stderr_and_exit_code_1(tmp_path):
    process = dlsuite_process("train", "mnist-cnn", "--model", "resnt20", cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stdout == ""
    assert stderr.startswith("Error: Unknown model. Received: 'resnt20'")
    assert stderr.count("\n") == 1


def test_wrong_usage_is_exit_code_2():
    assert invoke("train", "--epoch", "3").exit_code == 2
    assert invoke("train", "--epochs", "three").exit_code == 2
    result = invoke("trian")
    assert result.exit_code == 2 and "'train'" in result.output


def test_divergence_is_exit_code_3_and_loses_no_earlier_epoch(tmp_path):
    result = invoke(
        "train", *TINY, "--optimizer", "sgd", "--learning-rate", "1e30", "--schedule", "constant",
        "--run-dir", tmp_path / "run",
    )  # fmt: skip
    assert result.exit_code == 3, result.output
    run = dlsuite.load(tmp_path / "run")
    assert run.status == "diverged"
    assert run.info["diverged_at"] >= 1
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    # the rows end before the step that went wrong: nothing stands in place of its numbers
    assert [row["step"] for row in rows] == list(range(1, run.info["diverged_at"]))
    assert all(row["loss"] is not None for row in rows)
    assert "Diverged" in result.stdout


def test_ctrl_c_leaves_a_usable_run(tmp_path):
    process = dlsuite_process(
        "train", "mnist-mlp", "--epochs", "100000", "--run-dir", "run", cwd=tmp_path
    )
    try:
        timing = tmp_path / "run" / "timing.jsonl"
        deadline = time.monotonic() + 120
        while not timing.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    run = dlsuite.load(tmp_path / "run")
    assert run.status == "interrupted"
    assert run.model.count_params() > 0
    assert len(run.history) >= 1


def test_hostile_keras_configuration_changes_nothing_and_is_mentioned(tiny_run, tmp_path):
    (tmp_path / "keras.json").write_text(
        json.dumps({"backend": "jax", "image_data_format": "channels_first", "floatx": "float64"})
    )
    process = dlsuite_process(
        "train", *TINY, "--run-dir", tmp_path / "run",
        env=os.environ | {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "torch"},
    )  # fmt: skip
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    mentions = [line for line in stderr.splitlines() if "Keras configuration" in line]
    assert len(mentions) == 1
    for words in ("backend=torch", "channels_first", "float64"):
        assert words in mentions[0]
    ours, plain = dlsuite.load(tmp_path / "run"), dlsuite.load(tiny_run[0])
    assert (weights(ours) == weights(plain)).all()


@pytest.mark.parametrize("emulated", [False, True])
def test_a_precision_that_the_processor_emulates_is_said_to_be_slow(emulated, monkeypatch):
    monkeypatch.setattr("dlsuite.cli.training_report.is_emulated", lambda precision: emulated)
    options = ["train", *TINY, "--precision", "bfloat16", "--device", "cpu", "--dry-run"]
    done = CliRunner().invoke(cli, options, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert ("which this processor emulates: float32 is faster" in done.output) == emulated


# of the second, oneDNN has no kernel for the convolutions where a processor lacks bfloat16
CONVOLUTIONS = ["mnist-cnn", "--epochs", "1", "--set", "data.train_limit=100"]


@pytest.mark.parametrize(
    "options",
    [pytest.param(TINY, marks=pytest.mark.slow), [*CONVOLUTIONS, "--precision", "bfloat16"]],
    ids=["dense", "convolutions"],
)
def test_start_up_is_quiet(options, tmp_path):
    process = dlsuite_process("train", *options, "--run-dir", tmp_path / "run")
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    for noise in ("oneDNN", "cuda", "absl", "E0000", "I0000", "Warning", "WARNING"):
        assert noise not in stderr
