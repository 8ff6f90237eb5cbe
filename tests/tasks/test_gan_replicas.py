"""A GAN on two virtual devices beside one, by a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def on_devices(tmp_path_factory):
    """Trained on two devices, on two with synchronised statistics, and on one."""
    script = Path(__file__).parents[1] / "engine" / "gan_replicas.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path_factory.mktemp("devices")],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_two_replicas_train_alike_and_hold_the_same_weights(on_devices):
    """Per-replica batch statistics make the numbers differ from one device's."""
    two, one = on_devices["two"], on_devices["one"]
    assert (two["parts"], one["parts"]) == (2, 1)
    assert two["replicas_agree"] and two["averages_agree"]
    for ours, theirs in zip(two["history"], one["history"], strict=True):
        # batches of 5 against batches of 10: another training, by 22 % in a loss when it was seen;
        # the next test's is the same one
        for name in ("d_loss", "g_loss", "val_distance"):
            assert ours[name] == pytest.approx(theirs[name], rel=0.3)
        # the averaged generator is still near its first weights, and so is its distance
        for name in ("d_loss", "g_loss"):
            assert ours[name] != pytest.approx(theirs[name], rel=2e-4)


@pytest.mark.slow
def test_with_synchronised_statistics_two_replicas_are_one(on_devices):
    two, one = on_devices["synchronized"], on_devices["one"]
    assert two["replicas_agree"] and two["averages_agree"]
    for ours, theirs in zip(two["history"], one["history"], strict=True):
        # float32 sums in another order, which twenty steps enlarge
        for name in ("d_loss", "g_loss", "val_distance"):
            assert ours[name] == pytest.approx(theirs[name], rel=2e-4)
    for ours, theirs in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3, rtol=0)
