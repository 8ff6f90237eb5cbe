"""Worker processes that train one run: `dlsuite launch` on the loopback interface."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy
from clusters import free_addresses, tf_config
from replica_runs import SETTINGS

import dlsuite
from dlsuite.engine.workers import Workers
from dlsuite.runs.folder import RunFolder

# of a loaded machine, for what takes 20
SECONDS = 240


def start(*arguments, workers=2):
    return subprocess.Popen(
        [sys.executable, "-m", "dlsuite.cli", "launch", "--workers", str(workers)]
        + [str(argument) for argument in arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "TF_CONFIG"},
        # under nohup, as a test may be, hang-ups are ignored
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


def finish(running):
    """Exit code, stdout and stderr; nothing is left running."""
    try:
        out, err = running.communicate(timeout=SECONDS)
    finally:
        if running.poll() is None:
            running.terminate()
            running.communicate(timeout=60)
    return running.returncode, out, err


def options(settings):
    pairs = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return [part for pair in pairs for part in ("--set", pair)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run by two workers, with something random in each step."""
    folder = tmp_path_factory.mktemp("workers") / "whole"
    settings = SETTINGS | {"model.dropout": 0.2, "optimizer.ema_decay": 0.9}
    code, out, err = finish(
        start("train", "mnist-mlp", "--run-dir", folder, "--json", *options(settings))
    )
    assert code == 0, err
    return folder, json.loads(out)


def test_the_first_worker_alone_writes_and_speaks(whole):
    folder, result = whole
    assert result["status"] == "finished"
    info = dlsuite.load(folder).info
    assert (info["execution"]["workers"], info["execution"]["replicas"]) == (2, 2)
    assert info["status"] == "finished"
    steps = [json.loads(row)["step"] for row in (folder / "metrics.jsonl").open()]
    assert steps == list(range(1, 25))
    # a single checkpoint holds both workers' own state
    newest = max((folder / "checkpoints").glob("step-*"))
    state = safetensors.numpy.load_file(newest)
    assert {name.partition("/")[2] for name in state} == {"", "0", "1"}


@pytest.mark.slow
def test_two_workers_train_what_one_process_does(tmp_path):
    code, _, err = finish(
        start("train", "mnist-mlp", "--run-dir", tmp_path / "two", *options(SETTINGS))
    )
    assert code == 0, err
    two = dlsuite.load(tmp_path / "two")
    one = dlsuite.train("mnist-mlp", settings=SETTINGS, run_dir=tmp_path / "one")
    for mine, its in zip(two.history, one.history, strict=True):
        # float32 sums in another order; AdamW's first steps enlarge what is near 0
        assert mine == pytest.approx(its, abs=1e-4)
    for mine, its in zip(two.model.get_weights(), one.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-4)


SYNCHRONISED = {
    "mnist-cnn": {
        "model.name": "resnet18",
        "data.image_size": 32,
        # four steps: rounding grows tenfold in two of them
        "data.train_limit": 64,
        "data.validation": 80,
        "optimizer.name": "momentum",
        "optimizer.learning_rate": 1e-4,
        "train.batch_size": 16,
    },
    "mnist-dcgan": {
        "model.width": 16,
        "model.normalization": "batch",
        "gan.r1": 0.0,
        "data.train_limit": 200,
        "data.validation": 100,
        "optimizer.name": "sgd",
        "optimizer.learning_rate": 0.05,
        "optimizer.ema_decay": 0.99,
        "train.batch_size": 20,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SYNCHRONISED)
def test_two_workers_normalise_over_the_whole_batch(tmp_path, recipe):
    """Normalisations that don't wait for each other: shortcuts, and a judge of real and fake."""
    settings = {"train.epochs": 1, "train.synchronize_statistics": True, **SYNCHRONISED[recipe]}
    code, _, err = finish(start("train", recipe, "--run-dir", tmp_path / "two", *options(settings)))
    assert code == 0, err
    two = dlsuite.load(tmp_path / "two")
    one = dlsuite.train(recipe, settings=settings, run_dir=tmp_path / "one")
    assert two.info["execution"]["replicas"] == 2
    (mine,), (its,) = two.history, one.history
    losses = [name for name in its if name.endswith("loss")]
    # float32 sums in another order
    for name in losses:
        assert mine[name] == pytest.approx(its[name], rel=1e-3)
    for mine, its in zip(two.model.get_weights(), one.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-3 * max(1.0, np.abs(its).max()))


@pytest.fixture
def cut_off(whole, tmp_path):
    """The run as a kill after step 14, in the second epoch, would have left it."""
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    for path in sorted((folder / "checkpoints").glob("step-*"))[1:]:
        path.unlink()
    RunFolder(folder).update(status="running", epochs_done=1)
    return folder


def test_workers_resume_bit_for_bit(whole, cut_off):
    code, _, err = finish(start("resume", cut_off))
    assert code == 0, err
    mine, theirs = (
        safetensors.numpy.load_file(max((folder / "checkpoints").glob("step-*")))
        for folder in (cut_off, whole[0])
    )
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        assert (mine[name] == value).all(), name
    for name in ("metrics.jsonl", "history.json"):
        assert (cut_off / name).read_text() == (whole[0] / name).read_text()


def test_another_number_of_workers_resumes_and_says_that_it_is_not_exact(whole, cut_off):
    with pytest.warns(UserWarning) as said:
        run = dlsuite.resume(cut_off)
    notes = " ".join(str(warning.message) for warning in said)
    assert "workers was 2 and is 1" in notes and "no longer bit for bit" in notes
    assert run.status == "finished"
    # dropout differs from step 15 on, at rates that end near 0
    for mine, its in zip(run.history, dlsuite.load(whole[0]).history, strict=True):
        assert mine["val_loss"] == pytest.approx(its["val_loss"], abs=0.05)


def workers_of(launcher):
    """Process numbers of a launcher's workers, in their order."""
    text = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launcher.pid)], capture_output=True)
    return sorted(int(pid) for pid in text.stdout.split())


