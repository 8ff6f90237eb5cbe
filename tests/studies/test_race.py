"""The protocol on a problem that is a formula, so that every number can be known."""

import itertools
import json
import math
import shutil

import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.reports.race import to_json
from dlsuite.studies.budget import Timing, duration, expected_seconds, fit, parse_duration
from dlsuite.studies.race import is_complete, run_race
from dlsuite.studies.records import RaceFolder
from dlsuite.studies.scoring import best_trial, score_race, summary_row, time_to
from dlsuite.studies.verdict import checklist, verdict
from tests.studies.races import FormulaProblem, formula_plan


def finished(path, plan, problem=None):
    folder = RaceFolder.create(path, plan)
    for _ in run_race(plan, folder, problem or FormulaProblem()):
        pass
    return folder


def scored(folder):
    return score_race(folder.plan(), folder.target(), folder.records())


@pytest.fixture(scope="module")
def race(tmp_path_factory):
    plan = formula_plan(["adam", "sgd", "slow=adam"], ["slow.learning_rate=1e-6"])
    return finished(tmp_path_factory.mktemp("race") / "race", plan)


def test_each_study_tries_its_points_and_its_best_runs_on_fresh_seeds(race):
    records = race.records().values()
    plan, target = race.plan(), race.target()
    for label in ("adam", "sgd"):
        tuning = [r for r in records if (r.trial.contender, r.trial.phase) == (label, "tuning")]
        finals = [r for r in records if (r.trial.contender, r.trial.phase) == (label, "final")]
        assert len(finals) == 6
        assert not {r.trial.seed for r in finals} & {r.trial.seed for r in tuning}
        for final in finals:
            study = [r for r in tuning if r.trial.study == final.trial.study]
            assert len(study) >= plan.trials
            assert final.trial.parameters == best_trial(study, target).trial.parameters
        assert sorted(r.trial.study for r in finals) == [0, 0, 1, 1, 2, 2]


def test_all_contenders_meet_the_same_seeds(race):
    seeds = {}
    for record in race.records().values():
        trial = record.trial
        seeds.setdefault(
            (trial.phase, trial.study if trial.phase == "tuning" else trial.number), set()
        ).add(trial.seed)
    assert all(len(found) == 1 for found in seeds.values())


def test_a_rate_fixed_far_too_low_is_last_and_takes_one_trial_a_study(tmp_path):
    plan = formula_plan(["slow=sgd", "adam", "sgd"], ["slow.learning_rate=1e-6"])
    folder = finished(tmp_path / "race", plan)
    results = scored(folder)
    assert results.standings[-1].contender.label == "slow"
    assert len(results.standings[-1].tuning) == plan.studies
    assert summary_row(results, results.standings[-1])["steps_to_target"] == math.inf


def test_the_same_plan_gives_the_same_numbers_twice(race, tmp_path):
    again = finished(tmp_path / "again", race.plan())
    one, two = (to_json(scored(folder)) for folder in (race, again))
    assert one == two


def test_a_race_goes_on_from_its_files_after_any_trial(race, tmp_path):
    plan = race.plan()
    whole = sorted(race.records())
    for stop in (1, 7, 20, len(whole) - 1):
        folder = RaceFolder.create(tmp_path / str(stop), plan)
        for _ in itertools.islice(run_race(plan, folder, FormulaProblem()), stop):
            pass
        assert not is_complete(plan, folder.target(), folder.records())
        # what a kill may leave behind
        (folder.path / "trials" / ".final-adam-0-0.writing.json").write_text("{")
        second = FormulaProblem()
        for _ in run_race(plan, folder, second):
            pass
        assert len(second.ran) == len(whole) - stop
        assert {n: r.curves for n, r in folder.records().items()} == {
            n: r.curves for n, r in race.records().items()
        }


