"""Learning rates against arithmetic by hand, over 10 epochs of 20 steps with a peak of 0.4."""

import math

import keras
import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import SCHEDULES
from dlsuite.optimizers.build import build_optimizer, build_schedule, learning_rate_at
from dlsuite.recipes import schema

PEAK, STEPS_PER_EPOCH, EPOCHS = 0.4, 20, 10
STEPS = STEPS_PER_EPOCH * EPOCHS
# float32 has 24 bits; a few roundings of values up to 0.4, and a cosine, stay below this
TOLERANCE = 2e-7

PHASES = [
    {"name": "constant", "epochs": 2.0},
    {"name": "polynomial", "epochs": 4.0, "final": 0.5},
    {"name": "cosine", "scale": 0.5},
]
# options that make every schedule valid for these 10 epochs
OPTIONS = {"multi_step": {"milestones": [4, 8]}, "sequence": {"phases": PHASES}}


def made(name: str, *, warmup_epochs: float = 0.0, **options):
    section = schema.Schedule(name=name, warmup_epochs=warmup_epochs, **options)
    return build_schedule(
        section, learning_rate=PEAK, steps_per_epoch=STEPS_PER_EPOCH, epochs=EPOCHS
    )


def half_cosine(fraction: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * fraction))


BY_HAND = {
    "constant": ({}, {0: 0.4, 100: 0.4, 199: 0.4, 200: 0.4, 2000: 0.4}),
    # epochs 3, 6 and 9 begin at steps 60, 120 and 180
    "step": (
        {"step_epochs": 3, "factor": 0.5},
        {0: 0.4, 59: 0.4, 60: 0.2, 119: 0.2, 120: 0.1, 179: 0.1, 180: 0.05, 199: 0.05, 2000: 0.05},
    ),
    # the third milestone is 9.999 epochs, which is step 200
    "step that rounds to the end": ({"step_epochs": 3.333}, {66: 0.4, 67: 0.04, 199: 0.004}),
    "step to the end": ({"step_epochs": 10}, {0: 0.4, 199: 0.4, 200: 0.4}),
    "multi_step": (
        {"milestones": [4, 8.5]},
        {0: 0.4, 79: 0.4, 80: 0.04, 169: 0.04, 170: 0.004, 199: 0.004, 2000: 0.004},
    ),
    # by default at a half and three quarters of the training
    "multi_step of fractions": ({}, {99: 0.4, 100: 0.04, 149: 0.04, 150: 0.004, 199: 0.004}),
    "exponential": (
        {"factor": 0.5},
        {0: 0.4, 10: 0.4 / math.sqrt(2), 20: 0.2, 40: 0.1, 200: 0.4 / 1024},
    ),
    "polynomial": (
        {"power": 2.0, "final": 0.25},
        {0: 0.4, 50: 0.1 + 0.3 * 0.5625, 100: 0.1 + 0.3 * 0.25, 200: 0.1, 2000: 0.1},
    ),
    "cosine": (
        {"final": 0.1},
        {0: 0.4, 100: 0.22, 50: 0.04 + 0.36 * half_cosine(0.25), 200: 0.04, 2000: 0.04},
    ),
    # restarts after 2 and 2 + 4 epochs; the third stretch of 8 epochs is cut at 10
    "cosine_restarts": (
        {"first_epochs": 2, "length_factor": 2, "peak_factor": 0.5},
        {
            0: 0.4,
            20: 0.2,
            39: 0.4 * half_cosine(39 / 40),
            40: 0.2,
            80: 0.1,
            120: 0.1,
            200: 0.05,
        },
    ),
    "inverse_sqrt": (
        {"timescale_epochs": 1},
        {0: 0.4, 20: 0.4 / math.sqrt(2), 60: 0.2, 180: 0.4 / math.sqrt(10)},
    ),
    # the peak lies at 0.3 of 200 steps
    "one_cycle": (
        {"rise": 0.3, "start": 0.1, "final": 0.01},
        {
            0: 0.04,
            30: 0.22,
            60: 0.4,
            130: 0.202,
            199: 0.004 + 0.396 * half_cosine(139 / 140),
            200: 0.004,
            2000: 0.004,
        },
    ),
    "plateau": ({}, {0: 0.4, 100: 0.4, 200: 0.4}),
    # constant to step 40, a line from 0.4 to 0.2 to step 120, half a cosine from 0.2 to 0
    "sequence": (
        {"phases": PHASES},
        {0: 0.4, 39: 0.4, 40: 0.4, 80: 0.3, 119: 0.2025, 120: 0.2, 160: 0.1, 200: 0.0, 2000: 0.0},
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_values_by_hand(case):
    options, expected = BY_HAND[case]
    schedule = made(case.split()[0], **options)
    got = {step: float(schedule(step)) for step in expected}
    assert got == pytest.approx(expected, abs=TOLERANCE)


def test_every_schedule_has_values_by_hand():
    assert {case.split()[0] for case in BY_HAND} == set(SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warmup_rises_from_zero_to_the_schedules_start(name):
    """Update n of W = 40 gets n/41 of the start, and what follows is the schedule itself."""
    warmed = made(name, warmup_epochs=2.0, **_after(2, name))
    start = 0.4 * 0.04 if name == "one_cycle" else 0.4
    got = [float(warmed(step)) for step in (0, 19, 39, 40)]
    assert got == pytest.approx(
        [start / 41, start * 20 / 41, start * 40 / 41, start], abs=TOLERANCE
    )


def test_lengths_after_warmup():
    """Decays fit what warm-up leaves; milestones and steps stay at their epochs of training."""
    assert float(made("cosine", warmup_epochs=2.0)(120)) == pytest.approx(0.2, abs=TOLERANCE)
    assert float(made("polynomial", warmup_epochs=2.0)(160)) == pytest.approx(0.1, abs=TOLERANCE)
    multi = made("multi_step", warmup_epochs=2.0, milestones=[4], factor=0.5)
    assert [float(multi(step)) for step in (79, 80)] == pytest.approx([0.4, 0.2], abs=TOLERANCE)
    stairs = made("step", warmup_epochs=2.0, step_epochs=3, factor=0.5)
    assert [float(stairs(s)) for s in (59, 60, 120)] == pytest.approx([0.4, 0.2, 0.1], abs=1e-7)
    # the Transformer's: peak sqrt(W / (W + s)) with W = 40
    root = made("inverse_sqrt", warmup_epochs=2.0)
    assert float(root(40 + 120)) == pytest.approx(0.2, abs=TOLERANCE)


def test_a_step_at_every_update():
    """The shortest that is allowed, as a user types 1/20."""
    schedule = made("step", step_epochs=0.05, factor=0.5)
    assert [float(schedule(s)) for s in (0, 1, 2, 9)] == pytest.approx(
        [0.4, 0.2, 0.1, 0.4 / 512], abs=TOLERANCE
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (1, [0.4]),
        (2, [0.4, 0.04]),  # the second falls on the end
        (3, [0.4, 0.4, 0.004]),  # 1.5 and 2.25 updates are both nearest to 2
        (4, [0.4, 0.4, 0.04, 0.004]),
    ],
)
def test_fractions_of_a_training_of_a_few_updates(steps, expected):
    schedule = build_schedule(
        schema.Schedule(name="multi_step"), learning_rate=PEAK, steps_per_epoch=steps, epochs=1
    )
    assert [float(schedule(s)) for s in range(steps)] == pytest.approx(expected, abs=TOLERANCE)


def test_a_training_may_be_too_long_for_that_many_steps():
    with pytest.raises(DlsuiteError, match=r"at least 0\.1: .*1000 steps in 100 epochs.*0\.05"):
        build_schedule(
            schema.Schedule(name="step", step_epochs=0.05),
            learning_rate=PEAK,
            steps_per_epoch=20,
            epochs=100,
        )


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup_epochs", [0.0, 2.0])
def test_stays_in_its_range_for_good(name, warmup_epochs):
    schedule = made(name, warmup_epochs=warmup_epochs, **_after(warmup_epochs, name))
    rates = [float(schedule(step)) for step in [*range(0, STEPS + 5, 5), 10 * STEPS, 1000 * STEPS]]
    assert min(rates) >= -TOLERANCE
    assert max(rates) == pytest.approx(PEAK, rel=0.01)
    assert max(rates) <= PEAK + TOLERANCE


@pytest.mark.parametrize("name", SCHEDULES)
def test_survives_keras_serialization(name):
    schedule = made(name, warmup_epochs=1.0, **_after(1, name))
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    steps = (0, 10, 20, 77, 150, 199, 300)
    assert [float(again(s)) for s in steps] == [float(schedule(s)) for s in steps]


def test_learning_rate_at_follows_the_schedule():
    optimizer = build_optimizer(
        schema.Optimizer(name="sgd", learning_rate=0.4),
        schema.Schedule(name="cosine"),
        steps_per_epoch=STEPS_PER_EPOCH,
        epochs=EPOCHS,
    )
    assert learning_rate_at(optimizer, 100) == pytest.approx(0.2, abs=TOLERANCE)
    assert float(optimizer.learning_rate) == pytest.approx(0.4, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "cosin"}, r"Unknown schedule.*'cosin'.*'cosine'.*`dlsuite optimizers`"),
        ({"name": "cosine", "finale": 0.1}, r"'finale'.*Did you mean 'final'"),
        ({"name": "cosine", "final": 1.5}, r"schedule\.final.*at least 0 and at most 1.*1\.5"),
        ({"name": "cosine", "final": True}, r"schedule\.final must be a number.*True"),
        ({"name": "cosine", "warmup_epochs": 10.0}, r"less than train\.epochs.*10 of 10"),
        ({"name": "exponential", "factor": 1.0}, r"above 0 and below 1.*Received: 1\.0"),
        (
            {"name": "multi_step", "milestones": []},
            r"schedule\.milestones must be a list.*\[80, 120\]",
        ),
        (
            {"name": "multi_step", "milestones": [4, 12]},
            r"between epoch 0.*and epoch 10.*Received: 12",
        ),
        (
            {"name": "multi_step", "milestones": [1], "warmup_epochs": 2.0},
            r"between epoch 2.*and epoch 10.*Received: 1\.",
        ),
        ({"name": "multi_step", "milestones": [6, 4]}, r"must ascend.*Received: 6, 4\."),
        ({"name": "multi_step", "milestones": [4, "8"]}, r"milestones must be a number.*'8'"),
        (
            {"name": "multi_step", "milestones": [0.5, 0.5]},
            r"must ascend.*Received: 0\.5, 0\.5\.",
        ),
        (
            {"name": "step", "step_epochs": 1, "warmup_epochs": 2.0},
            r"step_epochs must be more than the 2 epochs of warm-up.*Received: 1\.",
        ),
        (
            {"name": "step", "step_epochs": 1e-6},
            r"step_epochs must be at least 0\.05: one update.*Received: 1e-06.*exponential",
        ),
        ({"name": "step", "step_epochs": 0}, r"step_epochs must be a number above 0.*0"),
        ({"name": "plateau", "patience": 0}, r"patience must be an integer at least 1.*0"),
        ({"name": "sequence"}, r"phases must be a list of tables"),
        (
            {
                "name": "sequence",
                "phases": [{"name": "constant", "epochs": 4}, {"name": "plateau"}],
            },
            r"phases\[1\] must name a schedule other than plateau and sequence",
        ),
        (
            {
                "name": "sequence",
                "phases": [{"name": "constant", "epochs": 4}, {"name": "cosine", "epochs": 5}],
            },
            r"add up to the 10 .*Received: 4 \+ 5",
        ),
        (
            {"name": "sequence", "phases": [{"name": "cosine", "final": 2}]},
            r"schedule\.phases\[0\]\.final.*at most 1.*2",
        ),
        (
            {"name": "sequence", "phases": [{"name": "cosine", "power": 2}]},
            r"'power'.*It takes: final",
        ),
    ],
)
def test_mistakes_are_named(section, message):
    with pytest.raises(DlsuiteError, match=f"(?s){message}"):
        made(**section)


def _after(warmup_epochs: float, name: str) -> dict:
    """The options for a schedule that begins after so many epochs."""
    if name == "sequence":
        return {"phases": [dict(PHASES[0], epochs=2.0 - warmup_epochs / 2), *PHASES[1:]]}
    return OPTIONS.get(name, {})
