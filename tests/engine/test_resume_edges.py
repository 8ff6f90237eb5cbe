"""Resuming where something is missing, was sent twice, or has nothing to wait for."""

import os
import re
import shutil
import signal
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import safetensors
import tensorflow as tf

import dlsuite
from dlsuite.engine.loop import Block, Loop
from dlsuite.engine.signals import StopRequest, stop_on_signals
from dlsuite.errors import DlsuiteError
from dlsuite.resuming import plan_resume
from dlsuite.runs.folder import RunFolder
from tests.smallest import SMALLEST

SMALL = {
    **SMALLEST,
    "schedule.name": "constant",
    "schedule.warmup_epochs": 0.0,
}


def train(folder, **settings):
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    return dlsuite.train("mnist-mlp", settings=SMALL | dotted, run_dir=folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("edges") / "run", train__epochs=3).path


@pytest.mark.parametrize("lost", ["removed", "damaged"])
def test_a_run_whose_checkpoints_are_lost_is_not_begun_anew_over_what_it_came_to(
    whole, tmp_path, lost
):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for path in (run / "checkpoints").glob("step-*"):
        path.unlink() if lost == "removed" else path.write_bytes(b"nothing")
    kept = {name: (run / name).read_bytes() for name in ("model.keras", "history.json")}
    words = r"goes on from a checkpoint\. Received: .*, 3 epochs done, without one"
    with pytest.raises(DlsuiteError, match=words):
        dlsuite.resume(run, epochs=5)
    assert all((run / name).read_bytes() == content for name, content in kept.items())