def test_a_range_is_widened_where_the_best_rate_lies_at_its_edge(tmp_path):
    # sgd's best rate, 0.1, lies beyond a range that ends at 0.02
    plan = formula_plan(["sgd"], ["sgd.learning_rate=1e-4:2e-2"])
    results = scored(finished(tmp_path / "race", plan))
    tuning = results.standings[0].tuning
    assert max(r.trial.parameters["learning_rate"] for r in tuning) > 0.05
    assert any("edge of its range, which was widened" in said for said in results.warnings)
    # a range in which everything diverges is left downwards
    plan = formula_plan(["sgd"], ["sgd.learning_rate=20:2e3"])
    tuning = scored(finished(tmp_path / "high", plan)).standings[0].tuning
    assert any(r.status == "ended" for r in tuning)
    # and a best rate in the middle of the range asks for nothing more
    plan = formula_plan(["sgd"], ["sgd.learning_rate=1e-3:10"])
    results = scored(finished(tmp_path / "other", plan))
    assert len(results.standings[0].tuning) == 3 * 4


def test_the_target_of_auto_is_the_baselines_and_not_the_contenders(tmp_path):
    class Known(FormulaProblem):
        def run(self, trial):
            kind = "sgd" if self._contender.optimizer in ("nesterov", "sgd") else "adam"
            self._contender = self._contender.model_copy(update={"optimizer": kind})
            return super().run(trial)

    targets = [
        finished(tmp_path / name, formula_plan([name], target=None), Known()).target()
        for name in ("adam", "sgd")
    ]
    assert targets[0] == targets[1]
    assert 0.5 < targets[0].validation < 1
    assert "baseline" in targets[0].source


def test_medians_count_what_diverged_as_infinitely_bad(race):
    plan, target, records = race.plan(), race.target(), race.records()
    lost = {"status": "diverged", "diverged_at": 60}

    def row(count):
        names = [f"final-adam-{n % 3}-{n}" for n in range(6)]
        changed = {name: records[name].model_copy(update=lost) for name in names[:count]}
        results = score_race(plan, target, records | changed)
        (standing,) = (s for s in results.standings if s.contender.label == "adam")
        return summary_row(results, standing)

    whole, some, most = row(0), row(2), row(3)
    assert whole["test_loss"] < some["test_loss"] < math.inf == most["test_loss"]
    assert whole["test_accuracy"] > some["test_accuracy"]
    assert math.isnan(most["test_accuracy"]) and most["diverged_final"] == 3


def test_diverged_trials_are_counted_and_never_win(tmp_path):
    plan = formula_plan(["adam"], ["adam.learning_rate=1e-3:1e4"])
    results = scored(finished(tmp_path / "race", plan))
    standing = results.standings[0]
    row = summary_row(results, standing)
    assert row["diverged_tuning"] > 0
    assert all(record.status == "ended" for record in standing.winners)
    assert any("Diverged runs" in item for item, _ in checklist(results))


def test_a_run_that_diverges_after_the_target_has_not_reached_it(race):
    plan, target, records = race.plan(), race.target(), race.records()
    name = "final-adam-0-0"
    before = scored(race).standings
    assert time_to(records[name], target, "test")[0] < math.inf
    records[name] = records[name].model_copy(update={"status": "diverged", "diverged_at": 60})
    assert time_to(records[name], target, "test") == (math.inf, math.inf)
    after = score_race(plan, target, records).standings
    reached = [{s.contender.label: s.reached for s in found}["adam"] for found in (before, after)]
    assert reached == [6, 5]


def test_time_to_the_target_is_the_first_evaluation_that_reaches_it(race):
    record = next(
        r
        for r in race.records().values()
        if r.trial.phase == "final" and r.trial.contender == "adam"
    )
    steps, seconds = time_to(record, race.target(), "test")
    accuracy = dict(zip(record.steps, record.curves["test_accuracy"], strict=True))
    assert accuracy[steps] >= 0.7 > accuracy[steps - 5]
    assert seconds == pytest.approx(0.001 * steps)


def test_the_verdict_says_what_so_few_studies_cannot_show(race):
    said = " ".join(verdict(scored(race)))
    assert "3 studies of 3 contenders can tell no two of them apart" in said
    assert "--studies 5 --final-seeds 5" in said  # 3 pairs * 2 / 252 = 0.024
    assert scored(race).winner is None


