"""Spaces: points shared by optimizers, ranges as declared, and what is refused."""

import keras
import numpy as np
import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import OPTIMIZERS
from dlsuite.studies.plan import make_contenders
from dlsuite.studies.spaces import Range, declared_space, defaults, point, unit_points, with_spaces
from dlsuite.studies.tunable import TunableOptimizer


@pytest.mark.parametrize(
    ("wanted", "middle"),
    [
        (Range(low=1e-4, high=1e-2), 1e-3),
        # 1 - x from 0.25 to 0.01: the middle is 1 - sqrt(0.25 * 0.01)
        (Range(low=0.75, high=0.99, scale="complement"), 0.95),
    ],
)
def test_the_middle_of_a_range_is_its_geometric_one(wanted, middle):
    assert wanted.at(0.5) == pytest.approx(middle)
    assert (wanted.at(0), wanted.at(1)) == pytest.approx((wanted.low, wanted.high))
    assert wanted.place(wanted.at(0.3)) == pytest.approx(0.3)


def test_optimizers_that_share_a_parameter_and_its_range_get_the_same_values():
    unit = unit_points(4, seed=(0, 2, 1))
    momentum, nesterov, sgd = (
        [point(declared_space(name), u) for u in unit] for name in ("momentum", "nesterov", "sgd")
    )
    assert momentum == nesterov
    assert [p["learning_rate"] for p in sgd] == [p["learning_rate"] for p in momentum]


def test_four_points_fall_into_the_four_quarters_of_each_parameter():
    unit = unit_points(4, seed=(7,))
    assert np.array_equal(np.sort(np.floor(4 * unit), axis=0).T, np.tile(range(4), (8, 1)))


def test_points_depend_on_the_seed_alone():
    assert np.array_equal(unit_points(5, seed=(1, 2)), unit_points(5, seed=(1, 2)))
    assert not np.array_equal(unit_points(5, seed=(1, 2)), unit_points(5, seed=(1, 3)))


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_has_a_space_that_holds_its_default_rate(name):
    space = declared_space(name)
    rate = defaults(name, space)["learning_rate"]
    assert rate == OPTIMIZERS[name].details["learning_rate"]
    assert space["learning_rate"].low <= rate <= space["learning_rate"].high


def test_a_setting_fixes_or_narrows_one_parameter_and_leaves_the_others():
    spaces = with_spaces(
        {"adam": "adam", "slow": "adam"},
        ["slow.learning_rate=1e-6", "adam.learning_rate=1e-3:1e-2"],
    )
    assert spaces["slow"]["learning_rate"] == 1e-6
    assert spaces["slow"]["beta_1"] == declared_space("adam")["beta_1"]
    assert spaces["adam"]["learning_rate"] == Range(low=1e-3, high=1e-2)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("adam.learning_rate=0.1:0.01", r"must not be empty: LOW is less than HIGH.*0\.01:0\.1"),
        ("adam.learning_rate=0.1:0.1", "must not be empty"),
        ("adam.learning_rate", "written CONTENDER.PARAMETER=LOW:HIGH"),
        ("adam.learning_rate=fast", "written CONTENDER.PARAMETER=LOW:HIGH"),
        ("adma.learning_rate=1e-3", "'adma'. Did you mean 'adam'"),
        ("adam.momentun=0.5", "Unknown parameter of 'adam'"),
        ("adam.learning_rate=-1", "must be a positive number"),
        ("adam.learning_rate=0:1", "begins above 0"),
        ("adam.beta_1=0.5:1.5", "beta_1 must be a number at least 0 and below 1"),
        ("adagrad.initial_accumulator_value=0.1:1", "is where the state begins.*value=0.1"),
        ("muon.nesterov=1", "holds numbers, and nesterov is none"),
    ],
)
def test_a_wrong_space_is_refused_in_one_sentence(setting, words):
    with pytest.raises(DlsuiteError, match=words):
        with_spaces({name: name for name in ("adam", "adagrad", "muon")}, [setting])


@pytest.mark.parametrize(
    ("optimizers", "schedules", "words"),
    [
        (["adma"], ["none"], "Unknown optimizer. Received: 'adma'. Did you mean .*'adam'"),
        (["adam", "adam"], ["none"], "'adam' twice"),
        (["a/b=adam"], ["none"], "letters, digits"),
        (["_mine=adam"], ["none"], "the first no - or _"),  # which Matplotlib leaves out of legends
        (["adam"], ["cosin"], "Unknown schedule. Received: 'cosin'. Did you mean 'cosine'"),
        (["adam"], ["plateau"], "depends on the step alone"),
        (["adam"], ["none", "step"], "spans the trial.*'step', which counts epochs.*none, cosine"),
        (["adam"], ["cosine", "cosine"], "takes part once.*'cosine' twice"),
    ],
)
def test_wrong_contenders_are_refused(optimizers, schedules, words):
    with pytest.raises(DlsuiteError, match=words):
        make_contenders(optimizers, schedules, [])


def test_schedules_are_a_factor():
    labels = [c.label for c in make_contenders(["adam", "sgd"], ["none", "cosine"], [])]
    assert labels == ["adam+none", "adam+cosine", "sgd+none", "sgd+cosine"]


@pytest.mark.parametrize("schedule", ["cosine", "polynomial", "multi_step", "one_cycle"])
def test_a_schedule_of_a_race_spans_the_trial_whatever_its_length(schedule):
    (contender,) = make_contenders(["sgd"], [schedule], [])
    for steps in (12, 480):
        optimizer = TunableOptimizer(contender, [keras.Variable([1.0])], steps=steps).optimizer
        optimizer.iterations.assign(steps - 1)
        assert float(optimizer.learning_rate) < 0.2
