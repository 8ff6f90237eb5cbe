"""GPUs are taken as they are needed, not whole: by every command, whatever it does on them."""

import pytest
import tensorflow as tf

from dlsuite import runtime
from dlsuite.engine.device import resolve_device


@pytest.fixture
def unprepared(monkeypatch):
    """A process that has yet to prepare TensorFlow, which sees two GPUs."""
    monkeypatch.setattr(runtime, "_prepared", False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"])
    return monkeypatch


def test_no_gpu_is_taken_whole(unprepared):
    grown = []
    unprepared.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, grows: grown.append((gpu, grows))
    )
    runtime.prepare()
    assert grown == [("first", True), ("second", True)]


@pytest.mark.parametrize(
    "refusal",
    [RuntimeError("Physical devices cannot be modified after being initialized"),
     ValueError("Cannot set memory growth on device when virtual devices configured")],
)  # fmt: skip
def test_a_device_is_found_where_its_memory_is_not_to_be_changed(unprepared, refusal):
    """TensorFlow runs already, or the user has divided the GPU."""

    def refuse(gpu, grows):
        raise refusal

    unprepared.setattr(tf.config.experimental, "set_memory_growth", refuse)
    runtime.prepare()
    for name, expected in (("auto", "/GPU:0"), ("gpu:1", "/GPU:1"), ("cpu", "/CPU:0")):
        assert resolve_device(name) == expected
