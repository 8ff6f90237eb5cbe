"""Several devices and several worker processes against one device, at the same global batch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import replica_cases
import replica_runs
import safetensors.numpy
import tensorflow as tf
from clusters import free_addresses, tf_config

import dlsuite
from dlsuite import planning
from dlsuite.engine.replicas import offset_seeds
from dlsuite.engine.strategy import check_batch, choose_strategy
from dlsuite.errors import DlsuiteError

HERE = Path(__file__).parent
SECONDS = 200  # of a loaded machine, for what takes 20
# float32 sums in another order, at most doubled in each of 12 steps from weights near 1
TOLERANCE = 2e-6


def processes(*commands):
    """Runs commands at once, each with its environment; ends those left when one takes too long."""
    started = [
        subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env={name: value for name, value in os.environ.items() if name != "TF_CONFIG"} | extra,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for arguments, extra in commands
    ]
    try:
        for process in started:
            said, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, said[-3000:]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()


def by_case(path):
    found = {}
    with np.load(path) as stored:
        for name in stored:
            case, _, key = name.partition("/")
            found.setdefault(case, {})[key] = stored[name]
    return found


@pytest.fixture(scope="module")
def one():
    return replica_cases.everything(tf.distribute.get_strategy())


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "out.npz"
    processes(([HERE / "replica_cases.py", "devices", path], {}))
    return by_case(path)


def train_workers(folder, *environments):
    """What each of several worker processes with these environments finds."""
    paths = [folder / f"{number}.npz" for number in range(len(environments))]
    script = HERE / "replica_cases.py"
    commands = zip(([script, "workers", path] for path in paths), environments, strict=True)
    processes(*commands)
    return [by_case(path) for path in paths]


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    addresses = free_addresses()
    environments = [{"TF_CONFIG": tf_config(addresses, number)} for number in range(2)]
    return train_workers(tmp_path_factory.mktemp("workers"), *environments)


@pytest.fixture(scope="module", params=["devices", "worker 0", "worker 1"])
def several(request):
    if request.param == "devices":
        return request.getfixturevalue("devices")
    return request.getfixturevalue("workers")[int(request.param[-1])]


@pytest.mark.parametrize("case", [c for c in replica_cases.OPTIMIZERS if "float16" not in c])
def test_training_is_that_of_one_device(one, several, case):
    ours, theirs = several[case], one[case]
    assert (ours["weights"] == ours["weights"][0]).all()  # on each of the process's replicas
    np.testing.assert_allclose(ours["weights"][0], theirs["weights"][0], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(ours["loss"], theirs["loss"], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(ours["accuracy"], theirs["accuracy"], atol=TOLERANCE, rtol=0)
    assert ours["iterations"] == theirs["iterations"]
    assert ours["traces"] == 1


def test_without_the_preparation_clipping_differs(one, devices):
    """What the comparison above would show if gradients were clipped before they are summed."""
    difference = np.abs(devices["stock"]["weights"] - one["stock"]["weights"]).max()
    assert difference > 1000 * TOLERANCE


@pytest.mark.parametrize(("case", "updates"), [("float16", 11), ("float16_accumulated", 2)])
def test_an_overflow_on_the_last_replica_skips_that_update_everywhere(one, several, case, updates):
    for found in (one[case], several[case]):
        assert found["iterations"] == updates
        # from 1024, once
        assert (found["scale"] == 512).all()
        assert np.isfinite(found["weights"]).all()
        assert (found["weights"] == found["weights"][0]).all()
    # gradients are float16 with a relative error of 5e-4, eleven steps move weights by 1e-2
    np.testing.assert_allclose(
        several[case]["weights"][0], one[case]["weights"][0], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("case", "place"),
    [
        ("overflow", "the output of the layer early"),
        # in the second of the four steps of an update, with a finite loss
        ("gradient", "the gradient of early/bias"),
    ],
)
def test_a_fault_on_the_last_replica_is_found_and_left_out_by_all(one, several, case, place):
    for found in (one[case], several[case]):
        for name, skipped in (("stopped", 0), ("skipped", 1)):
            assert found[f"{name}_in"] == place
            assert found[f"{name}_is_finite"]
            step, done, left_out = found[f"{name}_at"]
            assert step == replica_cases.OVERFLOW + 1
            assert done == (replica_cases.STEPS if skipped else step - 1)
            assert left_out == skipped
    for name in ("stopped_weights", "skipped_weights"):
        assert (several[case][name] == several[case][name][0]).all()
        np.testing.assert_allclose(
            several[case][name][0], one[case][name][0], atol=TOLERANCE, rtol=0
        )


def test_a_thousand_examples_count_once_each(one, several):
    # float32 sums of 1,000 terms in another order
    for name in ("loss", "accuracy"):
        assert several["evaluation"][name] == pytest.approx(one["evaluation"][name], abs=2e-6)
    for found in (one, several):
        assert found["evaluation"]["counts"].tolist() == 7 * [128] + [1000 - 7 * 128]


def test_a_thousand_examples_count_once_each_on_three_devices(one, devices):
    """128 in three parts doesn't go: they take the next batch that does."""
    found = devices["evaluation_by_three"]
    for name in ("loss", "accuracy"):
        assert found[name] == pytest.approx(one["evaluation"][name], abs=2e-6)
    assert found["counts"].tolist() == 7 * [129] + [1000 - 7 * 129]


