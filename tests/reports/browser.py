"""A page as a browser without a window sees it."""

import shutil
import subprocess
import tempfile

import pytest

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def dump(page, *switches):
    """The page's document after its scripts have run; skips where there is no Chromium."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom", *switches,
            page.resolve().as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout
