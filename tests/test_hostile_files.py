"""What files from others can't do: run code, write or read elsewhere, or take all the memory.

Keras's safe mode and Pillow's limits do most of it; these tests guard that they are in force on
every way into dlsuite, and that a refusal is a sentence.
"""

import ast
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy

import dlsuite
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.resolve import resolve
from dlsuite.runs.folder import RunFolder, default_path


class Code:
    """A pickle of it makes a folder when it is read."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder, in which nothing may appear that no test has put there."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path.parent / "executed").exists()


@pytest.fixture(scope="module")
def run_files(tmp_path_factory, keras_ready):
    """A run of two epochs on 100 digits."""
    run = dlsuite.train(
        "mnist-mlp",
        epochs=2,
        batch_size=50,
        run_dir=tmp_path_factory.mktemp("runs") / "run",
        settings={"data.train_limit": 100, "data.validation": 50, "model.hidden": [4]},
    )
    return run.path


@pytest.fixture
def run(run_files, folder):
    """A copy of it."""
    return shutil.copytree(run_files, folder / "run")


# Models. Each case changes a whole .keras file; the file is tried as a network to fine-tune and
# as the model of a run.


def of_layer(module, class_name, config, *, registered=None):
    """Puts a layer of that class in the place of the network's last but one."""

    def change(members):
        members = dict(members)
        model = json.loads(members["config.json"])
        layer = model["config"]["layers"][-2]
        layer |= {"module": module, "class_name": class_name, "registered_name": registered}
        layer["config"] = {"name": layer["config"]["name"], **config}
        members["config.json"] = json.dumps(model).encode()
        return members

    return change


def of_weights(write):
    """Writes over the HDF5 file of the weights, given its dataset's place."""

    def change(members):
        content = io.BytesIO(members["model.weights.h5"])
        with h5py.File(content, "r+") as file:
            found = []
            file.visititems(
                lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None
            )
            name = next(name for name in found if len(file[name].shape) == 2)
            del file[name]
            write(file, name)
        return members | {"model.weights.h5": content.getvalue()}

    return change


def outside(file, name):
    with open("secret", "wb") as secret:
        secret.write(bytes(784 * 4 * 4))
    file.create_dataset(name, (784, 4), "f4", external=[("secret", 0, h5py.h5f.UNLIMITED)])


# What is changed, and what the refusal says.
HOSTILE_MODELS = {
    "`Lambda` layer": of_layer(
        "keras.layers",
        "Lambda",
        {
            "function": {
                "class_name": "__lambda__",
                "config": {"code": "4wEAAAA=", "defaults": None, "closure": None},
            }
        },
    ),
    "`TFSMLayer`": of_layer("keras.layers", "TFSMLayer", {"filepath": "elsewhere"}),
    "Could not locate class 'Popen'": of_layer(
        "subprocess", "Popen", {"args": ["mkdir", "executed"]}
    ),
    "Could not locate class 'mkdir'": of_layer(
        "os", "mkdir", {"path": "executed"}, registered="mkdir"
    ),
    "vocabulary file outside": of_layer(
        "keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}
    ),
    "recursion depth": lambda members: members | {"config.json": b"[" * 100_000},
    "list indices": lambda members: members | {"config.json": b"[1, 2]"},
    "declares 16.00 TB": of_weights(
        lambda file, name: file.create_dataset(name, (2**40, 4), "f4", chunks=(1024, 4))
    ),
    "external Dataset": of_weights(outside),
    "ExternalLink": of_weights(
        lambda file, name: file.__setitem__(name, h5py.ExternalLink("/etc/passwd", "/x"))
    ),
}


def rewrite(path, change):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in change(members).items():
            archive.writestr(name, content)


def refused_as_network(path):
    from dlsuite.models.build import build_network

    with pytest.raises(DlsuiteError, match=r"\.keras file (may hold|is a zip)") as error:
        build_network(str(path), image_shape=(28, 28, 1), num_classes=10)
    return str(error.value)


@pytest.mark.parametrize("words", HOSTILE_MODELS)
def test_hostile_models_are_refused(run, words):
    path = run / "model.keras"
    rewrite(path, HOSTILE_MODELS[words])
    message = refused_as_network(path)
    assert words in message and "\n" not in message
    with pytest.raises(DlsuiteError, match=r"undamaged \.keras file.*Restore it from a copy"):
        _ = dlsuite.load(run).model


def test_a_decompression_bomb_is_refused_before_it_is_read(run):
    path = run / "model.keras"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        # what the archive's directory then claims
        archive.getinfo("config.json").file_size = 5 * 2**30
    assert "'config.json' declares 5.00 GB" in refused_as_network(path)


def test_members_of_an_archive_are_not_written_elsewhere(run, folder):
    path = run / "model.keras"
    names = ["../escaped", "assets/../../escaped", str(folder / "escaped")]
    rewrite(path, lambda members: members | dict.fromkeys(names, b"x"))
    _ = dlsuite.load(run).model
    assert not list(folder.parent.rglob("escaped"))


@pytest.mark.parametrize("content", [pickle.dumps(Code()), b"\x89HDF\r\n\x1a\n" + b"\0" * 600])
def test_a_model_with_a_wrong_extension_is_refused(run, content):
    (run / "model.keras").write_bytes(content)
    assert "which is not" in refused_as_network(run / "model.keras")


