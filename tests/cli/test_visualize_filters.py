"""`dlsuite visualize-filters`: its folder, what it refuses, and its page in a real browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "json.md"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
QUICK = ["--steps", "4", "--limit", "60"]


def invoke(*arguments):
    return CliRunner().invoke(cli, ["visualize-filters", *map(str, arguments)])


@pytest.fixture(scope="module")
def network(tmp_path_factory, keras_ready):
    """A small convolutional network of ten classes and its file."""
    import keras

    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(6, 5, activation="relu", name="edges"),
            keras.layers.MaxPooling2D(3),
            keras.layers.Conv2D(40, 3, activation="relu", name="parts"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, name="digits"),
        ]
    )
    path = tmp_path_factory.mktemp("network") / "small.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def page(network, tmp_path_factory):
    """The page of the network with exemplars, and what the command printed."""
    folder = tmp_path_factory.mktemp("page") / "filters"
    result = invoke(network, "--data", "mnist_5k", "--output", folder, *QUICK, "--json")
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


def test_json_lists_what_was_made(page, network):
    folder, value = page
    documented = set(
        re.findall(r"`([\w.\[\]]+)`", DOCUMENTATION.read_text().split("visualize-filters")[1])
    )
    assert set(value) <= documented
    assert (value["model"], value["folder"]) == (str(network), str(folder))
    made = value["methods"]["page"]
    assert made["files"] == ["index.html", "overview.png", "microscope.json"]
    assert [row["name"] for row in made["layers"]] == ["edges", "parts", "digits"]
    assert [len(row["units"]) for row in made["layers"]] == [6, 32, 10]
    assert all(len(row["activations"]) == len(row["units"]) for row in made["layers"])


def test_the_page_asks_no_network_and_stays_small(page):
    text = (page[0] / "index.html").read_text(encoding="utf-8")
    assert len(text) < 2e6
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|@import|url\(""", text)


def test_units_are_added_to_a_folder_and_the_others_kept(page, network, tmp_path):
    folder = shutil.copytree(page[0], tmp_path / "filters")
    common = [network, "--data", "mnist_5k", "--output", folder, *QUICK]
    before = np.load(folder / "layers" / "parts.npz")
    result = invoke(*common, "--layer", "parts", "--units", "all", "--json")
    assert result.exit_code == 0, result.output
    rows = {row["name"]: row for row in json.loads(result.stdout)["methods"]["page"]["layers"]}
    assert sorted(rows["parts"]["units"]) == list(range(40))
    assert len(rows["edges"]["units"]) == 6
    after = np.load(folder / "layers" / "parts.npz")
    np.testing.assert_array_equal(after["unit_pictures"][:32], before["unit_pictures"])


def test_a_folder_of_another_making_is_not_overwritten(page, network, tmp_path):
    folder = shutil.copytree(page[0], tmp_path / "filters")
    result = invoke(network, "--data", "mnist_5k", "--output", folder, *QUICK, "--seed", 2)
    assert isinstance(result.exception, DlsuiteError)
    assert re.search(r"whose seed differ. Name another with --output", str(result.exception))


def test_a_run_is_looked_into_with_its_own_data(small_run, tmp_path):
    run = shutil.copytree(small_run.path, tmp_path / "digits")
    weights = (run / "model.keras").read_bytes()
    result = invoke(run, *QUICK, "--units", "0-3")
    assert result.exit_code == 0, result.output
    assert str(run / "filters" / "index.html") in result.stdout
    index = json.loads((run / "filters" / "microscope.json").read_text())
    assert index["about"]["data"] == "mnist_5k"
    assert (run / "model.keras").read_bytes() == weights


def test_layers_are_listed_with_what_they_see(network):
    result = invoke(network, "--list", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)["layers"]}
    assert rows["edges"]["receptive_field"] == [5, 5]
    assert rows["parts"]["receptive_field"] == [13, 13]  # 5, pooled 3 with stride 3, then 3
    assert rows["digits"]["receptive_field"] is None
    assert rows["edges"]["output_shape"] == [24, 24, 6]
    assert "13x13" in invoke(network, "--list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--layer", "part"], r"Received: 'part'. Did you mean 'parts'\?"),
        (["--layer", "edges", "--units", "4-6"], "edges has the units 0 to 5. Received: '4-6'"),
        (["--method", "kernels", "--units", "9"], "edges has the units 0 to 5. Received: '9'"),
        (
            ["--method", "activations", "--data", "mnist_5k", "--layer", "edges", "--units", "9"],
            "edges has the units 0 to 5. Received: '9'",
        ),
        (["--method", "pages"], r"Received: 'pages'. Did you mean 'page'\?"),
        (["--data", "mnist_5k", "--split", "tset"], r"Received: 'tset'. Did you mean 'test'\?"),
        (["--preprocessing", "torch"], "3 channels. Received: a model that takes 1"),
    ],
)
def test_a_wrong_name_gives_the_nearest_right_one(network, tmp_path, arguments, said):
    result = invoke(network, *arguments, "--output", tmp_path / "none")
    assert isinstance(result.exception, DlsuiteError)
    assert re.search(said, str(result.exception))
    assert not (tmp_path / "none").exists()


