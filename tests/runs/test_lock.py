"""One process works on a run folder at a time."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

import dlsuite
from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError
from dlsuite.runs.folder import RunFolder
from dlsuite.runs.lock import locked
from tests.smallest import SMALLEST

SMALL = {
    **SMALLEST,
    "train.epochs": 1,
    "train.xla": "off",
}


def test_one_process_a_run(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    with locked(folder):
        program = (
            "from dlsuite.runs.lock import locked; from dlsuite.runs.folder import RunFolder\n"
            f"with locked(RunFolder({str(folder.path)!r})): pass"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"held by process {os.getpid()} on" in done.stderr
    # the lock file is still there, and holds nobody up
    assert (folder.path / "lock").exists()
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_run_that_cannot_be_locked(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    folder = RunFolder.create(tmp_path / "run")
    monkeypatch.setattr(fcntl, "flock", refuse)
    words = r"files can be locked.*run' \(Function not implemented\)\. Choose a place on another"
    with pytest.raises(DlsuiteError, match=words), locked(folder):
        pass
    (folder.path / "lock").unlink()
    (folder.path / "lock").mkdir()
    with pytest.raises(DlsuiteError, match="must be writable"), locked(folder):
        pass


@contextmanager
def held_by_another(folder):
    """A process that holds the run; its number."""
    program = (
        "from dlsuite.runs.lock import locked; from dlsuite.runs.folder import RunFolder\n"
        f"with locked(RunFolder({str(folder)!r})): print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
    finally:
        holder.communicate("\n", timeout=60)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_another_process_holds_is_neither_trained_nor_changed(tmp_path):
    new, done = tmp_path / "new", tmp_path / "done"
    RunFolder.create(new)
    dlsuite.train("mnist-mlp", settings=SMALL, run_dir=done)

    def command():
        arguments = ["resume", str(done), "--epochs", "2"]
        CliRunner().invoke(cli, arguments, catch_exceptions=False)

    for folder, attempts in (
        (new, [lambda: dlsuite.train("mnist-mlp", settings=SMALL, run_dir=new)]),
        (done, [lambda: dlsuite.resume(done, epochs=2), command]),
    ):
        with held_by_another(folder) as number:
            before = contents(folder)
            words = f"held by process {number} on {socket.gethostname()} since"
            for attempt in attempts:
                with pytest.raises(DlsuiteError, match=words):
                    attempt()
                assert contents(folder) == before
    # and when it is free again it goes on
    assert len(dlsuite.resume(done, epochs=2).history) == 2
