"""Why a run should stop now: Ctrl-C, the queue's signals, the time limit."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# What ends a run that can go on later, as its status.
INTERRUPTED, PAUSED = "interrupted", "paused"
_SIGNALS = {
    signal.SIGINT: INTERRUPTED,
    signal.SIGTERM: PAUSED,
    signal.SIGUSR1: PAUSED,
}


class StopRequest:
    """A wish to stop, looked at between compiled calls.

    Args:
        max_hours: wall-clock hours after which the run stops; None for no limit.
        highest: of several worker processes, the highest of a number that each gives.
    """

    def __init__(
        self, max_hours: float | None = None, *, highest: Callable[[int], int] = lambda own: own
    ):
        self._highest = highest
        self._status: str | None = None
        self._deadline = None if max_hours is None else time.monotonic() + 3600 * max_hours

    @property
    def status(self) -> str | None:
        """How the run shall end: ``interrupted`` or ``paused``; None to go on."""
        if self._status is None and self._deadline and time.monotonic() >= self._deadline:
            self._status = PAUSED
        return self._status

    def agreed(self) -> str | None:
        """Returns the status that all workers end with; each asks at the same point.

        One that was told to stop stops all, and the queue's word comes before Ctrl-C's.
        """
        wishes = (None, INTERRUPTED, PAUSED)
        return wishes[self._highest(wishes.index(self.status))]

    def set(self, status: str) -> None:
        """Asks for the run to stop with that status."""
        self._status = status


@contextmanager
def stop_on_signals(request: StopRequest) -> Iterator[None]:
    """Turns SIGINT, SIGTERM and SIGUSR1 into a request; a second Ctrl-C ends at once.

    A queue may send its signals more than once, and to all processes of a job: those that follow
    change nothing.

    In a thread other than the main one signals can't be caught, and are left as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def heed(number: int, frame: FrameType | None) -> None:
        request.set(_SIGNALS[signal.Signals(number)])
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    for number in _SIGNALS:
        signal.signal(number, heed)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