def test_files_that_are_no_models_are_refused(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a model")
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"not a zip")
    for path, said in (
        (text, "a file of another kind"),
        (broken, "is a zip archive"),
        (tmp_path / "absent.keras", "does not exist"),
        (tmp_path, "holds run.json"),
    ):
        result = invoke(path)
        assert isinstance(result.exception, DlsuiteError)
        assert said in str(result.exception)


def test_a_model_that_needs_code_is_refused(tmp_path, keras_ready):
    import keras

    class Odd(keras.layers.Layer):
        def call(self, x):
            return x

    path = tmp_path / "odd.keras"
    keras.Sequential([keras.Input((8, 8, 1)), Odd()]).save(path)
    result = invoke(path)
    assert isinstance(result.exception, DlsuiteError)
    assert "Keras's own layers only" in str(result.exception)


DRIVER = """
<script>
window.problems = [];
window.addEventListener("error", (event) => problems.push(String(event.message)), true);
</script>
"""
WALK = """
<script>
(async () => {
  const press = (key) => document.body.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const seen = { layers: [], units: [], images: 0 };
  const heading = () => document.querySelector("main section:not([hidden]) h2").textContent;
  const look = async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    for (const image of document.querySelectorAll("main section:not([hidden]) img")) {
      if (!image.complete || !image.naturalWidth) problems.push(`broken: ${image.alt}`);
      seen.images += 1;
    }
  };
  for (const layer of data.layers) {
    seen.layers.push(heading());
    await look();
    press("ArrowRight");
    await look();
    seen.units.push(heading());
    press("ArrowRight");
    seen.units.push(heading());
    press("ArrowLeft");
    press("Escape");
    press("ArrowDown");
  }
  press("ArrowUp");
  seen.up = heading();
  press("/");
  seen.searching = document.activeElement.id;
  const box = document.activeElement;
  box.value = "parts 39";
  box.dispatchEvent(new Event("input"));
  box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  seen.found = heading();
  seen.command = document.querySelector("#unit code")?.textContent ?? "";
  seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  seen.problems = problems;
  document.title = "done";
  document.body.dataset.seen = JSON.stringify(seen);
})();
</script>
"""


def browse(page, tmp_path, *options):
    """What a real browser reports of the page after a walk through it by keyboard."""
    text = page.read_text(encoding="utf-8")
    driven = tmp_path / "driven.html"
    driven.write_text(
        text.replace("<head>", "<head>" + DRIVER).replace("</body>", WALK + "</body>"),
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            BROWSER,
            *["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"],
            *["--disable-background-networking", "--disable-component-update"],
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--virtual-time-budget=10000",
            *options,
            "--dump-dom",
            driven.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    return json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&"))


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
@pytest.mark.parametrize("size", ["1280,900", "400,800"])
def test_the_page_in_a_browser(page, network, tmp_path, size):
    seen = browse(page[0] / "index.html", tmp_path, f"--window-size={size}")
    assert seen["problems"] == []
    assert seen["layers"] == ["edges", "parts", "digits"]
    assert len(set(seen["units"])) == 6
    assert seen["units"][0].startswith("edges, unit ")
    # the tiles of 6, 32 and 10 units, and at least picture, exemplars and references of three
    assert seen["images"] >= 48 + 3 * 3
    assert (seen["up"], seen["searching"]) == ("parts", "search")
    assert seen["wide"] <= 0  # nothing to scroll sideways
    units = json.loads((page[0] / "microscope.json").read_text())["layers"][1]["computed"]
    assert units == 32
    assert seen["found"] == "parts, unit 39"
    if seen["command"]:
        assert f"dlsuite visualize-filters {network}" in seen["command"]
        assert "--layer parts --units 39" in seen["command"]


def test_what_an_interrupted_call_leaves_is_gone_on_with(page, network, tmp_path, monkeypatch):
    from dlsuite.analysis.neurons.microscope import Microscope

    looked = []
    look = Microscope._look

    def interrupted(self, layer, known, units):
        if looked:
            raise KeyboardInterrupt
        looked.append(layer.name)
        return look(self, layer, known, units)

    folder = tmp_path / "filters"
    common = [network, "--data", "mnist_5k", "--output", folder, *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(Microscope, "_look", interrupted)
        assert invoke(*common).exit_code != 0
    assert looked == ["edges"]
    # another seed may not be mixed in
    result = invoke(*common, "--seed", 4)
    assert "whose seed differ" in str(result.exception)
    assert invoke(*common).exit_code == 0
    for name in ("edges", "parts", "digits"):
        with (
            np.load(folder / "layers" / f"{name}.npz") as one,
            np.load(page[0] / "layers" / f"{name}.npz") as other,
        ):
            np.testing.assert_array_equal(one["unit_pictures"], other["unit_pictures"])
