"""`dlsuite compare-optimizers` from end to end on a small network, and its messages."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from dlsuite.cli.main import cli
from dlsuite.errors import DlsuiteError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
SMALL = [
    "--set", "model.hidden=[8]", "--set", "data.train_limit=300", "--batch-size", "50",
    "--threads", "1",
]  # fmt: skip
RACE = [
    "--optimizers", "adam,slow=adam", "--space", "slow.learning_rate=1e-6",
    "--trials", "2", "--studies", "1", "--final-seeds", "1", "--epochs", "4", *SMALL,
]  # fmt: skip

DOCUMENTED = (ROOT / "docs" / "compare-optimizers.md").read_text(encoding="utf-8")
PLUGIN = re.search(r"```python\n(.*?)```", DOCUMENTED, re.DOTALL)[1]


def run(*arguments):
    return CliRunner().invoke(cli, ["compare-optimizers", *map(str, arguments)])


def numbers(report):
    """A report without what a second run may change."""
    clocked = ("seconds_to_target", "step_ms")
    rows = [
        {key: value for key, value in row.items() if key not in clocked}
        for row in report["contenders"]
    ]
    kept = {key: value for key, value in report.items() if key not in ("race", "files")}
    return kept | {"contenders": rows}


@pytest.fixture(scope="module")
def race(tmp_path_factory):
    folder = tmp_path_factory.mktemp("races") / "race"
    result = run(*RACE, "--output", folder, "--json")
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


def test_a_rate_of_a_millionth_is_last_and_every_key_is_documented(race):
    _, report = race
    assert [row["contender"] for row in report["contenders"]] == ["adam", "slow"]
    assert report["contenders"][1]["steps_to_target"] is None
    section = PAGE.split("## dlsuite compare-optimizers\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"`([\w]+)`", section))
    assert set(report) | set(report["contenders"][0]) <= documented


@pytest.mark.slow
def test_the_same_plan_gives_the_same_numbers_twice(race, tmp_path):
    folder, report = race
    result = run("--plan", folder, "--output", tmp_path / "again", "--json")
    assert result.exit_code == 0, result.output
    assert numbers(json.loads(result.stdout)) == numbers(report)
    one, two = (
        json.loads((path / "trials" / "final-adam-0-0.json").read_text())
        for path in (folder, tmp_path / "again")
    )
    assert one["curves"] == two["curves"]


def test_the_report_is_drawn_anew_from_files_alone(race):
    folder, report = race
    shutil.rmtree(folder / "report")
    result = run("--redraw", folder, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["contenders"] == report["contenders"]
    assert {path.name for path in (folder / "report").iterdir()} == set(report["files"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--redraw", "a", "--output", "b"], "--output names the folder of a new race"),
        # no cluster is asked for before
        (["--executor", "ray", "--plan", "a", "--resume", "b"], "Give one of --plan"),
    ],
)
def test_options_that_exclude_each_other_are_wrong_usage(arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume", "RACE", "--studies", "7"], "Received: --studies with --resume"),
        (["--redraw", "RACE", "--final-seeds", "7"], "Received: --final-seeds with --redraw"),
        (["--resume", "RACE", "mnist-cnn"], "Received: RECIPE with --resume"),
    ],
)
def test_a_race_goes_on_by_its_own_plan(arguments, words, race):
    result = run(*(race[0] if word == "RACE" else word for word in arguments))
    assert result.exit_code == 2
    assert words in result.stderr


def test_the_report_says_how_many_examples_its_numbers_are_of(race):
    page = (race[0] / "report" / "index.html").read_text()
    # all there are
    assert "of 400 of 400 validation examples and 1,000 of 1,000 test examples" in page


def test_a_race_on_other_data_is_not_gone_on_with(race, tmp_path):
    shutil.copytree(race[0], tmp_path / "race")
    data = json.loads((tmp_path / "race" / "dataset.json").read_text())
    data["labels"]["train"] += 1
    (tmp_path / "race" / "dataset.json").write_text(json.dumps(data))
    result = run("--resume", tmp_path / "race")
    with pytest.raises(DlsuiteError, match=r"on the same data\. .*the labels of train are others"):
        raise result.exception


def test_a_folder_that_holds_something_is_refused_by_the_commands_own_option(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    result = run(*RACE, "--output", tmp_path)
    assert "A race folder must be new or empty" in str(result.exception)
    assert "Choose another --output" in str(result.exception)


@pytest.mark.slow
def test_a_killed_race_goes_on_where_it_was(race, tmp_path):
    folder, report = race
    command = [sys.executable, "-m", "dlsuite.cli", "compare-optimizers", *RACE,
               "--output", str(tmp_path / "race")]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    trials = tmp_path / "race" / "trials"
    deadline = time.monotonic() + 120
    while len(list(trials.glob("[!.]*.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in trials.glob("[!.]*.json")}
    assert 5 <= len(before) < len(list((folder / "trials").glob("*.json")))
    result = run("--redraw", tmp_path / "race")
    with pytest.raises(DlsuiteError, match="needs all trials of a race"):
        raise result.exception
    result = run("--resume", tmp_path / "race", "--json")
    assert result.exit_code == 0, result.output
    assert numbers(json.loads(result.stdout)) == numbers(report)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_an_optimizer_of_ones_own_takes_part_and_is_asked_for_again(tmp_path):
    module = tmp_path / "mine.py"
    module.write_text(PLUGIN)
    small = ["--trials", "1", "--studies", "1", "--final-seeds", "1", "--epochs", "4", *SMALL]
    command = [sys.executable, "-m", "dlsuite.cli", "compare-optimizers", *small, "--optimizers",
               "sign_sgd", "--target", "0.3", "--output", str(tmp_path / "race")]  # fmt: skip
    with_it = subprocess.run(
        [*command, "--plugin", str(module)], capture_output=True, text=True, check=False
    )
    assert with_it.returncode == 0, with_it.stderr
    assert "mine.py" not in (tmp_path / "race" / "plan.json").read_text()
    # the files alone are enough for the report
    assert "sign_sgd" in run("--redraw", tmp_path / "race", "--json").stdout
    later = run("--resume", tmp_path / "race")
    assert "'sign_sgd', which came from the plug-in 'mine'. Name its module" in str(later.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--optimizers", "adma"], "Unknown optimizer"),
        (["--space", "adam.learning_rate=1:0.1"], "A space must not be empty"),
        (["--target", "95"], "an accuracy above 0 and at most 1. Received: '95'"),
        (["--budget", "10"], "A time is a number and s, m or h"),
        (["--studies", "7"], "--studies 7 with --final-seeds 6"),
        (["no-such-recipe"], "Unknown recipe"),
        (["rosenbrok"], "Did you mean 'rosenbrock'"),
        (["rosenbrock", "--epochs", "2"], "Received: --epochs with 'rosenbrock'"),
        (["--resume", "nowhere"], "with plan.json. Received: 'nowhere'"),
        (["--plugin", "no_such_module"], "a module that can be imported"),
        (["--set", "optimizer.accumulate=2"], "sets optimizer.accumulate"),
        (
            ["beale", "--batch-size", "8"],
            "neither data nor network, and a target of its own. "
            "Received: --batch-size with 'beale'",
        ),
        (["beale", "--target", "0.5"], "Received: --target with 'beale'"),
        (["beale", "--set", "train.threads=1"], "Received: --set with 'beale'"),
        (["--schedules", "plateau"], "depends on the step alone"),
        (["--optimizers", "sgdw", "--space", "sgdw.weight_decay=1", *SMALL], "weight_decay"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, DlsuiteError), result.output
    assert words in str(result.exception)
    assert not any(tmp_path.iterdir())


def test_a_race_is_never_overwritten(race):
    folder, _ = race
    result = run(*RACE, "--output", folder)
    assert "must be new or empty" in str(result.exception)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_seeds", "kept", "limit"),
    [
        # adam's state and the network are 2.4 MB together: one copy a trial would be 240 MB
        (5, 1024, 40),
        # a seed's batches are 4.8 MB: kept, they would be 480 MB; TensorFlow keeps 1.4 MB
        (200, 20, 200),
    ],
)
def test_memory_stays_flat_over_a_hundred_trials(num_seeds, kept, limit):
    """Growth in MB, in a process of its own."""
    code = """
from dlsuite.runtime import prepare
prepare()
from dlsuite.recipes.resolve import resolve
from dlsuite.studies import recipe_problem
from dlsuite.studies.plan import Trial, make_contenders
from dlsuite.studies.recipe_problem import RecipeProblem
recipe_problem._ALL_KEPT_BYTES = KEPT * 2**20
settings = {"model.hidden": [256], "train.threads": 1, "data.train_limit": 500}
problem = RecipeProblem(resolve("mnist-mlp", settings=settings).recipe)
adam = make_contenders(["adam"], ["none"], [])[0]
problem.prepare(adam, steps=12, evaluate_every=6)
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
def run(seeds):
    for seed in seeds:
        problem.run(Trial(phase="final", contender="adam", study=0, number=seed,
                          seed=seed % NUM_SEEDS, parameters={"learning_rate": 1e-3, "beta_1": 0.9}))
run(range(30))
before = memory()
run(range(30, 130))
print(memory() - before)
"""
    code = code.replace("NUM_SEEDS", str(num_seeds)).replace("KEPT *", f"{kept} *")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) < limit