def wait_for(path, running):
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_when_a_worker_is_killed_the_others_name_it_and_end(tmp_path):
    folder = tmp_path / "run"
    endless = options(SETTINGS | {"train.epochs": 100000})
    running = start("train", "mnist-mlp", "--run-dir", folder, *endless)
    wait_for(folder / "timing.jsonl", running)
    os.kill(workers_of(running)[1], signal.SIGKILL)
    killed = time.monotonic()
    code, _, err = finish(running)
    # docs/running.md has ten seconds, of a machine that does nothing else
    assert time.monotonic() - killed < 60
    assert code == 1
    assert "worker 1 at 127.0.0.1:" in err and "is gone" in err
    assert "worker 1 was ended by SIGKILL" in err
    assert "Traceback" not in err
    assert RunFolder(folder).read("run.json")["status"] == "failed"


def test_workers_do_not_outlive_the_terminal(tmp_path):
    running = start("train", "mnist-mlp", "--run-dir", tmp_path / "run", *options(SETTINGS))
    try:
        deadline = time.monotonic() + SECONDS
        while len(workers_of(running)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        workers = workers_of(running)
        time.sleep(0.5)  # beyond the launcher's start
        running.send_signal(signal.SIGHUP)
    finally:
        code, _, err = finish(running)
    assert code == 1
    assert "was ended by SIGHUP" in err
    assert not any(os.path.exists(f"/proc/{worker}") for worker in workers)


@pytest.mark.slow
def test_when_the_first_worker_is_killed_the_other_names_it_and_any_number_goes_on(tmp_path):
    """It writes the run, and the others have met at its address."""
    folder, addresses = tmp_path / "run", free_addresses()
    endless = options(SETTINGS | {"train.batch_size": 24, "train.epochs": 100000})
    command = [sys.executable, "-m", "dlsuite.cli", "train", "mnist-mlp", "--run-dir", str(folder)]
    workers = [
        subprocess.Popen(
            command + endless,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TF_CONFIG": tf_config(addresses, number)},
        )
        for number in range(2)
    ]
    try:
        wait_for(folder / "timing.jsonl", workers[1])
        workers[0].kill()
        killed = time.monotonic()
        _, err = workers[1].communicate(timeout=SECONDS)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert time.monotonic() - killed < 60
    assert workers[1].returncode == 1
    assert f"worker 0 at {addresses[0]} is gone" in err
    assert "Traceback" not in err
    epochs = RunFolder(folder).read_info()["epochs_done"] + 2
    for count in (1, 3):
        shutil.copytree(folder, tmp_path / str(count))
        code, _, err = finish(
            start("resume", tmp_path / str(count), "--epochs", epochs, workers=count)
        )
        assert code == 0, err
        assert f"workers was 2 and is {count}" in err
        run = dlsuite.load(tmp_path / str(count))
        assert (run.status, len(run.history)) == ("finished", epochs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("receiver", "number", "code", "status"),
    [
        ("worker 1", signal.SIGTERM, 75, "paused"),
        ("launcher", signal.SIGTERM, 75, "paused"),
        ("launcher", signal.SIGUSR1, 75, "paused"),
        ("launcher", signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_signal_stops_all_workers_in_time(tmp_path, receiver, number, code, status):
    folder = tmp_path / "run"
    endless = options(SETTINGS | {"train.epochs": 100000})
    running = start("train", "mnist-mlp", "--run-dir", folder, *endless)
    wait_for(folder / "timing.jsonl", running)
    os.kill(running.pid if receiver == "launcher" else workers_of(running)[1], number)
    ended, _, err = finish(running)
    assert ended == code, err
    info = RunFolder(folder).read("run.json")
    assert info["status"] == status
    newest = max((folder / "checkpoints").glob("step-*"))
    assert newest.name == f"step-{info['steps_done']:010d}.safetensors"


@pytest.mark.slow
def test_a_folder_that_exists_is_refused_by_all_workers_at_once(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep me")
    code, _, err = finish(
        start("train", "mnist-mlp", "--run-dir", tmp_path / "run", *options(SETTINGS))
    )
    assert code == 1
    assert "nothing is ever overwritten" in err and "Traceback" not in err
    assert (tmp_path / "run" / "mine.txt").read_text() == "keep me"


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (["models"], {}, 2, "Give train or resume"),
        (["train"], {"TF_CONFIG": "{}"}, 1, "TF_CONFIG is set"),
        (["train"], {"CUDA_VISIBLE_DEVICES": "3"}, 1, "2 workers and 1 GPU. Start at most 1"),
    ],
)
def test_what_launch_does_not_start(arguments, environment, code, words):
    done = subprocess.run(
        [sys.executable, "-m", "dlsuite.cli", "launch", "--workers", "2", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert words in done.stderr


def test_one_process_agrees_with_itself():
    import tensorflow as tf

    alone = Workers(tf.distribute.get_strategy())
    assert alone.is_chief and alone.of_chief(7) == 7
    assert alone.table([1, 2]).tolist() == [[1, 2]]
    assert alone.texts("a layer") == ["a layer"]
    assert alone.on_chief(lambda: "said") == "said"
