"""A race's page in a browser, from the files of a race that is a formula."""

import csv
import re

import numpy as np
import pytest

from dlsuite.reports.race import write_report
from dlsuite.reports.race_curves import learning_curves, rate_sensitivity, tuning_budget
from dlsuite.studies.paper import PaperProblem
from dlsuite.studies.race import run_race
from dlsuite.studies.records import RaceFolder
from dlsuite.studies.scoring import score_race
from tests.reports.browser import dump
from tests.studies.races import FormulaProblem, formula_plan


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("race") / "race"
    plan = formula_plan(["adam", "sgd", "slow=adam"], ["slow.learning_rate=1e-6"])
    folder = RaceFolder.create(path, plan)
    for _ in run_race(plan, folder, FormulaProblem()):
        pass
    results = score_race(plan, folder.target(), folder.records())
    return results, write_report(results, path / "report")


def test_the_page_shows_every_contender_and_every_figure(report):
    results, paths = report
    page = next(path for path in paths if path.name == "index.html")
    # when all is loaded, and not while the page is read
    probe = (
        "<script>addEventListener('load', () => {document.title = "
        "[...document.images].filter(i => i.naturalWidth).length})"
    )
    text = page.read_text(encoding="utf-8")
    counted = page.with_name("counted.html")
    counted.write_text(text.replace("</body>", f"{probe}</script></body>"), encoding="utf-8")
    seen = dump(counted)
    figures = [path for path in paths if path.suffix == ".png"]
    assert f"<title>{len(figures)}</title>" in seen
    table = seen.split('id="results"')[1].split("</table>")[0]
    rows = re.findall(r"<tr><td>(\w+)</td>", table)
    assert rows == [standing.contender.label for standing in results.standings]
    assert rows[-1] == "slow"
    assert "can tell no two of them apart" in seen
    assert "Tuned on validation, reported on test" in seen


@pytest.mark.parametrize(("scheme", "is_dark"), [(1, False), (0, True)])
def test_the_page_is_dark_where_the_reader_wants_it(report, scheme, is_dark):
    _, paths = report
    page = next(path for path in paths if path.name == "index.html")
    probe = "<script>document.title = getComputedStyle(document.body).backgroundColor</script>"
    probed = page.with_name("probed.html")
    text = page.read_text(encoding="utf-8")
    probed.write_text(text.replace("</body>", f"{probe}</body>"), encoding="utf-8")
    seen = dump(probed, f"--blink-settings=preferredColorScheme={scheme}")
    colour = re.search(r"<title>rgb\((\d+), (\d+), (\d+)\)</title>", seen).groups()
    assert (sum(map(int, colour)) < 120) == is_dark


def test_losses_below_zero_are_drawn_above_the_lowest(tmp_path):
    problem = PaperProblem("saddle")
    plan = formula_plan(
        ["momentum", "adam"], problem="saddle", target=problem.target, steps=200,
        evaluate_every=1, trials=2, studies=1, final_seeds=1,
    )  # fmt: skip
    folder = RaceFolder.create(tmp_path / "race", plan)
    for _ in run_race(plan, folder, problem):
        pass
    results = score_race(plan, folder.target(), folder.records())
    assert min(r.values("test_loss")[-1] for s in results.standings for r in s.finals) < 0
    for figure in (learning_curves(results), tuning_budget(results)):
        axes = figure.axes[0]
        assert "above -0.25" in axes.get_ylabel()
        lines = [line for line in axes.get_lines() if len(line.get_ydata()) > 1]
        assert all(np.min(line.get_ydata()) >= 0 for line in lines)
    assert "above -0.25" in rate_sensitivity(results).axes[0].get_ylabel()


def test_the_table_is_there_as_csv(report):
    _, paths = report
    with next(path for path in paths if path.suffix == ".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["contender"] == "slow"
    assert rows[-1]["steps_to_target"] == "inf"
