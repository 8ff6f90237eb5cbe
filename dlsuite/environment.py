"""What a run was computed with: the machine, the versions, the devices.

Nothing here imports TensorFlow unless it is asked for devices.
"""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dlsuite.errors import DlsuiteError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# the ones whose version can change what a run computes
PACKAGES = ("dlsuite", "tensorflow", "keras", "numpy", "tensorflow-datasets")
# settings of the surroundings that reach TensorFlow, Keras or the GPU
_VARIABLES = re.compile(
    r"(TF_|KERAS_|XLA_|OMP_|ONEDNN_|CUDA_|NVIDIA_(?!REQUIRE_)|NCCL_).*|TFDS_DATA_DIR|LD_LIBRARY_PATH|SLURM_JOB_ID"
)

# any of them multiplies in that precision
_OF_PRECISION = {
    "bfloat16": {"avx512_bf16", "amx_bf16"},
    "float16": {"avx512_fp16", "amx_fp16"},
}
_VECTOR_INSTRUCTIONS = (
    *("avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16"),
)


def describe(*, devices: bool = True) -> dict[str, Any]:
    """Returns the surroundings of a run as plain values for JSON.

    Keys are ``python``, ``os``, ``cpu``, ``cpu_instructions`` (for vectors, see
    `vector_instructions`), ``cores`` (usable by this process), ``memory_gb`` (of the machine, or
    of the job where that is less), ``versions``, ``variables``, and with devices ``gpus`` (a list
    of name and compute capability), ``onednn`` (whether TensorFlow takes oneDNN's kernels) and
    ``tensorflow_build``.

    Args:
        devices: import TensorFlow and ask it.
    """
    described: dict[str, Any] = {
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu": cpu_model(),
        "cpu_instructions": vector_instructions(),
        "cores": usable_cores(),
        "memory_gb": round(memory_bytes() / 1e9, 1),
        "versions": {name: installed_version(name) for name in PACKAGES},
        "variables": {
            name: value for name, value in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)
        },
    }
    if devices:
        described |= {
            "gpus": gpus(),
            "onednn": takes_onednn(),
            "tensorflow_build": tensorflow_build(),
        }
    return described


