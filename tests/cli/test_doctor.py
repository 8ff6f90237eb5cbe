"""What `dlsuite doctor` says of machines in good and bad order."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from dlsuite import diagnosis, environment
from dlsuite.cli import doctor
from dlsuite.cli.main import COMMANDS, cli
from dlsuite.diagnosis import cuda, devices, machine
from dlsuite.diagnosis.check import Check
from dlsuite.environment import Unmet

NO_GPU = {"is_cuda_build": True, "cuda_version": "12.5.1", "cudnn_version": "9"}


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "datasets"))
    return tmp_path


@pytest.fixture
def driver(monkeypatch):
    """An NVIDIA driver with a TensorFlow that lacks nothing and still sees no GPU."""
    monkeypatch.setattr(environment, "nvidia_driver", lambda: "550.54.15")
    monkeypatch.setattr(environment, "tensorflow_build", lambda: NO_GPU)
    monkeypatch.setattr(environment, "unmet_requirements", lambda *names: [])
    monkeypatch.setattr(cuda, "libraries", lambda: [])
    monkeypatch.setattr(cuda, "_not_opened_by_tensorflow", lambda: [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    return monkeypatch


def test_a_sound_installation_passes(in_tmp):
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["ok"] is True
    checks = {check["name"]: check for check in said["checks"]}
    assert checks["arithmetic on CPU:0"]["status"] == "ok"
    assert checks["XLA on CPU:0"]["status"] == "ok"
    assert checks["run folder"]["result"].startswith(str(in_tmp / "runs"))
    assert "keras 3." in checks["packages"]["result"]
    for name, check in checks.items():
        if name.startswith("optional: "):
            assert check["status"] == ("ok" if check["result"] == "installed" else "absent")
    assert said["environment"]["gpus"] == []
    assert not (in_tmp / "runs").exists(), "a check leaves nothing behind"


def test_the_table_keeps_the_brackets_of_install_lines(in_tmp, monkeypatch):
    monkeypatch.setattr(diagnosis, "all_checks", lambda: [
        Check("GPU", "warning", "none", "pip install 'dlsuite[gpu]'"),
    ])  # fmt: skip
    done = CliRunner().invoke(cli, ["doctor"])
    assert done.exit_code == 0
    assert "pip install 'dlsuite[gpu]'" in done.stdout


def test_something_essential_that_fails_ends_in_1(in_tmp, monkeypatch):
    monkeypatch.setattr(
        environment,
        "unmet_requirements",
        lambda *names: [Unmet("keras<3.16,>=3.15", "3.9.0"), Unmet("absent", None)],
    )
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    assert done.exit_code == 1
    (failed,) = [c for c in json.loads(done.stdout)["checks"] if c["status"] == "failed"]
    assert failed["name"] == "packages"
    assert "keras<3.16,>=3.15 (installed: 3.9.0); absent (installed: no)" in failed["result"]
    assert failed["remedy"] == "pip install 'keras<3.16,>=3.15' absent"


def test_no_driver_is_no_problem(monkeypatch):
    monkeypatch.setattr(environment, "nvidia_driver", lambda: None)
    assert cuda.gpu(0) == Check("GPU", "ok", "no NVIDIA driver: runs use the CPU")


def test_missing_gpu_packages_are_named(driver):
    driver.setattr(
        environment, "unmet_requirements", lambda *names: [Unmet("nvidia-cudnn-cu12>=9", None)]
    )
    check = cuda.gpu(0)
    assert check.status == "warning"
    assert "driver 550.54.15, but TensorFlow sees no GPU" in check.result
    assert "nvidia-cudnn-cu12>=9 (installed: no)" in check.result
    assert check.remedy == "pip install 'dlsuite[gpu]'"


def test_a_hidden_gpu(driver):
    driver.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CUDA_VISIBLE_DEVICES='-1' hides it" in cuda.gpu(0).remedy


def test_an_old_driver(driver):
    driver.setattr(environment, "nvidia_driver", lambda: "470.82")
    assert cuda.gpu(0).remedy == "Update the driver to 525.60.13 or later."


def test_a_build_for_cpus(driver):
    driver.setattr(environment, "tensorflow_build", lambda: {"is_cuda_build": False})
    assert "a build for CPUs" in cuda.gpu(0).remedy


def test_other_cuda_libraries_in_the_way(driver):
    driver.setenv("LD_LIBRARY_PATH", "/opt/cuda-11/lib64")
    assert "LD_LIBRARY_PATH=/opt/cuda-11/lib64 may bring other" in cuda.gpu(0).remedy


def test_a_library_that_does_not_open_is_why(driver):
    broken = Check("CUDA library libcudnn.so.9", "warning", "file too short", "pip install it")
    driver.setattr(cuda, "libraries", lambda: [Check("CUDA libraries", "ok", ""), broken])
    check = cuda.gpu(0)
    assert check.result.endswith("sees no GPU; CUDA library libcudnn.so.9: file too short")
    assert check.remedy == "pip install it"


def test_a_library_that_tensorflow_does_not_find_is_why(driver):
    driver.setattr(cuda, "_not_opened_by_tensorflow", lambda: ["libcufft.so.11"])
    check = cuda.gpu(0)
    assert check.result.endswith("sees no GPU; it can't open libcufft.so.11")
    assert check.remedy.endswith("pip install 'dlsuite[gpu]'")
    driver.setattr(cuda, "_package_names", lambda: ["nvidia-cufft-cu12"])
    driver.setattr(cuda, "_libraries_of", lambda name: [Path("lib/libcufft.so.11")])
    driver.setattr(environment, "installed_version", lambda name: "11.4.1.4")
    reinstall = "pip install --force-reinstall --no-deps nvidia-cufft-cu12==11.4.1.4"
    assert cuda.gpu(0).remedy == reinstall


def test_a_gpu_for_no_visible_reason(driver):
    assert "TF_CPP_MAX_VLOG_LEVEL=1 python -c" in cuda.gpu(0).remedy


def test_a_processor_without_avx(monkeypatch):
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(environment, "cpu_flags", lambda: {"sse4_2"})
    assert machine.processor().status == "failed"
    assert machine.tensorflow().result == "not started: the processor can't run it"


@pytest.mark.parametrize("flags", [set(), {"avx", "avx2"}, {"avx", "avx512_bf16"}])
def test_a_processor_that_emulates_bfloat16(monkeypatch, flags):
    monkeypatch.setattr(environment, "cpu_flags", lambda: flags)
    check = machine.processor()
    assert check.status == "ok"
    # where nothing is known of the processor nothing is said
    assert ("bfloat16" in check.result) == ("avx2" in flags)


def test_tensorflow_that_does_not_import(monkeypatch):
    def broken():
        raise ImportError("libtensorflow_cc.so.2: cannot open shared object file\nmore lines")

    monkeypatch.setattr("dlsuite.runtime.prepare", broken)
    check = machine.tensorflow()
    assert check.status == "failed"
    assert check.result == "ImportError: libtensorflow_cc.so.2: cannot open shared object file"
    version = environment.installed_version("keras")
    assert re.match(
        rf"pip install --force-reinstall --no-deps tensorflow==\S+ keras=={version} numpy==",
        check.remedy,
    )


def test_a_device_that_fails():
    check = devices.arithmetic("GPU:7")
    assert check.status == "failed"
    assert "CPU:0 instead" in check.result
    assert "--device cpu" in check.remedy


def test_a_device_that_xla_does_not_compile_for():
    check = devices.xla("GPU:7")
    assert check.status == "warning"
    assert check.remedy == "Train with --xla off."


def test_a_differing_keras_configuration_is_said(tmp_path, monkeypatch):
    (tmp_path / "keras.json").write_text('{"backend": "jax", "floatx": "float64"}')
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    check = machine.keras_configuration()
    assert check.status == "ok"
    assert "backend=jax, floatx=float64: dlsuite uses TensorFlow" in check.result


def test_a_run_folder_that_is_a_file(tmp_path):
    (tmp_path / "runs").write_text("")
    check = machine.run_folder(tmp_path / "runs")
    assert check.status == "warning"
    assert "can't be written" in check.result
    assert "--run-dir" in check.remedy


def test_little_disk(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 0.5e9})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage)
    check = machine.run_folder(tmp_path / "runs")
    assert (check.status, check.result) == ("warning", f"{tmp_path / 'runs'}: 0.5 GB free")


def test_little_memory(monkeypatch):
    monkeypatch.setattr(environment, "memory_bytes", lambda: int(1.5e9))
    assert machine.memory().status == "warning"
    assert "1.5 GB" in machine.memory().result


def test_requirements_are_read_from_metadata(tmp_path, monkeypatch):
    """A made-up package: one bound held, one broken, one package missing, one extra of an extra."""
    for name, version, requires in (
        ("outer", "1.0", ["inner>=2", "inner<9", "absent", 'inner[more]; extra == "all"']),
        ("inner", "3.1", ['lacking>=4; extra == "more"', 'unasked; extra == "other"']),
    ):
        folder: Path = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        lines = [f"Requires-Dist: {requirement}" for requirement in requires]
        metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines]
        (folder / "METADATA").write_text("\n".join(metadata) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert environment.unmet_requirements("outer") == [("absent", None)]
    assert environment.unmet_requirements("outer", "all") == [("lacking>=4", None)]
    text = (tmp_path / "outer-1.0.dist-info" / "METADATA").read_text()
    (tmp_path / "outer-1.0.dist-info" / "METADATA").write_text(text.replace("inner<9", "inner<3"))
    unmet = environment.unmet_requirements("outer")
    assert "inner<3 (installed: 3.1)" in map(str, unmet)


def test_description_without_tensorflow(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SOME_TOKEN", "secret")
    described = environment.describe(devices=False)
    assert described["variables"]["OMP_NUM_THREADS"] == "3"
    assert "SOME_TOKEN" not in described["variables"]
    assert described["versions"]["keras"].startswith("3.")
    assert described["cores"] >= 1
    assert 0.1 < described["memory_gb"] < 1e5
    assert "gpus" not in described
    json.dumps(described)


def test_a_jobs_share_of_the_cores_counts(monkeypatch):
    files = {"/proc/self/cgroup": "0::/job/step\n"}
    monkeypatch.setattr(environment, "_read", lambda path: files.get(str(path), ""))
    own = environment.usable_cores()
    files["/sys/fs/cgroup/job/step/cpu.max"] = "max 100000\n"
    assert environment.usable_cores() == own
    files["/sys/fs/cgroup/job/cpu.max"] = "150000 100000\n"
    assert environment.usable_cores() == 1


def test_help_line_is_the_listings():
    assert doctor.command.help.splitlines()[0] == COMMANDS["doctor"]
