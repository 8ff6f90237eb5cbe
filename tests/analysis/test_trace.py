"""What is read from a profiler's trace, by hand-made planes whose times are known."""

import pytest

from dlsuite.analysis.trace import read_trace, summarize
from dlsuite.errors import DlsuiteError

MS = 10**9  # picoseconds


@pytest.fixture
def space(keras_ready):
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    return XSpace()


def add_line(plane, name, events):
    """Adds a line of (name, start [ms], duration [ms], is an operation of XLA's)."""
    line = plane.lines.add(name=name)
    plane.stat_metadata[1].name = "hlo_op"
    for label, start, duration, by_xla in events:
        number = len(plane.event_metadata) + 1
        plane.event_metadata[number].name = label
        event = line.events.add(
            metadata_id=number, offset_ps=int(start * MS), duration_ps=int(duration * MS)
        )
        if by_xla:
            event.stats.add(metadata_id=1)


def test_threads_of_the_step_and_of_the_input_are_told_apart(space):
    host = space.planes.add(name="/host:CPU")
    add_line(
        host,
        "tf_Compute/1",
        [
            ("ExecutorState::Process", 0, 30, False),
            ("while/conv1/Conv2D:_MklNativeConv2D", 0, 4, False),
            ("while/conv2/Conv2D:_MklNativeConv2D", 5, 6, False),
            ("while/add:AddV2", 20, 1, False),
            ("MatMul.12", 22, 2, True),
            ("MatMul.7", 25, 1, True),
            ("end: MatMul.7", 26, 0, False),
        ],
    )
    add_line(host, "tf_data_private_threadpool/2", [("map/Cast_3:Cast", 0, 7, False)])
    add_line(
        host,
        "tf_data_iterator_get_next/3",
        [("IteratorGetNextOp::DoCompute", 0, 2, False), ("Iterator::Root", 0, 2, False)],
    )
    trace = summarize(space.planes)
    found = [(o.name, round(o.seconds * 1e3, 6), o.calls) for o in trace.operations]
    assert found == [("Conv2D", 10.0, 2), ("XLA MatMul", 3.0, 2), ("AddV2", 1.0, 1)]
    assert [(o.name, o.calls) for o in trace.input_operations] == [("Cast", 1)]
    assert trace.input_wait_s == pytest.approx(0.002)
    assert trace.device_busy_s is None


def test_an_operation_has_no_time_of_those_within_it(space):
    host = space.planes.add(name="/host:CPU")
    add_line(
        host,
        "tf_Compute/1",
        [
            ("call:PartitionedCall", 0, 10, False),
            ("call/a:Mul", 1, 3, False),
            ("call/b:Mul", 4, 2, False),
            ("after:Add", 10, 1, False),
        ],
    )
    times = {o.name: o.seconds * 1e3 for o in summarize(space.planes).operations}
    assert times == pytest.approx({"PartitionedCall": 5, "Mul": 5, "Add": 1})


def test_a_gpu_is_read_from_its_streams(space):
    host, gpu = space.planes.add(name="/host:CPU"), space.planes.add(name="/device:GPU:0")
    add_line(host, "tf_Compute/1", [("a:Conv2D", 0, 1, False)])
    kernel = "void cutlass::Kernel<float, 128>(Params)"
    add_line(gpu, "Stream #13(Compute)", [(kernel, 0, 4, False), ("gemm(int)", 4, 2, False)])
    add_line(gpu, "Stream #14(MemcpyH2D)", [("MemcpyH2D", 5, 3, False)])
    add_line(gpu, "XLA Ops", [("fusion.1", 0, 4, False)])
    trace = summarize(space.planes)
    times = {o.name: o.seconds * 1e3 for o in trace.operations}
    assert times == pytest.approx({"cutlass::Kernel": 4, "MemcpyH2D": 3, "gemm": 2})
    # 0 to 6 and 5 to 8: the streams overlap by a millisecond
    assert trace.device_busy_s == pytest.approx(0.008)


def test_a_folder_without_a_trace_or_with_a_broken_one(tmp_path, keras_ready):
    with pytest.raises(DlsuiteError, match=r"without one\. Profile again"):
        read_trace(tmp_path)
    (tmp_path / "vm.xplane.pb").write_bytes(b"\x0a\xff\xff")
    with pytest.raises(DlsuiteError, match=r"which is damaged\. Profile again"):
        read_trace(tmp_path)
