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
from dlsuite.diagnosis.check import Check, install_line

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
# pip takes the installed dlsuite, and gets the packages that its extra names.
_INSTALL = install_line("dlsuite[gpu]")
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
        remedy = f"where it sees no GPU: {_INSTALL}"
        yield Check("CUDA packages", "absent", found, remedy)
        return
    right = 0
    for one in asked:
        version = installed[one.name]
        if version is not None and one.specifier.contains(version, prereleases=True):
            right += 1
            continue
        found = f"{version or 'not installed'}, TensorFlow asks for {one.specifier}"
        remedy = install_line(f"{one.name}{one.specifier}")
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
            remedy = install_line(_pinned(files[Path(path)]), again=True)
        yield Check(f"CUDA library {Path(path).name}", "warning", reason, remedy)
    if len(failed) < len(paths):
        opened = f"{len(paths) - len(failed)} of {len(paths)} open"
        yield Check("CUDA libraries", "ok", opened)
    for folder in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
        names = sorted(path.name for path in files if folder and _is_another(folder, path))
        if names:
            found = f"{folder} holds {', '.join(names[:4])}" + (", ..." if len(names) > 4 else "")
            yield Check("LD_LIBRARY_PATH", "warning", found, _REMEDY_LIBRARIES)


def _is_another(folder: str, path: Path) -> bool:
    """Whether a folder holds another file of that name."""
    other = Path(folder) / path.name
    return other.exists() and not (path.exists() and other.samefile(path))


def cudnn() -> Check:
    """The version of cuDNN that opens, against the one that TensorFlow asks for.

    TensorFlow refuses one of another major version or an older minor one than it was built with.
    """
    from packaging.version import Version

    built = str(environment.tensorflow_build()["cudnn_version"] or "")
    asked = next((one for one in _requirements() if "cudnn" in one.name), None)
    again = install_line(f"{asked.name}{asked.specifier}", again=True) if asked else _INSTALL
    try:
        number = ctypes.CDLL(f"libcudnn.so.{built.partition('.')[0]}").cudnnGetVersion()
    except (OSError, AttributeError) as error:
        return Check("cuDNN", "warning", str(error), again)
    # 90300 is 9.3.0 (from version 9 on)
    major, minor = number // 10000, number // 100 % 100
    found = f"{major}.{minor}.{number % 100}; TensorFlow was built for {built}"
    specifiers = asked.specifier if asked else ()
    bounds = [Version(one.version) for one in specifiers if one.operator == ">="]
    if all(major == least.major and minor >= least.minor for least in bounds):
        return Check("cuDNN", "ok", found)
    version = environment.installed_version(asked.name)
    if version is not None and asked.specifier.contains(version, prereleases=True):
        # the right package is there, and another library was opened
        again = f"Another cuDNN comes before that of {asked.name}. {_REMEDY_LIBRARIES}"
    return Check("cuDNN", "warning", f"{found} and asks for {asked.specifier}", again)


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
    if environment.nvidia_driver() is None:
        return Check("GPU", "ok", "no NVIDIA driver: runs use the CPU")
    return unseen()


def unseen() -> Check:
    """Why TensorFlow sees no GPU, for whom one should be there."""
    driver = environment.nvidia_driver()
    if driver is None:
        remedy = "Install NVIDIA's driver, or give the container its GPUs."
        return Check("GPU", "warning", "no NVIDIA driver, and TensorFlow sees no GPU", remedy)
    found = f"NVIDIA driver {driver}, but TensorFlow sees no GPU"
    numbers = tuple(int(part) for part in driver.split(".") if part.isdecimal())
    if numbers < _OLDEST_DRIVER:
        oldest = ".".join(map(str, _OLDEST_DRIVER))
        remedy = f"Update the driver to {oldest} or later."
    elif os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        hidden = os.environ["CUDA_VISIBLE_DEVICES"]
        remedy = f"CUDA_VISIBLE_DEVICES={hidden!r} hides it: unset it, or name a GPU."
    elif not environment.tensorflow_build()["is_cuda_build"]:
        remedy = (
            "TensorFlow is a build for CPUs: make a new environment, and there, in dlsuite's "
            "source folder, pip install '.[gpu]'"
        )
    elif missing := environment.unmet_requirements("tensorflow", "and-cuda"):
        found += "; missing or of another version: " + ", ".join(map(str, missing))
        remedy = _INSTALL
    elif broken := next((one for one in libraries() if one.status == "warning"), None):
        found += f"; {broken.name}: {broken.result}"
        remedy = broken.remedy
    elif unopened := _not_opened_by_tensorflow():
        found += f"; it can't open {', '.join(unopened)}"
        holders = [name for name in _package_names() if _holds(name, unopened)]
        remedy = install_line(*map(_pinned, holders), again=True) if holders else _INSTALL
    elif path := os.environ.get("LD_LIBRARY_PATH"):
        remedy = f"LD_LIBRARY_PATH={path} may bring other CUDA libraries: unset it and try again."
    else:
        remedy = (
            "where TensorFlow looked for devices before dlsuite, as in a notebook, start anew and "
            "use dlsuite first; TF_CPP_MIN_LOG_LEVEL=0 TF_CPP_MAX_VLOG_LEVEL=1 python -c 'from "
            "dlsuite.runtime import prepare; prepare()' says what fails to load"
        )
    return Check("GPU", "warning", found, remedy)


def fault() -> Check | None:
    """The first that is amiss of what a GPU computes with: packages, libraries, cuDNN."""

    def checks() -> Iterator[Check]:
        yield from packages()
        yield from libraries()
        yield cudnn()

    return next((one for one in checks() if one.status == "warning"), None)


def _not_opened_by_tensorflow() -> list[str]:
    """The libraries that TensorFlow asks for by their names alone and doesn't find."""
    loud = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_MAX_VLOG_LEVEL": "1"}
    command = [sys.executable, "-c", "from dlsuite.runtime import prepare; prepare()"]
    done = subprocess.run(command, env=loud, capture_output=True, text=True, errors="replace")
    return sorted(set(re.findall(r"Could not load dynamic library '([^']+)'", done.stderr)))


def _holds(package: str, names: list[str]) -> bool:
    return any(path.name in names for path in _libraries_of(package))


def _requirements() -> list:
    """What TensorFlow's extra "and-cuda" asks for."""
    try:
        return environment.requirements("tensorflow", "and-cuda")
    except importlib.metadata.PackageNotFoundError:  # a build of another name, for CPUs
        return []


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
