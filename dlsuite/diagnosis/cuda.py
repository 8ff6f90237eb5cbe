"""Checks of GPUs: NVIDIA's driver, the CUDA packages and each of their libraries."""

import ctypes
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from dlsuite import environment
from dlsuite.diagnosis.check import Check

# CUDA 12 runs on this driver or later on Linux, by its minor-version compatibility.
_OLDEST_DRIVER = (525, 60, 13)
# Opens each library and says so, its name first: where one takes the process down, that tells
# whose fault it was.
_OPEN = """
import ctypes, json, sys
for path in json.load(sys.stdin):
    print(json.dumps(path), flush=True)
    try:
        ctypes.CDLL(path)
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)
"""
# NVBLAS stands in for other BLAS libraries, wants a configuration and is nothing to TensorFlow.
_LEFT_OUT = ("libnvblas",)
_REMEDY_LIBRARIES = "LD_LIBRARY_PATH must not name them: unset it, or take the folder out."


def packages() -> Iterator[Check]:
    """Each CUDA package against what TensorFlow's own metadata asks for.

    One row for all that are right, and one for each that is missing or of a wrong version, with
    its install line. Without any of them there is nothing to check: TensorFlow uses the CPU, or a
    CUDA of the system, as in many containers.
    """
    asked = _requirements()
    installed = {one.name: environment.installed_version(one.name) for one in asked}
    driver = environment.nvidia_driver()
    if driver is None and not any(installed.values()):
        yield Check("CUDA packages", "ok", "none installed, and no NVIDIA driver: runs use the CPU")
        return
    if not any(installed.values()):
        found = "none installed: TensorFlow takes the system's CUDA, where that fits"
        remedy = "where it sees no GPU: pip install 'dlsuite[gpu]'"
        yield Check("CUDA packages", "absent", found, remedy)
        return
    right = 0
    for one in asked:
        version = installed[one.name]
        if version is not None and one.specifier.contains(version, prereleases=True):
            right += 1
            continue
        found = f"{version or 'not installed'}, TensorFlow asks for {one.specifier}"
        remedy = f"pip install '{one.name}{one.specifier}'"
        yield Check(f"CUDA package {one.name}", "warning", found, remedy)
    if right:
        yield Check("CUDA packages", "ok", f"{right} of {len(asked)} as TensorFlow asks for them")


def libraries() -> Iterator[Check]:
    """Opens each library of the CUDA packages and the driver's, and names those that fail.

    In a process of its own, which a damaged library may take down. Libraries of the same name in
    LD_LIBRARY_PATH, which come before the packages' own, are named too.
    """
    files = {path: name for name in _package_names() for path in _libraries_of(name)}
    paths = [str(path) for path in files]
    if environment.nvidia_driver() is not None:
        paths.insert(0, "libcuda.so.1")
    if not paths:
        return
    failed = _open(paths)
    for path, reason in failed.items():
        if path == "libcuda.so.1":
            remedy = "It comes with the driver: install the driver, or give the container its GPUs."
        else:
            remedy = f"pip install --force-reinstall --no-deps {_pinned(files[Path(path)])}"
        yield Check(f"CUDA library {Path(path).name}", "warning", reason, remedy)
    if len(failed) < len(paths):
        opened = f"{len(paths) - len(failed)} of {len(paths)} open"
        yield Check("CUDA libraries", "ok", opened)
    for folder in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
        names = sorted(
            path.name for path in files if folder and os.path.exists(Path(folder) / path.name)
        )
        if names:
            found = f"{folder} holds {', '.join(names[:4])}" + (", ..." if len(names) > 4 else "")
            yield Check("LD_LIBRARY_PATH", "warning", found, _REMEDY_LIBRARIES)