def test_enough_studies_make_a_winner(tmp_path):
    plan = formula_plan(
        ["good=sgd", "bad=sgd"],
        ["good.learning_rate=0.1", "bad.learning_rate=0.01"],
        studies=4,
        final_seeds=4,
    )
    results = scored(finished(tmp_path / "race", plan))
    assert results.winner == "good"
    assert results.p_value("bad", "good") == pytest.approx(2 / 70)
    assert "good wins" in verdict(results)[0]


def test_a_target_that_nobody_reaches_is_said_and_the_order_is_by_loss(tmp_path):
    plan = formula_plan(
        ["bad=sgd", "worse=sgd"],
        ["bad.learning_rate=1e-3", "worse.learning_rate=1e-4"],
        target=0.999,
    )
    results = scored(finished(tmp_path / "race", plan))
    assert [s.contender.label for s in results.standings] == ["bad", "worse"]
    said = " ".join(verdict(results))
    assert "Nobody reached the target; bad ended with the lowest test loss." in said
    json.dumps(to_json(results), allow_nan=False)


def test_where_all_runs_diverge_nobody_is_said_to_lead(tmp_path):
    plan = formula_plan(["sgd"], ["sgd.learning_rate=1e6"])
    said = verdict(scored(finished(tmp_path / "race", plan)))
    assert said[0].endswith("half of everyone's fresh runs or more diverged.")


def test_a_special_case_that_comes_first_is_a_warning(tmp_path):
    class Known(FormulaProblem):
        def run(self, trial):
            self._contender = self._contender.model_copy(update={"optimizer": "sgd"})
            return super().run(trial)

    plan = formula_plan(
        ["sgd", "momentum"], ["sgd.learning_rate=0.1", "momentum.learning_rate=1e-3"]
    )
    results = scored(finished(tmp_path / "race", plan, Known()))
    assert any("momentum came behind sgd, which is a special case" in w for w in results.warnings)


def test_damaged_files_are_named(race, tmp_path):
    folder = RaceFolder.create(tmp_path / "race", race.plan())
    (folder.path / "trials" / "final-adam-0-0.json").write_text("{")
    with pytest.raises(DlsuiteError, match=r"trials/final-adam-0-0\.json must be readable"):
        folder.records()
    with pytest.raises(DlsuiteError, match=r"with plan\.json\. Received"):
        RaceFolder.open(tmp_path)


@pytest.mark.parametrize(
    "change", [{"studies": 2}, {"studies": 4}, {"final_seeds": 3}, {"steps": 120}, {"seed": 1}]
)
def test_trials_of_another_plan_are_not_taken_for_this_ones(change, race, tmp_path):
    shutil.copytree(race.path, tmp_path / "race")
    folder = RaceFolder(tmp_path / "race")
    folder.write("plan.json", race.plan().model_copy(update=change).model_dump(mode="json"))
    with pytest.raises(DlsuiteError, match=r"trials are those of its plan\. Received: .*\.json"):
        folder.records()


