"""GPUs are taken as they are needed, not whole."""

import pytest
import tensorflow as tf

from dlsuite.engine.device import resolve_device


@pytest.mark.parametrize("name", ["auto", "gpu:1", "cpu"])
def test_no_gpu_is_taken_whole(monkeypatch, name):
    gpus, grown = ["first", "second"], []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, grows: grown.append((gpu, grows))
    )
    expected = {"auto": "/GPU:0", "gpu:1": "/GPU:1", "cpu": "/CPU:0"}
    assert resolve_device(name) == expected[name]
    assert grown == [("first", True), ("second", True)]


def test_a_device_is_found_where_tensorflow_runs_already(monkeypatch):
    def refuse(gpu, grows):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    assert resolve_device("gpu:1") == "/GPU:1"
