"""Where a step's time goes, read from a trace of TensorFlow's profiler.

The trace is an XSpace (planes of lines of events) whose message class comes with TensorFlow, so
that no browser plugin is needed. A host's lines are threads: those named ``tf_data...`` make the
batches, all others compute the step; a GPU's plane has a line a stream.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlsuite.errors import DlsuiteError

# TensorFlow names an operation's event NAME:TYPE, and the waiting for a batch so.
_OPERATION = re.compile(r"(?:.*[^:]):(\w+)")
_WAITING = "IteratorGetNextOp::DoCompute"
# XLA numbers the operations of a kind: MatMul.12
_NUMBER = re.compile(r"(\.\d+)+$")
_PICOSECOND = 1e-12


@dataclass(frozen=True)
class Operation:
    """All calls of one kind of operation in a trace.

    Attributes:
        name: its type, such as ``Conv2DBackpropFilter``; with ``XLA`` before it where XLA
            compiled it.
        seconds: spent in it, without what it called.
        calls: how often.
    """

    name: str
    seconds: float
    calls: int


@dataclass(frozen=True)
class Trace:
    """What a trace holds.

    Attributes:
        operations: of the step, on the GPU where there is one, else on the CPU; longest first.
        input_operations: of the pipeline that makes the batches beside the step.
        input_wait_s: that the step waited for its batches.
        device_busy_s: that a GPU computed, the mean over the GPUs; None without one.
    """

    operations: tuple[Operation, ...]
    input_operations: tuple[Operation, ...]
    input_wait_s: float
    device_busy_s: float | None


def read_trace(folder: Path) -> Trace:
    """Returns what the newest trace below a folder holds.

    Raises:
        DlsuiteError: there is none, or it can't be read.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    files = sorted(folder.glob("**/*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise DlsuiteError(
            f"A trace is a folder with an .xplane.pb file. Received: '{folder}' without one. "
            "Profile again; another profiler may have been running."
        )
    space = XSpace()
    try:
        space.ParseFromString(files[-1].read_bytes())
    except DecodeError:
        raise DlsuiteError(
            f"A trace must be whole. Received: '{files[-1]}', which is damaged. Profile again."
        ) from None
    return summarize(space.planes)


def summarize(planes: Iterable[Any]) -> Trace:
    """Returns the trace of the planes of an ``XSpace``."""
    on_host, on_device, in_input = (defaultdict(lambda: [0, 0]) for _ in range(3))
    waited, busy = 0, []
    for plane in planes:
        names = {key: value.name for key, value in plane.event_metadata.items()}
        stats = {key: value.name for key, value in plane.stat_metadata.items()}
        is_device = plane.name.startswith("/device:GPU")
        covered = []
        for line in plane.lines:
            events = [_Event(event, names, stats) for event in line.events]
            if is_device:
                # other lines repeat the streams' events, by step, module and name scope
                if line.name.startswith("Stream"):
                    _add(on_device, ((event, event.kernel()) for event in events))
                    covered += [(event.start, event.end) for event in events]
                continue
            into = in_input if line.name.startswith("tf_data") else on_host
            _add(into, ((event, event.operation()) for event in events))
            waited += sum(event.end - event.start for event in events if event.name == _WAITING)
        if is_device:
            busy.append(_union(covered) * _PICOSECOND)
    return Trace(
        _sorted(on_device or on_host),
        _sorted(in_input),
        waited * _PICOSECOND,
        sum(busy) / len(busy) if busy else None,
    )


class _Event:
    """An event with its names looked up; times in picoseconds from the line's beginning."""

    def __init__(self, event: Any, names: Mapping[int, str], stats: Mapping[int, str]):
        self.name = names[event.metadata_id]
        self.start = event.offset_ps
        self.end = event.offset_ps + event.duration_ps
        self._stats = {stats[stat.metadata_id] for stat in event.stats}

    def operation(self) -> str | None:
        """The kind of operation that the event is, if it is one."""
        if "hlo_op" in self._stats:
            return f"XLA {_NUMBER.sub('', self.name)}"
        found = _OPERATION.fullmatch(self.name)
        return found[1].removeprefix("_MklNative") if found else None

    def kernel(self) -> str:
        """The kernel's name without its template's arguments."""
        return re.split(r"[<(]", self.name.removeprefix("void "), maxsplit=1)[0]


def _add(into: dict[str, list[int]], events: Iterator[tuple[_Event, str | None]]) -> None:
    """Adds each operation's own time: that of operations within it is theirs."""
    inside: list[tuple[_Event, str]] = []
    for event, kind in sorted(events, key=lambda pair: (pair[0].start, -pair[0].end)):
        if kind is None:
            continue
        while inside and inside[-1][0].end <= event.start:
            inside.pop()
        duration = event.end - event.start
        if inside:
            into[inside[-1][1]][0] -= duration
        into[kind][0] += duration
        into[kind][1] += 1
        inside.append((event, kind))


def _union(spans: list[tuple[int, int]]) -> int:
    """The time that any of the spans covers."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _sorted(found: Mapping[str, list[int]]) -> tuple[Operation, ...]:
    made = [Operation(name, time * _PICOSECOND, calls) for name, (time, calls) in found.items()]
    return tuple(sorted(made, key=lambda operation: -operation.seconds))
