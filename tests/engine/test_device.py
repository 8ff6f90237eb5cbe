"""GPUs that were asked for and can't be had: one sentence with the reason and the remedy."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

import dlsuite
from dlsuite import environment
from dlsuite.diagnosis import cuda
from dlsuite.diagnosis.check import Check
from dlsuite.engine.device import resolve_device
from dlsuite.errors import DlsuiteError
from dlsuite.tasks.classification import Classification
from tests.smallest import SMALLEST

SMALL = {
    **SMALLEST,
    "train.epochs": 1,
}


def test_a_gpu_that_is_not_seen_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(environment, "nvidia_driver", lambda: None)
    with pytest.raises(DlsuiteError, match=r"Received: 'gpu': no NVIDIA driver, .*Install NVIDIA"):
        resolve_device("gpu")
    monkeypatch.setattr(environment, "nvidia_driver", lambda: "470.82")
    with pytest.raises(DlsuiteError, match=r"driver 470\.82, .*Update the driver to 525.60.13 or"):
        resolve_device("gpu:1")


def test_a_gpu_past_the_last_one_is_refused_with_their_number(monkeypatch):
    gpu = SimpleNamespace(name="/physical_device:GPU:0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [gpu, gpu])
    assert resolve_device("gpu:1") == "/GPU:1"
    with pytest.raises(DlsuiteError, match=r"'gpu:2': TensorFlow sees 2 GPUs, .*up to gpu:1"):
        resolve_device("gpu:2")


# as TensorFlow 2.21 and its libraries say it
GRAPH = """Graph execution error:

Detected at node Conv2D defined at (most recent call last):
  File "/opt/cuda/bin/dlsuite", line 8, in <module>

