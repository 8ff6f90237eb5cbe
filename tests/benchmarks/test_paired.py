"""The harness of the benchmarks: what it computes from slices, and that it runs processes."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from paired import Race, Slice, median_interval, run_race  # noqa: E402


def race_of(*generations: list[tuple[float, float]]) -> Race:
    """A race whose slices took one second each and did so many units."""
    return Race(
        [
            [{"a": Slice(a, 1.0, 2.0), "b": Slice(b, 1.0, 1.0)} for a, b in rounds]
            for rounds in generations
        ]
    )


def test_the_ratio_is_taken_within_a_round_so_that_a_drift_cancels():
    # the machine becomes ten times slower; the median rates alone would say 1.0
    race = race_of([(200, 100), (200, 100), (20, 10), (20, 10), (100, 50)])
    assert race.ratio("a", "b").median == 2.0
    assert race.rate("a") == 100


def test_the_ratio_by_cpu_time_counts_the_cores_in_use():
    assert race_of([(300, 100)]).ratio("a", "b", "cpu").median == 1.5


def test_repeating_is_the_worst_generation_against_all_rounds():
    ratio = race_of([(200, 100)] * 3, [(200, 100)] * 3, [(240, 100)] * 3).ratio("a", "b")
    assert ratio.generations == (2.0, 2.0, 2.4)
    assert ratio.least == 2.0
    assert ratio.repeats_within == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("count", "interval"),
    # the tables of the sign test at 95 %: ranks from 1 are (1, 6), (2, 9), (3, 10), (6, 15)
    [(1, (0, 0)), (5, (0, 4)), (6, (0, 5)), (10, (1, 8)), (12, (2, 9)), (20, (5, 14))],
)
def test_the_median_interval_is_that_of_the_sign_test(count, interval):
    assert median_interval(count) == interval


WORKER = """
import sys
sys.path.insert(0, {benchmarks!r})
from paired import serve
serve(lambda count: count * {units}, seconds=1e-9)
"""


def test_each_contestant_has_a_slice_in_each_round_of_each_generation():
    commands = {
        name: [sys.executable, "-c", WORKER.format(benchmarks=str(BENCHMARKS), units=units)]
        for name, units in (("one", 1), ("ten", 10))
    }
    race = run_race(commands, rounds=3, generations=2)
    assert [len(generation) for generation in race.generations] == [3, 3]
    assert {name: one.units for name, one in race.rounds()[-1].items()} == {"one": 1, "ten": 10}


def test_a_contestant_that_ends_is_named():
    with pytest.raises(SystemExit, match="The contestant 'gone' ended"):
        run_race({"gone": [sys.executable, "-c", "pass"]}, rounds=1, generations=1)
