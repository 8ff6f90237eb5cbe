"""`dlsuite doctor`: check this machine and installation."""

import importlib.metadata
import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click
from rich.markup import escape

from dlsuite import environment
from dlsuite.cli.console import err, json_option, out, print_json, table

# CUDA 12 runs on this driver or later on Linux, by its minor-version compatibility.
_OLDEST_DRIVER = (525, 60, 13)
_LITTLE_DISK_GB = 2
_LITTLE_MEMORY_GB = 3
_MARKS = {
    "ok": "[green]ok[/green]",
    "warning": "[yellow]warning[/yellow]",
    "failed": "[red]failed[/red]",
}


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: what was looked at.
        status: ``failed`` means that dlsuite can't work, ``warning`` that something is amiss.
        result: what was found.
        remedy: what to do; empty where nothing is to be done.
    """

    name: str
    status: Literal["ok", "warning", "failed"]
    result: str
    remedy: str = ""


@click.command()
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check this machine and installation.

    Looks at versions, devices, GPU libraries, disk and memory, and computes a little on each
    device. Exits with 1 if something essential fails.

    \b
    dlsuite doctor
    dlsuite doctor --json
    """
    with err.status("Checking (TensorFlow takes some seconds to start)"):
        checks = list(all_checks())
        works = all(check.status != "failed" for check in checks)
        started = any(check.name == "TensorFlow" and check.status == "ok" for check in checks)
        described = environment.describe(devices=started)
    if as_json:
        print_json(
            {"ok": works, "checks": [asdict(check) for check in checks], "environment": described}
        )
    else:
        shown = table("check", "", "result", "what to do")
        for check in checks:
            shown.add_row(
                check.name, _MARKS[check.status], escape(check.result), escape(check.remedy)
            )
        out.print(shown)
    if not works:
        ctx.exit(1)


def all_checks() -> Iterator[Check]:
    """Yields every check; those on devices only where TensorFlow starts."""
    yield python()
    yield packages()
    yield processor()
    yield keras_configuration()
    started = tensorflow()
    yield started
    if started.status == "ok":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        yield gpu(len(gpus))
        for device in gpus:
            # a check must not take all of the memory from whoever uses the GPU
            tf.config.experimental.set_memory_growth(device, True)
        for name in ["CPU:0", *(f"GPU:{number}" for number in range(len(gpus)))]:
            yield arithmetic(name)
    yield memory()
    yield run_folder(Path("runs"))
    yield dataset_folder()
    yield from extras()


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
            "not within dlsuite's bounds: " + "; ".join(unmet),
            "pip install --upgrade dlsuite",
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
        return Check(
            "TensorFlow",
            "failed",
            _first_line(error),
            "pip install --force-reinstall dlsuite, in a new environment if that does not help",
        )
    return Check("TensorFlow", "ok", "imports")


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


def arithmetic(device: str) -> Check:
    """A matrix product, a convolution and its gradient on a device, against known values.

    Args:
        device: ``CPU:0`` or ``GPU:N``.
    """
    import numpy as np
    import tensorflow as tf

    name = f"arithmetic on {device}"
    try:
        with tf.device(f"/{device}"):
            product = tf.matmul(tf.ones((64, 64)), tf.ones((64, 64)))
            kernel = tf.ones((3, 3, 2, 4))
            with tf.GradientTape() as tape:
                tape.watch(kernel)
                convolved = tf.nn.conv2d(tf.ones((1, 8, 8, 2)), kernel, 1, "VALID")
                total = tf.reduce_sum(convolved)
            gradient = tape.gradient(total, kernel)
        # TensorFlow goes to the CPU without a word where a device can't be had
        if not convolved.device.endswith(device):
            raise RuntimeError(f"computed on {convolved.device} instead")
        # 3 x 3 x 2 ones under each kernel; each weight meets 6 x 6 places. A GPU may multiply in
        # TensorFloat-32 or by Winograd's transform, good to about 1e-3.
        right = all(
            np.allclose(got.numpy(), expected, rtol=1e-3)
            for got, expected in ((product, 64), (convolved, 18), (gradient, 36))
        )
    # a library that doesn't load shows as one of many exceptions
    except Exception as error:
        remedy = "" if "CPU" in device else "pip install 'dlsuite[gpu]', or train with --device cpu"
        return Check(name, "failed", _first_line(error), remedy)
    if not right:
        return Check(name, "failed", "wrong results", "Don't trust this device; try another one.")
    return Check(name, "ok", "matrix product, convolution and gradient are right")


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
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
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
                f"optional: {extra}", "ok", "not installed", f"pip install 'dlsuite[{extra}]'"
            )
        else:
            yield Check(f"optional: {extra}", "ok", "installed")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