%s
\t [[{{node conv1/Conv2D}}]] [Op:__inference_block_1]"""
FAILURES = [
    (tf.errors.UnimplementedError(None, None, GRAPH % "DNN library is not found."),
     "DNN library is not found."),
    (tf.errors.NotFoundError(None, None, GRAPH % "No algorithm worked!  Errors:\n  Profiling ..."),
     "No algorithm worked!  Errors:"),
    (tf.errors.InternalError(None, None, "Failed to load a CUBIN: CUDA_ERROR_NO_BINARY_FOR_GPU"),
     "Failed to load a CUBIN: CUDA_ERROR_NO_BINARY_FOR_GPU"),
    (tf.errors.InternalError(None, None, "libdevice not found at ./libdevice.10.bc"),
     "libdevice not found at ./libdevice.10.bc"),
]  # fmt: skip


@pytest.mark.parametrize(("failure", "line"), FAILURES)
def test_a_gpu_that_fails_is_one_sentence_with_what_is_amiss(tmp_path, monkeypatch, failure, line):
    broken = Check("cuDNN", "warning", "libcudnn.so.9: cannot open", "pip install 'cudnn>=9'")
    monkeypatch.setattr(cuda, "fault", lambda: broken)
    with pytest.raises(DlsuiteError) as raised:
        train(tmp_path / "run", failure)
    assert str(raised.value) == (
        f"The device must be there and usable. Received: GPU:0, which ends in {line!r}: "
        "libcudnn.so.9: cannot open. pip install 'cudnn>=9', or use --device cpu."
    )
    assert dlsuite.load(tmp_path / "run").status == "failed"


def test_a_gpu_that_fails_for_no_visible_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda, "fault", lambda: None)
    with pytest.raises(
        DlsuiteError, match=r"are in order\. Look with nvidia-smi .*doctor`, or use"
    ):
        train(tmp_path / "run", FAILURES[0][0])


def test_memory_that_a_gpus_library_wants_is_a_matter_of_memory(tmp_path):
    failure = tf.errors.InternalError(None, None, "CUDNN_STATUS_ALLOC_FAILED in cudnnCreate")
    with pytest.raises(DlsuiteError, match=r"memory of GPU:0\. .*Try --batch-size 10"):
        train(tmp_path / "run", failure)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [("GPU MaxPool gradient ops do not yet have a deterministic XLA implementation.",
      "train.xla=off"),
     ("Determinism is not yet supported in GPU implementation of Dilation2DBackpropInput.",
      "train.deterministic=false")],
)  # fmt: skip
def test_what_a_gpu_cannot_repeat_is_one_sentence(tmp_path, monkeypatch, said, remedy):
    failure = tf.errors.UnimplementedError(None, None, GRAPH % said)
    monkeypatch.setattr("dlsuite.engine.device.is_op_determinism_enabled", lambda: True)
    with pytest.raises(DlsuiteError) as raised:
        train(tmp_path / "asked", failure)
    assert str(raised.value).endswith(f"{said!r}. Train with {remedy}, or on the CPU.")


def test_a_gpu_repeats_its_numbers_where_that_is_asked_for(monkeypatch):
    asked = []
    switch = "tensorflow.config.experimental.enable_op_determinism"
    monkeypatch.setattr(switch, lambda: asked.append(True))
    monkeypatch.setattr("dlsuite.engine.device.is_op_determinism_enabled", lambda: bool(asked))
    monkeypatch.setattr("dlsuite.engine.device.resolve_device", lambda name: "/GPU:0")
    dlsuite.plan("mnist-mlp", settings=SMALL)
    assert not asked
    settings = {**SMALL, "train.deterministic": True}
    assert dlsuite.plan("mnist-mlp", settings=settings).execution.use_xla
    assert asked
    # the default network pools
    pools = SMALLEST | {"train.deterministic": True}
    del pools["model.hidden"]
    execution = dlsuite.plan("mnist-cnn", settings=pools).execution
    assert not execution.use_xla and "max pooling" in execution.xla_reason
    with pytest.raises(DlsuiteError, match=r"no max pooling .*'on' with train\.deterministic"):
        dlsuite.plan("mnist-cnn", settings={**pools, "train.xla": "on"})
    # a CPU does so anyway
    asked.clear()
    monkeypatch.setattr("dlsuite.engine.device.resolve_device", lambda name: "/CPU:0")
    dlsuite.plan("mnist-mlp", settings=settings)
    assert not asked


def test_other_errors_and_other_devices_keep_their_traceback(tmp_path):
    other = tf.errors.InternalError(None, None, GRAPH % "another kind, not deterministic")
    with pytest.raises(tf.errors.InternalError, match="another kind"):
        train(tmp_path / "other", other)
    with pytest.raises(tf.errors.UnimplementedError):
        train(tmp_path / "cpu", FAILURES[0][0], device="/CPU:0")


def test_a_gpu_that_fails_where_the_network_is_built(monkeypatch):
    monkeypatch.setattr("dlsuite.engine.device.resolve_device", lambda name: "/GPU:0")
    monkeypatch.setattr(cuda, "fault", lambda: None)

    def fails(task):
        raise tf.errors.InternalError(None, None, "CUDA runtime implicit initialization failed")

    monkeypatch.setattr(Classification, "_network", fails)
    with pytest.raises(DlsuiteError, match=r"GPU:0, which ends in 'CUDA runtime implicit"):
        dlsuite.plan("mnist-mlp", settings=SMALL)


class Fails(keras.callbacks.Callback):
    """Raises after the first step what a step raises."""

    def __init__(self, failure):
        super().__init__()
        self._failure = failure

    def on_train_batch_end(self, batch, logs=None):
        raise self._failure


def train(folder, failure, *, device="/GPU:0"):
    """Trains on the CPU that is taken for another device, whose step fails."""
    plan = dlsuite.plan("mnist-mlp", settings=SMALL)
    named = replace(plan, execution=replace(plan.execution, device=device))
    return named.train(folder, callbacks=[Fails(failure)])