def test_damage_anywhere_in_a_model_is_a_sentence(run):
    path = run / "model.keras"
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        # the archive's directory and the texts lie at its ends, the weights between
        for place in random.integers(0, len(whole), 4):
            content[place] = random.integers(0, 256)
        path.write_bytes(bytes(content[: random.integers(len(whole) // 2, len(whole) + 1)]))
        try:
            _ = dlsuite.load(run).model
        except DlsuiteError as error:
            assert "\n" not in str(error)


# Run folders


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluation", ".run.writing.json"])
def test_links_that_lead_out_of_a_run_are_refused(run, folder, name):
    (folder / "mine").write_text("precious")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(folder / "mine")
    with pytest.raises(DlsuiteError, match=rf"own files.*{name}', a link to .*mine'"):
        RunFolder.open(run)
    assert (folder / "mine").read_text() == "precious"


def test_links_within_a_run_are_its_own(run):
    (run / "best.keras").symlink_to("model.keras")
    assert RunFolder.open(run).path == run


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[" * 10**6, "nested too deeply"), (b"{}" + b" " * 2**28, "larger than 256 MB")],
    ids=["nested", "large"],
)
def test_hostile_json_of_a_run_is_refused(run, content, words):
    (run / "run.json").write_bytes(content)
    with pytest.raises(DlsuiteError, match=f"run.json must be readable.*{words}"):
        _ = dlsuite.load(run).info


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "without recipe, status, epochs_done"),
        ('{"recipe": 1, "status": 2}', "without epochs"),
    ],
)
def test_a_run_that_lacks_what_it_began_with_is_refused(run, content, words):
    (run / "run.json").write_text(content)
    for use in (dlsuite.resume, dlsuite.verify, lambda path: dlsuite.load(path).info):
        with pytest.raises(DlsuiteError, match=f"run.json must hold recipe,.*{words}"):
            use(run)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Code()),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 40) + b'{"a":{"dtype":"F32","shape":[2147483648]',
    ],
    ids=["pickle", "huge header", "huge tensor"],
)
def test_a_hostile_checkpoint_is_damage(run, content):
    from dlsuite.engine.checkpoint import Checkpoints

    newest = max((run / "checkpoints").glob("step-*"))
    newest.write_bytes(content)
    said = []
    _, plain = Checkpoints(RunFolder(run)).load(said.append)
    assert plain["step"] == 2  # that of the epoch before
    assert f"{newest.name} is damaged" in said[0]


def test_a_checkpoint_holds_no_more_than_its_file(run):
    from dlsuite.engine.checkpoint import Checkpoints

    for path in (run / "checkpoints").glob("step-*"):
        safetensors.numpy.save_file({"0000/0": np.zeros(3)}, path, {"plain": "[" * 10**5})
    said = []
    assert Checkpoints(RunFolder(run)).load(said.append) is None
    assert len(said) == 2


# Recipes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[train]\nepochs = 3\n#" + "x" * 2**20, "larger than 1 MB"),
        ("a = " + "[" * 10**5, "nested too deeply"),
        ("[model]\nname = 'os.system'\n", None),
        ("[model]\nname = 'subprocess:Popen'\n", None),
    ],
    ids=["large", "nested", "path", "colon"],
)
def test_hostile_recipes_are_refused(folder, content, words):
    (folder / "mine.toml").write_text(content)
    if words is None:  # a name is looked up, never imported
        from dlsuite.planning import check_names

        with pytest.raises(DlsuiteError, match="Unknown model"):
            check_names(resolve("mine.toml").recipe)
        return
    with pytest.raises(DlsuiteError, match=words):
        resolve("mine.toml")


def test_a_recipe_that_is_a_pipe_does_not_hold_the_command_up(folder):
    os.mkfifo(folder / "mine.toml")
    with pytest.raises(DlsuiteError, match=r"readable. Received: 'mine.toml' \(no ordinary file"):
        resolve("mine.toml")


@pytest.mark.parametrize("name", ["...toml", "../up.toml", ".hidden.toml"])
def test_a_recipes_name_leads_nowhere_else(folder, name):
    (folder / "below").mkdir()
    os.chdir(folder / "below")
    (folder / "below" / name).write_text("")
    path = default_path(resolve(name).name)
    assert path.resolve().parent == (folder / "below" / "runs").resolve()


def test_the_command_ends_with_one_sentence(run, folder):
    rewrite(run / "model.keras", HOSTILE_MODELS["Could not locate class 'Popen'"])
    done = subprocess.run(
        [sys.executable, "-m", "dlsuite.cli", "evaluate", str(run)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: The run's model must be an undamaged .keras file")


ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("dlsuite/**/*.py"), *ROOT.glob("cli/**/*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_in_dlsuite_could_run_what_a_file_holds(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.partition(".")[0] for alias in node.names}
            names.add((getattr(node, "module", None) or "").partition(".")[0])
            assert not names & {"pickle", "marshal", "dill", "cloudpickle", "joblib", "shelve"}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "yaml.load", "os.system")
            assert called.rpartition(".")[2] not in ("Lambda", "enable_unsafe_deserialization")
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert options.get("allow_pickle", "False") == "False"
            assert options.get("safe_mode", "True") == "True"
            assert options.get("shell", "False") == "False"