def test_replicas_draw_different_dropout_masks(one, devices, workers):
    masks = [*devices["masks"]["apart"], *(worker["masks"]["apart"][0] for worker in workers)]
    stock = devices["masks"]["stock"]
    assert (stock[0] == stock[1]).all()
    # the first is one device's own; of 32 units two masks share all with probability 2^-32
    assert (masks[0] == one["masks"]["stock"][0]).all()
    assert (masks[0] != masks[1]).any()
    # two workers are the same two replicas
    assert (masks[2] == masks[0]).all() and (masks[3] == masks[1]).all()


def test_moving_statistics_are_averaged_over_replicas(devices, workers):
    before, after = devices["statistics"]["before"], devices["statistics"]["after"]
    assert (before[0] != before[1]).any()
    np.testing.assert_allclose(after, [before.mean(axis=0)] * 2, rtol=1e-6)
    for number, worker in enumerate(workers):
        assert (worker["statistics"]["before"][0] == before[number]).all()
        assert (worker["statistics"]["after"][0] == after[0]).all()


@pytest.mark.parametrize(("case", "replicas"), [("one_to_two", 2), ("two_to_one", 1)])
def test_a_state_is_carried_over_to_another_number_of_devices(devices, case, replicas):
    found = devices[case]
    # each device holds the mean of the statistics, and all together what was waiting and counted
    mean = found["statistics_before"].mean(axis=0)
    np.testing.assert_allclose(found["statistics_after"], [mean] * replicas, rtol=1e-6)
    for kind in ("accumulated", "metrics"):
        total = found[f"{kind}_before"].sum(axis=0)
        assert np.abs(total).max() > 0
        assert found[f"{kind}_after"].shape[0] == replicas
        np.testing.assert_allclose(found[f"{kind}_after"].sum(axis=0), total, rtol=1e-6)
    assert (found["weights_after"] == found["weights_before"][0]).all()
    # of two devices' own
    if case == "two_to_one":
        assert (found["statistics_before"][0] != found["statistics_before"][1]).any()
        assert (found["accumulated_before"][0] != found["accumulated_before"][1]).any()


def test_a_process_trains_one_network_after_another_on_any_number_of_devices(devices):
    """A new strategy would give its sums the numbers of an earlier one's, of other shapes."""
    for count in (2, 3):
        expected = np.full((count, count), count)
        np.testing.assert_array_equal(devices["process"][f"sums_of_{count}"], expected)