def test_an_end_that_the_run_has_passed_is_refused(whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    RunFolder(run).update(status="running", epochs_done=1)
    with pytest.raises(DlsuiteError, match=r"hasn't passed\. Received: --epochs 1 for .*step"):
        dlsuite.resume(run, epochs=1)


def test_a_folder_killed_as_it_was_begun_is_begun_again_and_a_users_own_is_not(whole, tmp_path):
    begun = tmp_path / "begun"
    (begun / "checkpoints").mkdir(parents=True)
    for name in ("recipe.toml", "environment.json"):
        shutil.copy(whole / name, begun)
    with pytest.raises(DlsuiteError, match="must be new or empty"):  # a recipe of the user's
        RunFolder(begun).check_new()
    (begun / "lock").touch()
    assert train(begun, train__epochs=1).status == "finished"


def test_a_disk_that_fills_up_under_a_checkpoint_is_one_sentence(tmp_path, monkeypatch):
    def full(values, path, about):
        raise safetensors.SafetensorError("Error while serializing: No space left on device")

    monkeypatch.setattr("dlsuite.engine.checkpoint.safetensors.numpy.save_file", full)
    with pytest.raises(DlsuiteError, match=r"must be writable.*No space left on device"):
        train(tmp_path / "run", train__epochs=2)
    assert RunFolder(tmp_path / "run").read_info()["status"] == "failed"


@pytest.fixture
def python_heeds_interrupts():
    """A job that a script puts into the background ignores SIGINT, and its children do."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("python_heeds_interrupts")
def test_signals_sent_twice_are_one_wish():
    request = StopRequest()
    with stop_on_signals(request):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        assert request.status == "paused"
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()


@pytest.mark.parametrize("status", ["interrupted", "paused"])
def test_a_verification_that_was_stopped_gives_no_verdict(whole, monkeypatch, status):
    stopped = SimpleNamespace(
        train=lambda folder, callbacks: SimpleNamespace(status=status, folder=None),
        execution=SimpleNamespace(device="/CPU:0"),
    )
    monkeypatch.setattr("dlsuite.verification.plan_run", lambda run, **limits: (stopped, []))
    with pytest.raises(KeyboardInterrupt):
        dlsuite.verify(whole)


def test_more_accumulation_than_steps_is_refused():
    with pytest.raises(DlsuiteError, match=r"optimizer\.accumulate=7 for 6 steps"):
        dlsuite.plan("mnist-mlp", settings=SMALL | {"optimizer.accumulate": 7, "train.epochs": 2})


def test_averages_before_the_first_update_are_the_weights(tmp_path):
    """Of the six steps of two epochs the fourth is the first that updates."""
    run = train(
        tmp_path / "run", optimizer__accumulate=4, optimizer__ema_decay=0.9, train__epochs=2
    )
    # weights of 0 would have ten equal probabilities
    assert abs(run.history[0]["val_loss"] - np.log(10)) > 1e-3


def test_a_gradient_that_waits_for_its_update_is_looked_at():
    class Waiting(keras.Model):
        def __init__(self):
            super().__init__()
            self.total = keras.Variable(0.0, name="accumulated_gradient", trainable=False)
            self.count = keras.Variable(0.0, name="count", trainable=False)
            self.built = True

        def train_step(self, batch):
            self.count.assign_add(1.0)
            self.total.assign(tf.where(tf.convert_to_tensor(self.count) == 2, np.inf, 0.0))
            return {"loss": tf.constant(1.0)}

        def test_step(self, batch):
            return {"loss": tf.constant(1.0)}

    for slots, is_finite in ((lambda model: [], True), (lambda model: [model.total], False)):
        model = Waiting()
        loop = Loop(model, steps_per_call=1, slots=slots(model))
        data = tf.data.Dataset.from_tensors(tf.zeros((1, 1))).repeat()
        blocks = [
            event
            for event in loop.train(data, steps_per_epoch=2, epochs=1)
            if isinstance(event, Block)
        ]
        assert blocks[-1].is_finite == is_finite


@pytest.mark.slow
def test_a_run_that_was_stopped_early_has_its_patience_again(tmp_path):
    """Without a learning rate nothing improves after the first epoch."""
    settings = {"optimizer__learning_rate": 1e-12, "train__early_stopping": 2}
    run = train(tmp_path / "run", train__epochs=9, **settings)
    assert (run.status, len(run.history)) == ("stopped", 3)
    # killed between its last checkpoint and its end, it has nothing left to do
    killed = tmp_path / "killed"
    shutil.copytree(run.path, killed)
    RunFolder(killed).update(status="running")
    assert len(dlsuite.resume(killed).history) == 3
    assert dlsuite.load(killed).status == "stopped"
    resumed = dlsuite.resume(run.path, epochs=20)
    assert (resumed.status, len(resumed.history)) == ("stopped", 5)


@pytest.mark.slow
def test_the_best_epochs_checkpoint_outlives_the_last_three(tmp_path):
    """And a resume goes on from it where the later ones are out of the way."""

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch >= 2:
                self.model.set_weights([0 * value for value in self.model.get_weights()])

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    settings = SMALL | {
        "train.epochs": 7, "train.monitor": "val_loss", "train.trajectory": True,
    }  # fmt: skip
    run = dlsuite.train("mnist-mlp", settings=settings, run_dir=tmp_path, callbacks=[Spoil()])
    best, spoiled = run.info["best"]["epoch"], run.history
    assert best <= 2
    paths = sorted((tmp_path / "checkpoints").glob("step-*"))
    steps = [int(path.stem.removeprefix("step-")) for path in paths]
    assert steps == [3 * epoch for epoch in (best, 5, 6, 7)]
    for path in paths[1:]:
        path.unlink()
    stopped = dlsuite.resume(tmp_path, epochs=8, callbacks=[Stop()])
    assert len(stopped.history) == best + 1
    points = sorted(int(path.stem) for path in (tmp_path / "trajectory").glob("*.npz"))
    assert points == list(range(best + 2)), "those of the spoiled epochs are no part of the path"
    history = dlsuite.resume(tmp_path, epochs=8).history
    assert history[:best] == spoiled[:best]
    assert history[3]["val_loss"] < spoiled[3]["val_loss"]


def test_minutes_ask_for_checkpoints_within_an_epoch(tmp_path):
    soon = {"train__checkpoint_minutes": 1e-9, "train__steps_per_call": 1, "train__xla": "off"}
    train(tmp_path / "run", train__epochs=1, **soon)
    names = sorted(path.stem for path in (tmp_path / "run" / "checkpoints").glob("step-*"))
    assert [int(name.removeprefix("step-")) for name in names] == [1, 2, 3]


def test_a_bare_name_is_a_run_of_the_runs_folder(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "runs" / "mine")
    monkeypatch.chdir(tmp_path)
    assert len(dlsuite.resume("mine", epochs=4).history) == 4


def test_variables_that_change_the_arithmetic_are_compared(whole, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    monkeypatch.setattr("dlsuite.environment.takes_onednn", lambda: "unknown")
    _, notes = plan_resume(whole, epochs=4)
    for said in ("ONEDNN_MAX_CPU_ISA was None and is 'SSE41'", "onednn was .* and is 'unknown'"):
        assert any(re.search(said, note) for note in notes)


class Counter(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.epochs, self.seen = 0, {"first": None}

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1
        self.seen["first"] = self.seen["first"] or f"epoch {epoch}"


class Other(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.epochs = 100


@pytest.mark.slow
def test_callbacks_in_another_order_get_back_their_own(tmp_path):
    run = dlsuite.train(
        "mnist-mlp", settings=SMALL | {"train.epochs": 2}, run_dir=tmp_path / "run",
        callbacks=[Counter(), Other()],
    )  # fmt: skip
    counter, other = Counter(), Other()
    dlsuite.resume(run.path, epochs=3, callbacks=[other, counter])
    assert (counter.epochs, counter.seen, other.epochs) == (3, {"first": "epoch 0"}, 100)
    alone = Other()
    dlsuite.resume(run.path, epochs=4, callbacks=[alone])
    assert alone.epochs == 100