def test_a_trials_file_that_is_no_text_is_named(race, tmp_path):
    shutil.copytree(race.path, tmp_path / "race")
    (tmp_path / "race" / "trials" / "final-adam-0-0.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DlsuiteError, match=r"final-adam-0-0\.json must be readable"):
        RaceFolder(tmp_path / "race").records()


def test_equal_medians_share_the_first_place(tmp_path):
    plan = formula_plan(["adam", "twin=adam", "sgd"], ["sgd.learning_rate=1e-6"], target=0.4)
    said = verdict(scored(finished(tmp_path / "race", plan)))
    assert said[0].startswith(("adam and twin share the first place", "twin and adam share"))
    assert any("Untuned, at their default values, " in sentence for sentence in said)


def test_a_target_below_untrained_weights_is_a_warning(tmp_path):
    plan = formula_plan(["adam", "sgd"], target=0.05)
    warnings = scored(finished(tmp_path / "race", plan)).warnings
    assert "stood at the target before their first step" in warnings[0]


def test_defaults_that_beat_tuning_are_a_warning(tmp_path):
    # the space leaves out the rate of 0.1 that sgd is best at, and that its default is here
    plan = formula_plan(["sgd", "adam"], ["sgd.learning_rate=1e-3"])
    best = [c.model_copy(update={"defaults": {"learning_rate": 0.1}}) if c.label == "sgd" else c
            for c in plan.contenders]  # fmt: skip
    plan = plan.model_copy(update={"contenders": tuple(best)})
    warnings = scored(finished(tmp_path / "race", plan)).warnings
    assert any("sgd's default values reached the target sooner" in said for said in warnings)


def test_all_that_reach_the_target_as_often_are_named(tmp_path):
    class Half(FormulaProblem):
        """Only the first of two seeds reaches anything."""

        def run(self, trial):
            record = super().run(trial)
            if trial.phase != "final" or trial.number == 0:
                return record
            curves = record.curves | {"test_accuracy": [0.1] * len(record.steps)}
            return record.model_copy(update={"curves": curves})

    plan = formula_plan(["adam", "sgd"], studies=2, final_seeds=2)
    said = verdict(scored(finished(tmp_path / "race", plan, Half())))[0]
    assert said.startswith("In the median nobody reached the target")
    assert "did most often, in 1 of 2 fresh runs each" in said
    assert "adam and sgd" in said or "sgd and adam" in said


def test_the_expected_trials_grow_with_a_widened_range(tmp_path):
    plan = formula_plan(["sgd"], ["sgd.learning_rate=1e-4:2e-2"])
    folder = RaceFolder.create(tmp_path / "race", plan)
    last = list(run_race(plan, folder, FormulaProblem()))[-1]
    assert last.done == last.expected > plan.num_trials


def test_a_single_run_has_no_interval(tmp_path):
    plan = formula_plan(["adam", "sgd"], studies=1, final_seeds=1)
    assert "bootstrap" not in verdict(scored(finished(tmp_path / "race", plan)))[0]


def test_a_budget_for_a_problem_on_paper_makes_no_paths_that_nobody_can_draw():
    plan = formula_plan(["adam"], problem="rosenbrock")
    timing = Timing(prepare_s=1, step_s=1e-4, evaluate_s=0)
    assert fit(plan, timing, 36_000, steps_per_epoch=1).steps == 2000


def test_a_budget_is_turned_into_steps_and_trials():
    plan = formula_plan(steps=120)
    timing = Timing(prepare_s=1.0, step_s=0.01, evaluate_s=0.01)
    # 2 contenders, 3 studies of 4 trials and 6 + 6 runs: 48 trials of 120 steps and 13 evaluations
    assert plan.num_trials == 48
    assert expected_seconds(plan, timing) == pytest.approx(48 * (1.2 + 0.13) + 2 + 10)
    # four workers share the trials, and each compiles both contenders
    assert expected_seconds(plan, timing, workers=4) == pytest.approx(12 * (1.2 + 0.13) + 2 + 10)
    fitted = fit(plan, timing, 600, steps_per_epoch=20)
    assert fitted.trials == 4 and fitted.steps % fitted.evaluate_every == 0
    assert 0.75 * 600 < expected_seconds(fitted, timing) <= 0.85 * 600
    assert fit(plan, timing, 600, steps_per_epoch=20, workers=4).steps > 3 * fitted.steps
    # an epoch of 200 steps fits only with fewer trials
    assert fit(plan, timing, 100, steps_per_epoch=200).trials == 2
    with pytest.raises(DlsuiteError, match=r"must hold trials of 12 steps\. Received: 15 s"):
        fit(plan, timing, 15, steps_per_epoch=20)


def test_durations():
    assert [parse_duration(text) for text in ("90s", "10m", "1.5h")] == [90, 600, 5400]
    assert [duration(seconds) for seconds in (12.3, 250, 9000)] == ["12 s", "4.2 min", "2.5 h"]
    for text in ("10", "m", "0s", "-3m"):
        with pytest.raises(DlsuiteError, match="a number and s, m or h"):
            parse_duration(text)