def test_the_first_worker_writes(workers):
    assert [bool(worker["process"]["is_chief"]) for worker in workers] == [True, False]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    processes(([HERE / "replica_runs.py", folder], {}))
    return folder


def test_a_run_on_two_devices_is_that_on_one(runs, tmp_path):
    ours = dlsuite.load(runs / "plain")
    theirs = dlsuite.train("mnist-mlp", settings=replica_runs.SETTINGS, run_dir=tmp_path / "run")
    assert ours.info["execution"]["replicas"] == 2
    assert ours.info["execution"]["xla_reason"] == "several replicas"
    assert theirs.info["execution"]["replicas"] == 1
    for mine, its in zip(ours.history, theirs.history, strict=True):
        # float32 sums in another order; AdamW's first steps enlarge what is near 0
        assert mine == pytest.approx(its, abs=1e-4)
    for mine, its in zip(ours.model.get_weights(), theirs.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-4)


def test_a_run_on_two_devices_resumes_bit_for_bit(runs):
    whole, resumed = (
        safetensors.numpy.load_file(max((runs / name / "checkpoints").glob("step-*")))
        for name in ("whole", "resumed")
    )
    assert whole.keys() == resumed.keys()
    # replicas' own parts are there: seeds and what waits to be applied
    assert any(name.endswith("/1") for name in whole)
    for name, value in whole.items():
        assert (value == resumed[name]).all(), name
    for name in ("metrics.jsonl", "history.json"):
        assert (runs / "whole" / name).read_text() == (runs / "resumed" / name).read_text()


def test_one_device_has_no_strategy(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    strategy = choose_strategy(1, "/CPU:0")
    assert strategy.num_replicas_in_sync == 1 and not tf.distribute.has_strategy()


def test_a_tf_config_of_one_worker_is_no_cluster(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(["127.0.0.1:1"], 0))
    assert choose_strategy(1, "/CPU:0") is tf.distribute.get_strategy()


@pytest.mark.parametrize("text", ["{", "[1]", '{"cluster": {"worker": 3}}'])
def test_a_tf_config_that_cannot_be_read_is_an_error(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(DlsuiteError, match="TF_CONFIG must be a JSON object"):
        choose_strategy(1, "/CPU:0")


@pytest.mark.slow
def test_two_tasks_of_slurm_are_two_workers(workers, tmp_path):
    step = {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": "2",
    }
    environments = [step | {"SLURM_PROCID": str(n), "SLURM_LOCALID": str(n)} for n in range(2)]
    for mine, expected in zip(train_workers(tmp_path, *environments), workers, strict=True):
        for case in replica_cases.OPTIMIZERS:
            assert (mine[case]["weights"] == expected[case]["weights"]).all()


def test_slurm_without_srun_is_no_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    assert choose_strategy(1, "/CPU:0") is tf.distribute.get_strategy()


def test_devices_that_are_not_there_are_an_error():
    tf.zeros(())  # TensorFlow has started
    with pytest.raises(DlsuiteError, match=r"train\.devices=2, but TensorFlow runs already"):
        choose_strategy(2, "/CPU:0")
    with pytest.raises(DlsuiteError, match=r"train\.devices=2, but TensorFlow sees 0 GPUs"):
        choose_strategy(2, "/GPU:0")
    with pytest.raises(DlsuiteError, match=r"counted from the first.*train\.devices=2.*gpu:1"):
        choose_strategy(2, "/GPU:1")


def test_a_batch_that_replicas_do_not_divide_is_an_error():
    check_batch(129, 3)
    with pytest.raises(DlsuiteError, match=r"train\.batch_size=128 over 3.*such as 129"):
        check_batch(128, 3)


def test_seeds_of_one_replica_stay():
    model = planning.plan("mnist-mlp", settings={"data.train_limit": 200}).task.model
    before = [variable.numpy() for variable in model.variables]
    offset_seeds(model)
    for value, variable in zip(before, model.variables, strict=True):
        assert (value == variable.numpy()).all()