def installed_version(package: str) -> str | None:
    """Returns the version of an installed distribution, or None, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def usable_cores() -> int:
    """Returns how many cores this process may use, or the job's share (cgroup 2) if less."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    shares = []
    for limit in _cgroup_limits("cpu.max"):
        quota, _, period = limit.partition(" ")
        if quota.isdecimal() and period.isdecimal():
            shares.append(max(1, int(quota) // int(period)))
    return min([cores, *shares])


def worker() -> tuple[int, int]:
    """Returns this process's number among the workers that train together, and their count.

    (0, 1) where it is on its own. The workers are those of ``TF_CONFIG``, or the tasks of a step
    of Slurm's ``srun``; the first is the one that ``TF_CONFIG`` calls chief, if any.

    Raises:
        DlsuiteError: a ``TF_CONFIG`` that can't be read.
    """
    text = os.environ.get("TF_CONFIG")
    if text:
        try:
            cluster, task = json.loads(text).get("cluster", {}), json.loads(text).get("task", {})
            before = 0
            if "chief" in cluster and task.get("type") != "chief":
                before = len(cluster["chief"])
            return before + int(task.get("index", 0)), max(1, sum(map(len, cluster.values())))
        except (ValueError, AttributeError, TypeError):
            raise DlsuiteError(
                "TF_CONFIG must be a JSON object with the tables cluster and task. "
                f"Received: {text!r}. Set it as TensorFlow's guide to multi-worker training says, "
                "or unset it."
            ) from None
    # SLURM_PROCID is there under srun alone; a single process in an allocation is on its own
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if "SLURM_PROCID" in os.environ and tasks > 1:
        return int(os.environ["SLURM_PROCID"]), tasks
    return 0, 1


def cpu_model() -> str:
    """Returns the processor's name, or its architecture where the system has no name for it."""
    return _cpu_information("model name") or platform.machine()


def cpu_flags() -> set[str]:
    """Returns the instruction sets that an x86 Linux machine lists, elsewhere none."""
    return set(_cpu_information("flags").split())


def vector_instructions() -> list[str]:
    """Returns the sets by which libraries choose the kernels of a CPU, as far as it has them.

    Processors of one name may differ in them, virtual ones above all, and with them speed and the
    last bits of the numbers do.
    """
    flags = cpu_flags()
    return [name for name in _VECTOR_INSTRUCTIONS if name in flags]


def is_emulated(precision: str) -> bool:
    """Whether the CPU is known to have no instructions for products of that precision."""
    ours = _OF_PRECISION.get(precision)
    if ours is None:
        return False
    flags = cpu_flags()
    return bool(flags and not ours & flags)


def _cpu_information(key: str) -> str:
    text = _read(Path("/proc/cpuinfo"))
    found = re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def memory_bytes() -> int:
    """Returns the memory [bytes] of the machine, or the job's limit (cgroup 2) where it is less."""
    if not hasattr(os, "sysconf"):  # no POSIX, no number
        return 0
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = _cgroup_limits("memory.max")
    return min([total, *(int(limit) for limit in limits if limit.isdecimal())])


def _cgroup_limits(name: str) -> list[str]:
    """What a file of that name says in this process's cgroup and in those above it."""
    found = re.search(r"^0::(/.*)$", _read(Path("/proc/self/cgroup")), re.MULTILINE)
    group = Path("/sys/fs/cgroup") / (found[1].strip("/") if found else "")
    return [_read(folder / name).strip() for folder in (group, *group.parents)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def gpus() -> list[dict[str, str]]:
    """Returns name and compute capability of the GPUs that TensorFlow sees."""
    from dlsuite.runtime import prepare

    prepare()
    import tensorflow as tf

    found = []
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get("compute_capability", ())
        found.append(
            {
                "name": details.get("device_name", gpu.name),
                "compute_capability": ".".join(map(str, capability)),
            }
        )
    return found


def takes_onednn() -> bool | None:
    """Returns whether TensorFlow takes oneDNN's kernels on a CPU, None where it doesn't say."""
    from dlsuite.runtime import prepare

    prepare()
    try:
        # not public: a later version may have it elsewhere
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled
    except ImportError:
        return None
    return bool(IsMklEnabled())


def tensorflow_build() -> dict[str, Any]:
    """Returns the CUDA and cuDNN versions that TensorFlow was built for, null without CUDA."""
    from dlsuite.runtime import prepare

    prepare()
    import tensorflow as tf

    build: Mapping[str, Any] = tf.sysconfig.get_build_info()
    return {
        "is_cuda_build": bool(build.get("is_cuda_build")),
        "cuda_version": build.get("cuda_version"),
        "cudnn_version": build.get("cudnn_version"),
    }


def nvidia_driver() -> str | None:
    """Returns the version of the NVIDIA driver that is loaded, or None."""
    # NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 ...
    found = re.search(r"Module\s.*?(\d+\.\d+[.\d]*)", _read(Path("/proc/driver/nvidia/version")))
    if found:
        return found[1]
    # inside some containers and under WSL the file is missing and the program is there
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.split()[0] if asked.returncode == 0 and asked.stdout.strip() else None


def requirements(package: str, extra: str = "") -> list["Requirement"]:
    """Returns what an installed distribution asks for here; with an extra, what that adds."""
    from packaging.requirements import Requirement

    made = [Requirement(line) for line in importlib.metadata.requires(package) or []]
    if not extra:
        return [one for one in made if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [
        one
        for one in made
        if one.marker is not None
        and one.marker.evaluate({"extra": extra})
        and not one.marker.evaluate({"extra": ""})
    ]


class Unmet(NamedTuple):
    """A requirement that is missing or of a wrong version.

    Attributes:
        requirement: as pip takes it, such as ``keras<3.16,>=3.15``.
        installed: the version that there is.
    """

    requirement: str
    installed: str | None

    def __str__(self) -> str:
        return f"{self.requirement} (installed: {self.installed or 'no'})"


def unmet_requirements(package: str, extra: str = "") -> list[Unmet]:
    """Returns which of a distribution's requirements are missing or of a wrong version.

    Extras of requirements, such as ``tensorflow[and-cuda]``, are followed. With an extra only its
    own requirements are looked at.
    """
    unmet = []
    for one in requirements(package, extra):
        version = installed_version(one.name)
        if version is None or not one.specifier.contains(version, prereleases=True):
            unmet.append(Unmet(f"{one.name}{one.specifier}", version))
            continue
        for inner in sorted(one.extras):
            unmet += unmet_requirements(one.name, inner)
    return unmet
