"""What the processors of this machine are: cores, clock, memory, bandwidth, peak.

Cores, clock and memory are read from the system and, of a GPU, from NVIDIA's driver; bandwidth and
peak are measured by a copy and a matrix product (`dlsuite.studies.measure`).
"""

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlsuite import environment
from dlsuite.errors import DlsuiteError
from dlsuite.studies.benchmark import measure_device

# Attributes of the CUDA driver's cuDeviceGetAttribute (cuda.h, CUdevice_attribute).
_CLOCK_KHZ, _MULTIPROCESSORS = 13, 16
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
# Float32 units of a multiprocessor by compute capability (CUDA C++ Programming Guide, "Arithmetic
# Instructions", results a clock of 32-bit add and multiply); newer ones unknown here have none.
_UNITS = {
    "6.0": 64,
    "6.1": 128,
    "7.0": 64,
    "7.5": 64,
    "8.0": 64,
    "8.6": 128,
    "8.9": 128,
    "9.0": 128,
    "10.0": 128,
    "12.0": 128,
}


@dataclass(frozen=True)
class Processor:
    """A CPU or GPU; None is what could not be found out.

    Attributes:
        device: ``cpu`` or ``gpu:N``.
        name: the maker's.
        cores: of a CPU those this process may use; of a GPU its float32 units.
        clock_hz: the highest.
        memory_bytes: of the machine or job, or of the GPU.
    """

    device: str
    name: str
    cores: int | None
    clock_hz: float | None
    memory_bytes: int | None


def hardware_table(
    devices: Sequence[str], *, prices: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Returns a row for each device: `Processor`'s fields and what was measured.

    ``bandwidth_bytes_per_s`` and ``peak_flops_per_s`` are measured in float32; ``price`` is what
    was given, None without.

    Args:
        devices: ``cpu`` and ``gpu:N``.
        prices: by device, as typed.

    Raises:
        DlsuiteError: a price for a device that is not in the table.
    """
    prices = prices or {}
    for device in prices:
        if device not in devices:
            raise DlsuiteError(
                f"A price belongs to a device of the table. Received: {device!r}. "
                f"Devices: {', '.join(devices)}."
            )
    return [
        asdict(describe(device)) | measure_device(device) | {"price": prices.get(device)}
        for device in devices
    ]


def describe(device: str) -> Processor:
    """Returns what the system says of a device, ``cpu`` or ``gpu:N``."""
    if device == "cpu":
        return Processor(
            "cpu",
            environment.cpu_model(),
            environment.usable_cores(),
            _cpu_clock(),
            environment.memory_bytes() or None,
        )
    return _gpu(device, int(device.partition(":")[2] or 0))


def _cpu_clock() -> float | None:
    """The highest clock [Hz] that Linux knows of, else the present one."""
    try:
        khz = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").read_text()
        return float(khz) * 1e3
    except (OSError, ValueError):
        pass
    try:
        found = re.search(r"^cpu MHz\s*:\s*([\d.]+)", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        return None
    return float(found[1]) * 1e6 if found else None


def load_driver() -> ctypes.CDLL | None:
    """Returns NVIDIA's driver library, ready to be asked, or None."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def _gpu(device: str, number: int) -> Processor:
    driver = load_driver()
    handle = ctypes.c_int()
    if driver is None or driver.cuDeviceGet(ctypes.byref(handle), number):
        return Processor(device, "unknown", None, None, None)

    def attribute(which: int) -> int | None:
        value = ctypes.c_int()
        failed = driver.cuDeviceGetAttribute(ctypes.byref(value), which, handle)
        return None if failed else value.value

    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    driver.cuDeviceGetName(name, len(name), handle)
    has_memory = driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle) == 0
    units = _UNITS.get(f"{attribute(_CAPABILITY_MAJOR)}.{attribute(_CAPABILITY_MINOR)}")
    multiprocessors, khz = attribute(_MULTIPROCESSORS), attribute(_CLOCK_KHZ)
    return Processor(
        device,
        name.value.decode(errors="replace"),
        units * multiprocessors if units and multiprocessors else None,
        khz * 1e3 if khz else None,
        memory.value if has_memory else None,
    )
