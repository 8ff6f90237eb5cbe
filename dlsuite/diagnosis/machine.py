"""Checks of the machine and of what is installed, GPUs aside."""

import importlib.metadata
import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from dlsuite import environment
from dlsuite.diagnosis.check import Check, first_line, install_line

# What is imported to start TensorFlow.
_IMPORTED = ("tensorflow", "keras", "numpy")
_LITTLE_DISK_GB = 2
_LITTLE_MEMORY_GB = 3


def python() -> Check:
    """Python's version against what dlsuite asks for."""
    from packaging.specifiers import SpecifierSet

    asked = importlib.metadata.metadata("dlsuite")["Requires-Python"] or ""
    version = platform.python_version()
    if SpecifierSet(asked).contains(version, prereleases=True):
        return Check("Python", "ok", version)
    return Check(
        "Python", "failed", version, f"Install Python {asked} and dlsuite in a new environment."
    )


def packages() -> Check:
    """The required packages against their bounds."""
    unmet = environment.unmet_requirements("dlsuite")
    if unmet:
        return Check(
            "packages",
            "failed",
            "not within dlsuite's bounds: " + "; ".join(map(str, unmet)),
            install_line(*(one.requirement for one in unmet)),
        )
    versions = (f"{name} {environment.installed_version(name)}" for name in environment.PACKAGES)
    return Check("packages", "ok", ", ".join(versions))


def processor() -> Check:
    """The instructions without which TensorFlow's wheels end in an illegal instruction."""
    found = f"{environment.cpu_model()}, {environment.usable_cores()} core(s) usable"
    flags = environment.cpu_flags()
    if platform.machine() == "x86_64" and flags and "avx" not in flags:
        return Check(
            "processor",
            "failed",
            f"{found}, without AVX",
            "TensorFlow's packages need AVX; use another machine, or pass the host's processor "
            "on to this virtual one.",
        )
    if environment.is_emulated("bfloat16"):
        found += "; it has no bfloat16, which is emulated and slow"
    return Check("processor", "ok", found)


def keras_configuration() -> Check:
    """The user's Keras configuration, which dlsuite doesn't follow where it differs."""
    from dlsuite.runtime import user_configuration

    differing = ", ".join(f"{key}={value}" for key, value in user_configuration().items())
    if not differing:
        return Check("Keras configuration", "ok", "TensorFlow, channels last, float32")
    return Check(
        "Keras configuration",
        "ok",
        f"{differing}: dlsuite uses TensorFlow, channels last and float32 all the same",
    )


def tensorflow() -> Check:
    """Whether TensorFlow and Keras can be imported."""
    from dlsuite.runtime import prepare

    if processor().status == "failed":
        return Check("TensorFlow", "failed", "not started: the processor can't run it")
    try:
        with warnings.catch_warnings():
            # the row on the Keras configuration says what it warns of
            warnings.simplefilter("ignore", UserWarning)
            prepare()
    # whatever a broken installation raises is what the user has to see
    except Exception as error:
        versions = {name: environment.installed_version(name) for name in _IMPORTED}
        pinned = [f"{name}=={version}" if version else name for name, version in versions.items()]
        remedy = f"{install_line(*pinned, again=True)}, or a new environment"
        return Check("TensorFlow", "failed", first_line(error), remedy)
    return Check("TensorFlow", "ok", "imports")


def memory() -> Check:
    """The memory of the machine or the job."""
    gigabytes = environment.memory_bytes() / 1e9
    if gigabytes < _LITTLE_MEMORY_GB:
        return Check(
            "memory",
            "warning",
            f"{gigabytes:.1f} GB",
            f"Ask for {_LITTLE_MEMORY_GB} GB or more, or set data.memory_gb = 0.",
        )
    return Check("memory", "ok", f"{gigabytes:.1f} GB")


def run_folder(folder: Path) -> Check:
    """Whether runs can be written where they go by default."""
    return _writable("run folder", folder, "Change to a folder of your own, or use --run-dir.")


def dataset_folder() -> Check:
    """Whether tensorflow-datasets can write the datasets it prepares."""
    folder = os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets"
    remedy = "Set TFDS_DATA_DIR to a folder that you may write to."
    return _writable("dataset folder", Path(folder), remedy)


def _writable(name: str, folder: Path, remedy: str) -> Check:
    folder = folder.expanduser().absolute()
    # os.path's: a Path's own raises where a folder above may not be looked into
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not os.path.isdir(existing) or not os.access(existing, os.W_OK | os.X_OK):
        return Check(name, "warning", f"{folder} can't be written", remedy)
    free = shutil.disk_usage(existing).free / 1e9
    if free < _LITTLE_DISK_GB:
        return Check(name, "warning", f"{folder}: {free:.1f} GB free", f"Make room. {remedy}")
    return Check(name, "ok", f"{folder}: {free:.0f} GB free")


def extras() -> Iterator[Check]:
    """The optional features: whether installed, and how to."""
    for extra in importlib.metadata.metadata("dlsuite").get_all("Provides-Extra") or []:
        if environment.unmet_requirements("dlsuite", extra):
            yield Check(
                f"optional: {extra}",
                "absent",
                "not installed",
                f"where you need it: pip install 'dlsuite[{extra}]'",
            )
        else:
            yield Check(f"optional: {extra}", "ok", "installed")
