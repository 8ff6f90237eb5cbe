"""Resuming: what a run would have been, bit for bit."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import dlsuite
from dlsuite.engine.checkpoint import Checkpoints, callback_state
from dlsuite.engine.state import State
from dlsuite.engine.training import Observer
from dlsuite.runs.folder import RunFolder

# everything with a state of its own: dropout, augmentation, averaged weights, bfloat16
SETTINGS = {
    "data.train_limit": 200,
    "data.validation": 100,
    "data.augment.mixup": 0.2,
    "model.hidden": [16],
    "optimizer.ema_decay": 0.9,
    "train.precision": "bfloat16",
    "train.epochs": 3,
    "train.batch_size": 20,
    "train.log_every": 1,
    "train.checkpoint_steps": 3,
    "train.steps_per_call": 2,
}


def train(folder, **options):
    return dlsuite.train("mnist-mlp", settings=SETTINGS, run_dir=folder, **options)


def newest_state(folder):
    path = max((folder / "checkpoints").glob("step-*.safetensors"))
    return safetensors.numpy.load_file(path)


def assert_same(folder, expected):
    """Weights, optimizer, seeds, metrics and every value by step, all bits."""
    mine, theirs = newest_state(folder), newest_state(expected)
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        assert (mine[name] == value).all(), name
    for name in ("metrics.jsonl", "history.json", "history.csv"):
        assert (folder / name).read_text() == (expected / name).read_text()
    ours, whole = dlsuite.load(folder), dlsuite.load(expected)
    for mine, theirs in zip(ours.model.get_weights(), whole.model.get_weights(), strict=True):
        assert (mine == theirs).all()
    assert ours.info["best"] == whole.info["best"]


def timed_epochs(folder):
    return [row["epoch"] for row in RunFolder(folder).read_rows("timing.jsonl")]


class Copy(keras.callbacks.Callback):
    """Copies the run folder at given steps: what a kill at that instant would leave."""

    every_step = True

    def __init__(self, folder, copies):
        super().__init__()
        self._folder, self._copies = folder, copies

    def on_train_batch_end(self, batch, logs=None):
        copy = self._copies.get(int(self.model.optimizer.iterations))
        while copy is not None and not copy.exists():
            try:
                shutil.copytree(self._folder, copy)
            except shutil.Error:  # the thread that writes checkpoints was faster
                shutil.rmtree(copy)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run and copies of its folder at some of its 30 steps."""
    place = tmp_path_factory.mktemp("resume")
    # before the first checkpoint, within epochs, at an epoch's end and after it
    copies = {step: place / f"step{step}" for step in (2, 7, 10, 11, 19, 29)}
    run = train(place / "whole", callbacks=[Copy(place / "whole", copies)])
    return run.path, copies


SLOW = pytest.mark.slow


@pytest.mark.parametrize("step", [2, 10, 19, *(pytest.param(n, marks=SLOW) for n in (7, 11, 29))])
def test_a_run_that_ended_at_any_step_goes_on_as_if_it_had_not(whole, step):
    expected, copies = whole
    run = dlsuite.resume(copies[step])
    assert run.status == "finished"
    assert_same(run.path, expected)
    assert timed_epochs(run.path) == [1, 2, 3]


def test_a_checkpoint_cut_off_or_changed_in_one_bit_is_passed_over(whole, tmp_path, capsys):
    expected, _ = whole

    class Notes(Observer):
        said = ()

        def on_note(self, message):
            self.said += (message,)

    for number, damage in enumerate((lambda data: data[: len(data) // 2], _flip_a_bit)):
        folder = tmp_path / f"run{number}"
        shutil.copytree(expected, folder)
        newest, second = sorted((folder / "checkpoints").glob("step-*"), reverse=True)[:2]
        newest.write_bytes(damage(newest.read_bytes()))
        RunFolder(folder).update(epochs_done=2, status="running")
        notes = Notes()
        run = dlsuite.resume(folder, observer=notes)
        assert f"{newest.name} is damaged" in notes.said[0]
        assert second.exists()
        assert_same(run.path, expected)
        assert timed_epochs(run.path) == [1, 2, 3]


@pytest.mark.parametrize("kind", ["digest", "sha256"])
def test_checkpoints_with_a_checksum_of_before_are_gone_on_with(whole, tmp_path, kind):
    expected, _ = whole
    folder = tmp_path / "run"
    shutil.copytree(expected, folder)
    newest, path = sorted((folder / "checkpoints").glob("step-*"), reverse=True)[:2]
    newest.unlink()
    with safetensors.safe_open(path, "numpy") as file:
        plain = file.metadata()["plain"]
    values = safetensors.numpy.load_file(path)
    digest = hashlib.sha256() if kind == "sha256" else hashlib.blake2b(digest_size=16)
    digest.update(plain.encode())
    for name in sorted(values):
        digest.update(f"{name} {values[name].dtype} {values[name].shape}".encode())
        digest.update(values[name].tobytes())
    about = {"plain": plain, kind: digest.hexdigest()}
    safetensors.numpy.save_file(values, path, about)
    RunFolder(folder).update(epochs_done=2, status="running")
    said = []
    observer = Observer()
    observer.on_note = said.append
    run = dlsuite.resume(folder, observer=observer)
    assert not said
    assert_same(run.path, expected)


def test_a_new_checkpoint_outlives_damaged_ones_of_later_steps(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for step in (7, 8, 9):
        (tmp_path / "checkpoints" / f"step-{step:010d}.safetensors").write_bytes(b"damaged")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    checkpoints = Checkpoints(folder)
    checkpoints.save(State(model, []), {"step": 1}, step=1, best=0)
    checkpoints.wait()
    notes = []
    _, plain = checkpoints.load(notes.append)
    assert plain == {"step": 1}
    assert len(notes) == 3


def _flip_a_bit(data):
    changed = bytearray(data)
    changed[-5] ^= 4
    return bytes(changed)


def test_a_finished_run_goes_on_only_with_more_epochs(whole, tmp_path):
    expected, _ = whole
    folder = tmp_path / "run"
    shutil.copytree(expected, folder)
    with pytest.raises(dlsuite.DlsuiteError, match=r"finished after 3 of 3 epochs.*--epochs"):
        dlsuite.resume(folder)
    with pytest.warns(UserWarning, match="schedule now ends with epoch 4"):
        run = dlsuite.resume(folder, epochs=4)
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4]
    assert run.recipe.train.epochs == 4


@pytest.mark.parametrize("is_written", [True, False])
def test_a_run_killed_after_its_last_epoch_is_brought_to_its_end(whole, tmp_path, is_written):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    RunFolder(folder).update(status="running", ended=None)
    if not is_written:
        max((folder / "checkpoints").glob("step-*")).unlink()
    run = dlsuite.resume(folder)
    assert run.status == "finished"
    assert_same(run.path, whole[0])


def test_a_signal_after_the_last_epoch_does_not_ask_for_another_call(tmp_path):
    class Late(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    assert train(tmp_path / "run", callbacks=[Late()]).status == "finished"


def test_a_run_that_ended_between_an_epochs_last_step_and_its_validation_goes_on_the_same(
    tmp_path,
):
    """Ten steps an epoch and a checkpoint after every fifth: that of step 10 is written twice."""

    class AtValidation(keras.callbacks.Callback):
        copied = False

        def on_test_begin(self, logs=None):
            if not self.copied and (tmp_path / "whole" / "checkpoints").exists():
                self.copied = True
                while not list((tmp_path / "whole" / "checkpoints").glob("step-0000000010*")):
                    time.sleep(0.01)  # the thread that writes it
                shutil.copytree(tmp_path / "whole", tmp_path / "run")

    settings = SETTINGS | {"train.checkpoint_steps": 5}
    whole = dlsuite.train(
        "mnist-mlp", settings=settings, run_dir=tmp_path / "whole", callbacks=[AtValidation()]
    )
    assert not dlsuite.load(tmp_path / "run").history
    # as where the kill came after the validation, but before the second time
    shutil.copy(whole.path / "timing.jsonl", tmp_path / "run")
    dlsuite.resume(tmp_path / "run")
    assert_same(tmp_path / "run", whole.path)
    assert timed_epochs(tmp_path / "run") == [1, 2, 3]


def test_a_validation_that_a_signal_breaks_off_is_done_anew(whole, tmp_path):
    class Stop(keras.callbacks.Callback):
        sent = after = 0

        def on_test_batch_end(self, batch, logs=None):
            self.after += self.sent
            if int(self.model.optimizer.iterations) == 20 and not self.sent:
                os.kill(os.getpid(), signal.SIGTERM)
                self.sent = 1

    stop = Stop()
    paused = train(tmp_path / "run", callbacks=[stop])
    assert (paused.status, stop.sent, stop.after) == ("paused", 1, 0)
    assert (paused.info["steps_done"], paused.info["epochs_done"]) == (20, 1)
    assert_same(dlsuite.resume(paused.path).path, whole[0])
    # the training and, after the pause, the validation
    assert timed_epochs(paused.path) == [1, 2, 2, 3]


class StopAt(keras.callbacks.Callback):
    """Asks for a pause after a step, under a loss scale that grows in every fourth."""

    every_step = True

    def __init__(self, step=None):
        super().__init__()
        self._step, self.scale = step, None

    def on_train_begin(self, logs=None):
        self.model.optimizer.dynamic_growth_steps = 4

    def on_train_batch_end(self, batch, logs=None):
        optimizer = self.model.optimizer
        if int(optimizer.iterations) == self._step:
            self.scale = float(optimizer.dynamic_scale), int(optimizer.step_counter)
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_loss_scale_goes_on_where_it_stood(tmp_path):
    def half(name, callback):
        settings = SETTINGS | {"train.precision": "float16", "train.xla": "off"}
        return dlsuite.train(
            "mnist-mlp", settings=settings, run_dir=tmp_path / name, callbacks=[callback]
        )

    stop = StopAt(15)
    paused = half("run", stop)
    assert paused.status == "paused"
    scale, counted = stop.scale
    assert scale != 2.0**15 and counted > 0  # neither is what Keras begins with
    run = dlsuite.resume(paused.path, callbacks=[StopAt()])
    assert_same(run.path, half("whole", StopAt()).path)


def test_a_recipe_edited_where_the_state_depends_on_it_is_refused(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    for path in sorted((folder / "checkpoints").glob("step-*"))[1:]:
        path.unlink()
    RunFolder(folder).update(status="running", epochs_done=2)
    recipe = folder / "recipe.toml"
    text = recipe.read_text()
    assert "batch_size = 20" in text
    recipe.write_text(text.replace("batch_size = 20", "batch_size = 25"))
    words = r"recipe it began with.*train\.batch_size was 20 and is 25.*Put that back"
    with pytest.raises(dlsuite.DlsuiteError, match=words):
        dlsuite.resume(folder)
    # a setting that there wasn't yet had its default
    info = RunFolder(folder).read_info()
    del info["settings"]["train"]["deterministic"]
    RunFolder(folder).update(settings=info["settings"])
    recipe.write_text(text.replace("deterministic = false", "deterministic = true"))
    with pytest.raises(dlsuite.DlsuiteError, match=r"deterministic was False and is True"):
        dlsuite.resume(folder)
    # how often it saves is nobody's business but the user's
    recipe.write_text(text.replace("checkpoint_steps = 3", "checkpoint_steps = 5"))
    assert dlsuite.resume(folder).status == "finished"


def test_callbacks_get_back_what_they_remembered(tmp_path):
    class Stop(keras.callbacks.Callback):
        every_step = True

        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 25:
                os.kill(os.getpid(), signal.SIGTERM)

    def patience():
        return keras.callbacks.EarlyStopping("val_loss", patience=50, baseline=-1.0)

    stopped = train(tmp_path / "run", callbacks=[patience(), Stop()])
    assert stopped.status == "paused"
    again = patience()
    dlsuite.resume(stopped.path, callbacks=[again])
    assert again.wait == 3  # two epochs before the stop and one after it
    assert timed_epochs(stopped.path) == [1, 2, 3, 3]


def test_numbers_of_numpy_are_remembered_too():
    callback = keras.callbacks.Callback()
    callback.best, callback.wait, callback.is_on = np.float32(0.1), np.int64(3), np.bool_(True)
    callback.weights = np.zeros(2)
    remembered = json.loads(json.dumps(callback_state(callback)))
    assert remembered["best"] == np.float32(0.1)
    assert (remembered["wait"], remembered["is_on"]) == (3, True)
    assert "weights" not in remembered


def process(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "dlsuite.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def options(settings):
    pairs = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return [part for pair in pairs for part in ("--set", pair)]


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=SLOW), signal.SIGUSR1])
def test_the_queues_signals_stop_in_time_with_exit_code_75(number, tmp_path):
    settings = SETTINGS | {"train.epochs": 100000}
    running = process("train", "mnist-mlp", "--run-dir", tmp_path / "run", *options(settings))
    try:
        _wait_for(tmp_path / "run" / "timing.jsonl", running)
        running.send_signal(number)
        _, stderr = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 75, stderr
    info = RunFolder(tmp_path / "run").read("run.json")
    assert info["status"] == "paused"
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert newest.name == f"step-{info['steps_done']:010d}.safetensors"


def test_max_hours_stops_in_time(tmp_path):
    run = dlsuite.train(
        "mnist-mlp",
        settings=SETTINGS | {"train.epochs": 100000},
        run_dir=tmp_path / "run",
        max_hours=1 / 3600,
    )
    assert run.status == "paused"
    assert run.info["steps_done"] > 0
    # an epoch that is cut has a row of its own for the part that is done
    rows = RunFolder(run.path).read_rows("timing.jsonl")
    begun = -(-run.info["steps_done"] // 10)
    assert [row["epoch"] for row in rows] == list(range(1, begun + 1))


def _wait_for(path, running, seconds=120):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
