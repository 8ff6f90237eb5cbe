"""CUDA packages and libraries, with planted faults: wrong versions, broken files."""

import _ctypes
import ctypes
import os
import shutil
import subprocess
import sys

import pytest

from dlsuite import environment
from dlsuite.diagnosis import cuda

# What the made-up TensorFlow asks for.
ASKED = {"nvidia-cudnn-cu12": ">=9.3,<10", "nvidia-cublas-cu12": ">=12.5,<13"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages that Python finds first: a TensorFlow with the requirements above."""
    lines = [f'Requires-Dist: {name}{spec}; extra == "and-cuda"' for name, spec in ASKED.items()]
    lines += ["Requires-Dist: numpy>=1.26"]
    write_package(tmp_path, "tensorflow", "2.21.0", lines=lines)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(environment, "nvidia_driver", lambda: None)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    return tmp_path


def write_package(site, name, version, *, lines=(), files=()):
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    about = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines]
    (folder / "METADATA").write_text("\n".join(about) + "\n")
    (folder / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def write_library(site, package, version, file, source=_ctypes.__file__):
    """A package with one library: by default a copy of one that opens."""
    path = site / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        path.write_bytes(source)
    else:
        shutil.copyfile(source, path)
    write_package(site, package, version, files=[file])
    return path


def test_nothing_to_check_on_a_machine_for_cpus(site):
    (check,) = cuda.packages()
    assert (check.status, check.result[:14]) == ("ok", "none installed")
    assert list(cuda.libraries()) == []


def test_a_driver_without_packages_may_have_the_systems_cuda(site, monkeypatch):
    monkeypatch.setattr(environment, "nvidia_driver", lambda: "550.54.15")
    (check,) = cuda.packages()
    assert (check.status, check.result[:14]) == ("absent", "none installed")
    assert check.remedy.endswith("pip install 'dlsuite[gpu]'")


def test_a_package_that_is_missing_beside_others_is_named_with_its_install_line(site, monkeypatch):
    monkeypatch.setattr(environment, "nvidia_driver", lambda: "550.54.15")
    write_package(site, "nvidia-cublas-cu12", "12.6.4")
    missing, right = cuda.packages()
    assert (missing.name, missing.status) == ("CUDA package nvidia-cudnn-cu12", "warning")
    assert missing.result == "not installed, TensorFlow asks for <10,>=9.3"
    assert missing.remedy == "pip install 'nvidia-cudnn-cu12<10,>=9.3'"
    assert (right.status, right.result) == ("ok", "1 of 2 as TensorFlow asks for them")


def test_a_package_of_the_wrong_version_is_named_with_its_install_line(site):
    write_package(site, "nvidia-cudnn-cu12", "8.9.7")
    write_package(site, "nvidia-cublas-cu12", "12.6.4")
    wrong, right = cuda.packages()
    assert wrong.name == "CUDA package nvidia-cudnn-cu12"
    assert wrong.result == "8.9.7, TensorFlow asks for <10,>=9.3"
    assert wrong.remedy == "pip install 'nvidia-cudnn-cu12<10,>=9.3'"
    assert (right.status, right.result) == ("ok", "1 of 2 as TensorFlow asks for them")


def test_a_library_that_does_not_open_is_named(site):
    write_library(
        site, "nvidia-cudnn-cu12", "9.3.1", "nvidia/cudnn/lib/libcudnn.so.9", b"\x7fELF broken"
    )
    write_library(site, "nvidia-cublas-cu12", "12.6.4", "nvidia/cublas/lib/libcublas.so.12")
    broken, others = cuda.libraries()
    assert broken.name == "CUDA library libcudnn.so.9"
    assert broken.status == "warning"
    assert "libcudnn.so.9" in broken.result
    assert broken.remedy == "pip install --force-reinstall --no-deps nvidia-cudnn-cu12==9.3.1"
    assert (others.status, others.result) == ("ok", "1 of 2 open")


def test_stubs_and_other_files_are_not_opened(site):
    files = ["nvidia/lib/stubs/libcuda.so", "nvidia/lib/libnvblas.so.12", "nvidia/lib/notes.so.txt"]
    write_package(site, "nvidia-cublas-cu12", "12.6.4", files=files)
    assert list(cuda.libraries()) == []


def test_a_library_that_takes_the_process_down_is_named_and_the_rest_still_opened(site):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("g++")
    if compiler is None:
        pytest.skip("needs a C compiler to make a library that aborts")
    source = site / "abort.c"
    source.write_text(
        "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }\n"
    )
    built = site / "libabort.so"
    subprocess.run([compiler, "-shared", "-fPIC", source, "-o", built], check=True)
    write_library(site, "nvidia-cudnn-cu12", "9.3.1", "cudnn/libcudnn.so.9", built)
    write_library(site, "nvidia-cublas-cu12", "12.6.4", "cublas/libcublas.so.12")
    broken, others = cuda.libraries()
    assert broken.name == "CUDA library libcudnn.so.9"
    assert broken.result == "opening it ended the process (-6)"
    assert others.result == "1 of 2 open"


def test_a_driver_whose_library_is_missing(site, monkeypatch):
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        pass
    else:
        pytest.skip("this machine has NVIDIA's driver")
    monkeypatch.setattr(environment, "nvidia_driver", lambda: "550.54.15")
    (check,) = cuda.libraries()
    assert check.name == "CUDA library libcuda.so.1"
    assert "cannot open shared object file" in check.result
    assert check.remedy.startswith("It comes with the driver")


def test_libraries_that_come_before_the_packages_own(site, monkeypatch):
    path = write_library(site, "nvidia-cublas-cu12", "12.6.4", "cublas/libcublas.so.12")
    other = site / "cuda-11"
    other.mkdir()
    shutil.copyfile(path, other / path.name)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{site / 'none'}:{other}")
    _, conflict = cuda.libraries()
    assert (conflict.name, conflict.status) == ("LD_LIBRARY_PATH", "warning")
    assert conflict.result == f"{other} holds libcublas.so.12"
    # the packages' own folders hold no others
    monkeypatch.setenv("LD_LIBRARY_PATH", str(path.parent))
    assert len(list(cuda.libraries())) == 1
    path.unlink()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(other))
    assert [check.name for check in cuda.libraries()][-1] == "LD_LIBRARY_PATH"


def test_cusolver_is_open_before_tensorflow_looks_for_it(site):
    """Whose wheel doesn't look in its package's folder."""
    file = "nvidia/cusolver/lib/libcusolver.so.11"
    path = write_library(site, "nvidia-cusolver-cu12", "11.7.5", file)
    # as TensorFlow begins to look for devices
    code = """if True:
        import tensorflow as tf
        from dlsuite.runtime import prepare
        tf.config.list_physical_devices = lambda kind: print(open("/proc/self/maps").read()) or ()
        prepare()
    """
    program = site / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 550.54.15\n")
    program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(site), "PATH": f"{program.parent}:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(path) in done.stdout


def test_cudnn_that_does_not_open(site, monkeypatch):
    monkeypatch.setattr(environment, "tensorflow_build", lambda: {"cudnn_version": "77"})
    check = cuda.cudnn()
    assert check.status == "warning"
    assert "libcudnn.so.77" in check.result
    assert check.remedy == ("pip install --force-reinstall --no-deps 'nvidia-cudnn-cu12<10,>=9.3'")


@pytest.fixture
def opened(monkeypatch):
    """Returns a function that sets the cuDNN that opens, by the number it gives itself."""
    monkeypatch.setattr(environment, "tensorflow_build", lambda: {"cudnn_version": "9"})

    def is_number(number):
        library = type("Library", (), {"cudnnGetVersion": lambda self: number})
        monkeypatch.setattr(cuda.ctypes, "CDLL", lambda name: library())

    return is_number


@pytest.mark.parametrize(
    ("number", "status", "version"),
    [(90300, "ok", "9.3.0"), (91402, "ok", "9.14.2"), (90299, "warning", "9.2.99"),
     (8907, "warning", "0.89.7"), (100300, "warning", "10.3.0")],
)  # fmt: skip
def test_cudnn_is_compared_with_what_tensorflow_asks_for(site, opened, number, status, version):
    """Its major version, and at least its minor one: asked for is 9.3."""
    opened(number)
    check = cuda.cudnn()
    assert (check.status, check.result.partition(";")[0]) == (status, version)
    if status == "warning":
        assert check.result.endswith("asks for <10,>=9.3")
        assert "'nvidia-cudnn-cu12<10,>=9.3'" in check.remedy


def test_a_cudnn_that_comes_before_the_right_package(site, opened):
    write_package(site, "nvidia-cudnn-cu12", "9.5.0")
    opened(90100)
    assert "LD_LIBRARY_PATH must not name them" in cuda.cudnn().remedy


def test_cudnn_says_its_version_where_nothing_is_known_of_what_is_asked_for(opened, monkeypatch):
    monkeypatch.setattr(cuda, "_requirements", lambda: [])
    opened(90301)
    check = cuda.cudnn()
    assert (check.status, check.result) == ("ok", "9.3.1; TensorFlow was built for 9")
