"""`dlsuite benchmark`: variants, what a row says, hardware, failures."""

import ctypes
import json

import pytest
from click.testing import CliRunner

from dlsuite.cli.main import COMMANDS, cli
from dlsuite.errors import DlsuiteError
from dlsuite.studies import hardware
from dlsuite.studies.benchmark import (
    measure_passes,
    measure_speed,
    primitives,
    variants,
    with_plain_primitives,
)


def test_every_combination_of_the_settings():
    made = variants(
        ["mlp", "vgg11"], precisions=["float32", "bfloat16"], threads=[1, 2], batch_sizes=[4, 8]
    )
    assert len(made) == len(set(made)) == 2 * 2 * 2 * 2
    assert {one.image_shape for one in made if one.model == "mlp"} == {(28, 28, 1)}
    assert {(one.image_shape, one.num_classes) for one in made if one.model == "vgg11"} == {
        ((224, 224, 3), 1000)
    }


def test_an_image_size_keeps_the_channels():
    assert variants(["resnet18"], image_size=64)[0].image_shape == (64, 64, 3)
    assert variants(["lenet5"], image_size=32)[0].image_shape == (32, 32, 1)


@pytest.mark.parametrize("model", ["dcgan", "mine.keras"])
def test_what_is_no_classifier_by_name_is_refused(model, tmp_path):
    (tmp_path / model).write_bytes(b"")
    done = CliRunner().invoke(cli, ["benchmark", "--model", model])
    assert done.exit_code == 1
    assert f"times classifiers by name. Received: '{model}'" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        ("benchmark --model mlp hardware", "--model before hardware"),
        ("models --json show mlp", "--json before show"),
    ],
)
def test_options_before_a_subcommand_are_not_lost_silently(words, lost):
    done = CliRunner().invoke(cli, words.split())
    assert done.exit_code == 2
    assert f"Received: {lost}" in done.stderr


def test_primitives_of_a_cpu_and_of_a_gpu():
    (on_cpu,) = variants(["lenet5"])
    assert list(map(primitives, with_plain_primitives(on_cpu))) == ["oneDNN", "plain (oneDNN off)"]
    (on_gpu,) = variants(["lenet5"], devices=["gpu:0"])
    made = with_plain_primitives(on_gpu)
    assert list(map(primitives, made)) == [
        "XLA and cuDNN",
        "cuDNN, autotuned",
        "cuDNN, not autotuned",
    ]
    assert [one.xla for one in made] == ["on", "off", "off"]


def test_the_command_measures_and_draws(tmp_path):
    figure = tmp_path / "speed.png"
    words = "benchmark --model lenet5 --device cpu --batch-size 8 --seconds 0.1 --threads 1 --json"
    done = CliRunner().invoke(cli, [*words.split(), "--figure", str(figure)])
    assert done.exit_code == 0, done.output
    inference, training = json.loads(done.stdout)["rows"]
    assert (inference["mode"], training["mode"]) == ("inference", "training")
    for row in (inference, training):
        assert row["status"] == "ok"
        assert row["xla_used"] is False, "a CPU and convolutions"
        assert 0 < row["step_p50_s"] <= row["step_p95_s"]
        assert row["first_step_s"] > row["step_p50_s"], "it holds the compiling"
        # a process with TensorFlow in it takes some 500 MB
        assert row["peak_memory_bytes"] > 2e8
        assert row["flops_per_s"] == pytest.approx(row["flops_per_image"] * row["images_per_s"])
        assert row["peak_flops_per_s"] > 1e8
    assert training["flops_per_image"] == 3 * inference["flops_per_image"]
    assert training["peak_memory_bytes"] >= inference["peak_memory_bytes"]
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_pass_takes_longer_with_its_backward_half():
    (row,) = measure_passes(variants(["lenet5"], batch_sizes=[64], threads=[1]), seconds=0.2)
    assert 0 < row["forward_s"] < row["forward_backward_s"]


def test_what_fails_is_a_row_and_no_end():
    (row,) = measure_speed(variants(["lenet5"], devices=["gpu:5"]), modes=["training"])
    assert row["status"] == "failed"
    assert row["reason"].startswith("The device must be there and usable. Received: 'gpu:5'")
    assert "images_per_s" not in row


def test_a_process_that_is_killed_is_said_to_be(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -9 $$\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    (row,) = measure_speed(variants(["lenet5"]), modes=["training"])
    assert row["reason"] == "killed by signal 9, as where memory runs out"


def test_the_cpu_has_cores_memory_bandwidth_and_peak():
    done = CliRunner().invoke(cli, ["benchmark", "hardware", "--json", "--price", "cpu=385 USD"])
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)["devices"][0]
    assert row["device"] == "cpu"
    assert row["cores"] >= 1
    assert row["price"] == "385 USD"
    # anything that runs TensorFlow moves 0.1 GB/s and computes 0.1 GFLOP/s, and nothing on a
    # desk 100 TB/s and 10 EFLOP/s
    assert 1e8 < row["bandwidth_bytes_per_s"] < 1e14
    assert 1e8 < row["peak_flops_per_s"] < 1e19


def test_a_price_of_what_is_not_there():
    with pytest.raises(DlsuiteError, match=r"Received: 'gpu:3'\. Devices: cpu\."):
        hardware.hardware_table(["cpu"], prices={"gpu:3": "1 EUR"})


def test_a_gpu_is_read_from_the_driver(monkeypatch):
    """A driver of our own with an A100's values: 108 multiprocessors of 64 units, 1.41 GHz."""

    class Driver:
        def __init__(self):
            self.values = {13: 1_410_000, 16: 108, 75: 8, 76: 0}

        def cuDeviceGet(self, handle, number):
            return 0 if number == 0 else 101

        def cuDeviceGetAttribute(self, value, which, handle):
            ctypes.cast(value, ctypes.POINTER(ctypes.c_int))[0] = self.values[which]
            return 0

        def cuDeviceGetName(self, name, length, handle):
            name.value = b"NVIDIA A100-SXM4-40GB"
            return 0

        def cuDeviceTotalMem_v2(self, size, handle):
            ctypes.cast(size, ctypes.POINTER(ctypes.c_size_t))[0] = 40 * 2**30
            return 0

    monkeypatch.setattr(hardware, "load_driver", Driver)
    found = hardware.describe("gpu:0")
    assert found.name == "NVIDIA A100-SXM4-40GB"
    assert found.cores == 6912
    assert found.clock_hz == pytest.approx(1.41e9)
    assert found.memory_bytes == 40 * 2**30
    assert hardware.describe("gpu:1").cores is None


def test_the_reason_is_said_where_nothing_is_left_to_draw(tmp_path):
    words = ["benchmark", "--model", "mlp", "--device", "tpu", "--mode", "inference"]
    done = CliRunner().invoke(cli, [*words, "--figure", str(tmp_path / "speed.png")])
    assert "Failed: The device must be there and usable. Received: 'tpu'" in done.output
    assert "none that succeeded" in str(done.exception)


def test_a_figure_goes_where_it_can_be_written(tmp_path):
    words = ["benchmark", "--figure", str(tmp_path / "speed.pdf")]
    done = CliRunner().invoke(cli, [*words, "--device", "cpu"])
    assert isinstance(done.exception, DlsuiteError)
    assert "A figure is a PNG file in a folder that exists" in str(done.exception)


def test_help_line_is_the_listings():
    from dlsuite.cli import benchmark

    assert benchmark.command.help.splitlines()[0] == COMMANDS["benchmark"]
