"""Ctrl-C wherever a command then is: exit code 130 and one line, never a traceback."""

import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_ctrl_c_while_everything_loads(seconds, tmp_path):
    running = subprocess.Popen(
        [sys.executable, "-m", "dlsuite.cli", "train", "--run-dir", "run", "--epochs", "100000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a background job, as a test may be, has its Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        time.sleep(seconds)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, stderr
    assert "Traceback" not in stderr