def cudnn() -> Check:
    """The version of cuDNN that opens, against the one that TensorFlow was built for."""
    built = str(environment.tensorflow_build()["cudnn_version"] or "")
    try:
        number = ctypes.CDLL(f"libcudnn.so.{built.partition('.')[0]}").cudnnGetVersion()
    except (OSError, AttributeError) as error:
        remedy = "pip install --force-reinstall 'tensorflow[and-cuda]'"
        return Check("cuDNN", "warning", str(error), remedy)
    # 90300 is 9.3.0 (from version 9 on)
    version = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return Check("cuDNN", "ok", f"{version}; TensorFlow was built for {built}")


def gpu(seen: int) -> Check:
    """Whether TensorFlow sees the GPUs that the driver has, and if not, why.

    Args:
        seen: how many it sees.
    """
    if seen:
        names = ", ".join(
            f"{found['name']} (compute capability {found['compute_capability']})"
            for found in environment.gpus()
        )
        return Check("GPU", "ok", names)
    driver = environment.nvidia_driver()
    if driver is None:
        return Check("GPU", "ok", "no NVIDIA driver: runs use the CPU")
    found = f"NVIDIA driver {driver}, but TensorFlow sees no GPU"
    numbers = tuple(int(part) for part in driver.split(".") if part.isdecimal())
    if numbers < _OLDEST_DRIVER:
        oldest = ".".join(map(str, _OLDEST_DRIVER))
        remedy = f"Update the driver to {oldest} or later."
    elif os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        hidden = os.environ["CUDA_VISIBLE_DEVICES"]
        remedy = f"CUDA_VISIBLE_DEVICES={hidden!r} hides it: unset it, or name a GPU."
    elif not environment.tensorflow_build()["is_cuda_build"]:
        remedy = "TensorFlow is a build for CPUs: pip install 'dlsuite[gpu]' in a new environment"
    elif missing := environment.unmet_requirements("tensorflow", "and-cuda"):
        found += "; missing or of another version: " + ", ".join(missing)
        remedy = "pip install 'dlsuite[gpu]'"
    elif path := os.environ.get("LD_LIBRARY_PATH"):
        remedy = f"LD_LIBRARY_PATH={path} may bring other CUDA libraries: unset it and try again."
    else:
        remedy = (
            "TF_CPP_MIN_LOG_LEVEL=0 python -c 'import tensorflow as tf; "
            "print(tf.config.list_physical_devices())' says what fails to load"
        )
    return Check("GPU", "warning", found, remedy)


def _requirements() -> list:
    """What TensorFlow's extra "and-cuda" asks for."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires("tensorflow") or []
    except importlib.metadata.PackageNotFoundError:  # a build of another name, for CPUs
        return []
    made = [Requirement(line) for line in lines]
    return [
        one
        for one in made
        if one.marker is not None
        and one.marker.evaluate({"extra": "and-cuda"})
        and not one.marker.evaluate({"extra": ""})
    ]


def _package_names() -> list[str]:
    return [one.name for one in _requirements() if environment.installed_version(one.name)]


def _pinned(package: str) -> str:
    return f"{package}=={environment.installed_version(package)}"


def _libraries_of(package: str) -> list[Path]:
    """The shared libraries that a package brought, stubs for linkers left out."""
    found = importlib.metadata.files(package) or []
    return [
        Path(file.locate())
        for file in found
        if re.search(r"\.so(\.\d+)*$", file.name)
        and "stubs" not in file.parts
        and not file.name.startswith(_LEFT_OUT)
    ]


def _open(paths: list[str]) -> Mapping[str, str]:
    """Returns which libraries don't open, and why."""
    command = [sys.executable, "-c", _OPEN]
    done = subprocess.run(command, input=json.dumps(paths), capture_output=True, text=True)
    failed: dict[str, str] = {}
    last = ""
    for said in map(json.loads, done.stdout.splitlines()):
        if isinstance(said, str):
            last = said
        else:
            failed[last] = said["error"]
    if done.returncode:
        failed[last] = f"opening it ended the process ({done.returncode})"
        after = paths[paths.index(last) + 1 :]
        if after:
            failed |= _open(after)
    return failed
