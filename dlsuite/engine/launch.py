"""Several worker processes on this machine, started together and ended together."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from typing import IO

from dlsuite.errors import DlsuiteError
from dlsuite.wording import counted

# Between two looks at the workers [s].
_POLL_SECONDS = 0.1
# When one worker is gone the others notice by themselves; after this long they are ended [s].
GRACE_SECONDS = 30.0


def launch(arguments: Sequence[str], workers: int) -> tuple[int, str]:
    """Runs a dlsuite command in several worker processes and waits for them.

    They find each other through TF_CONFIG, on free ports of the loopback interface. Each gets an
    equal part of the cores that this process may use and of the GPUs, where there are any. The
    first writes to this process's stdout and stderr. Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP are passed
    on to all.

    Args:
        arguments: of the `dlsuite` command, such as ``["train", "mnist-mlp"]``.
        workers: how many.

    Returns:
        The exit code of the worker that ended first with another than 0, and what there is to
        say beyond what the first worker wrote: the errors of that worker, or that it was killed.

    Raises:
        DlsuiteError: there are GPUs, and more workers than these.
    """
    gpus = _visible_gpus()
    if 0 < len(gpus) < workers:
        raise DlsuiteError(
            "Each worker on a GPU needs one of its own. Received: "
            f"{workers} workers and {counted(len(gpus), 'GPU')}. Start at most {len(gpus)}, or "
            "hide the GPUs by CUDA_VISIBLE_DEVICES=-1 to train on the CPU."
        )
    cluster = {"worker": _free_addresses(workers)}
    with ExitStack() as stack:
        outputs = [
            None if number == 0 else stack.enter_context(tempfile.TemporaryFile("w+"))
            for number in range(workers)
        ]
        processes = [
            _start(arguments, cluster, number, workers, gpus, outputs[number])
            for number in range(workers)
        ]
        stack.callback(_end, processes)
        stack.enter_context(_passing_on(processes))
        first = _first_to_fail(processes)
        if first is None:
            return 0, ""
        code = processes[first].returncode
        if code < 0:
            name = signal.Signals(-code).name
            return 1, (
                f"Error: All workers must stay until a run ends. Received: worker {first} was "
                f"ended by {name}. What was written is kept: start the workers again with "
                "`dlsuite launch --workers N resume RUN`.\n"
            )
        if outputs[first] is None:
            return code, ""
        outputs[first].seek(0)
        return code, outputs[first].read()


def _start(
    arguments: Sequence[str],
    cluster: dict[str, list[str]],
    number: int,
    workers: int,
    gpus: Sequence[str],
    output: IO[str] | None,
) -> subprocess.Popen:
    task = {"type": "worker", "index": number}
    environment = os.environ | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
    if gpus:
        share = len(gpus) // workers
        mine = gpus[number * share : (number + 1) * share]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    return subprocess.Popen(
        # -P: in a checkout, the working folder's package would hide the installed one
        [sys.executable, "-P", "-m", "dlsuite.cli", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL if output is not None else None,
        stderr=output,
        # Ctrl-C in a terminal reaches the whole group: passed on by hand it would come twice
        start_new_session=True,
        preexec_fn=lambda: _take_cores(number, workers),
    )


def _take_cores(number: int, workers: int) -> None:
    """Leaves a worker its part of the cores; all of them where there are fewer than workers."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // workers
    if share:
        os.sched_setaffinity(0, cores[number * share : (number + 1) * share])


def _visible_gpus() -> list[str]:
    """The GPUs that CUDA may use here, by the names that CUDA_VISIBLE_DEVICES takes."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name for name in listed.split(",") if name not in ("", "-1")]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = subprocess.run(
        [program, "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True
    )
    return asked.stdout.split() if asked.returncode == 0 else []


@contextmanager
def _passing_on(processes: Sequence[subprocess.Popen]):
    """Passes on the signals that stop a run; a worker saves and ends with its own exit code."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
    # a terminal that closes, which nohup has the workers ignore as well
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def pass_on(number: int, frame) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_to_fail(processes: Sequence[subprocess.Popen]) -> int | None:
    """Waits for all; the number of the first that ended with another exit code than 0."""
    first, since = None, 0.0
    while any(process.poll() is None for process in processes):
        if first is None:
            first, since = _failed(processes), time.monotonic()
        elif time.monotonic() - since > GRACE_SECONDS:
            break
        time.sleep(_POLL_SECONDS)
    return _failed(processes) if first is None else first


def _failed(processes: Sequence[subprocess.Popen]) -> int | None:
    return next((n for n, process in enumerate(processes) if process.poll()), None)


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def _free_addresses(count: int) -> list[str]:
    """Addresses on the loopback interface that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
