"""Schedules that Keras has, with lengths in epochs.

alpha is the peak learning rate, s the step in the span, S the span's steps.
"""

import math

from keras.optimizers import schedules

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers.options import FRACTION, OPEN_FRACTION, POSITIVE, Interval
from dlsuite.optimizers.schedules.span import Span

ENTRIES = [
    {
        "name": "constant",
        "description": "Peak learning rate throughout",
        "source": "",
    },
    {
        "name": "step",
        "description": "Times factor after every step_epochs epochs",
        "source": "He et al. 2015, arXiv:1512.03385, section 3.4",
    },
    {
        "name": "multi_step",
        "description": "Times factor at each of the milestones, epochs or fractions of training",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
    },
    {
        "name": "exponential",
        "description": "Times factor an epoch, a little each step",
        "source": "",
    },
    {
        "name": "polynomial",
        "description": "Down to final x peak as (1 - s/S)^power",
        "source": "Chen et al. 2016, arXiv:1606.00915, section 4.1.2",
    },
    {
        "name": "cosine",
        "description": "Down to final x peak along half a cosine",
        "source": "Loshchilov and Hutter 2016, arXiv:1608.03983, equation 5 without restarts",
    },
    {
        "name": "cosine_restarts",
        "description": "Half cosines that restart at the peak, each length_factor times as long",
        "source": "Loshchilov and Hutter 2016, arXiv:1608.03983, equation 5",
    },
]


def constant(span: Span) -> schedules.LearningRateSchedule:
    """Returns alpha at every step."""
    return schedules.PolynomialDecay(
        span.learning_rate, span.steps, end_learning_rate=span.learning_rate
    )


def step(
    span: Span, *, step_epochs: float = 30, factor: float = 0.1
) -> schedules.LearningRateSchedule:
    """Returns alpha factor^k after k step_epochs epochs of training, warm-up counted.

    Raises:
        DlsuiteError: an option out of its range.
    """
    span.check("step_epochs", step_epochs, POSITIVE)
    count = math.ceil(span.last_epoch / step_epochs) - 1
    epochs = [step_epochs * (k + 1) for k in range(count)]
    # the last one may round to the end, where nothing follows
    inside = [epoch for epoch in epochs if span.nearest_step(epoch) < span.steps]
    return _piecewise(span, inside, factor, "step_epochs")


def multi_step(
    span: Span, *, milestones: list = (0.5, 0.75), factor: float = 0.1
) -> schedules.LearningRateSchedule:
    """Returns alpha factor^k once k milestones are past.

    A milestone is an epoch of training, counted from 0 and warm-up included, or below 1 a
    fraction of the training.

    Raises:
        DlsuiteError: no milestones, or one outside the schedule, or not ascending.
    """
    if not isinstance(milestones, (list, tuple)) or not milestones:
        raise DlsuiteError(
            f"{span.where}.milestones must be a list of epochs. Received: {milestones!r}. "
            "Write it as milestones = [80, 120], or as fractions of the training."
        )
    epochs = [span.check("milestones", milestone, POSITIVE) for milestone in milestones]
    return _piecewise(
        span,
        [epoch if epoch >= 1 else epoch * span.last_epoch for epoch in epochs],
        factor,
        "milestones",
    )


def _piecewise(
    span: Span, epochs: list[float], factor: float, option: str
) -> schedules.LearningRateSchedule:
    factor = span.check("factor", factor, OPEN_FRACTION)
    steps = [span.step_of(option, epoch) for epoch in epochs]
    if steps != sorted(set(steps)):
        raise DlsuiteError(
            f"{span.where}.{option} must ascend, at least one step apart. "
            f"Received: {', '.join(f'{epoch:g}' for epoch in epochs)}. "
            "Sort them and leave out what is there twice."
        )
    if not steps:
        return constant(span)
    # Keras takes a boundary into the interval before it
    return schedules.PiecewiseConstantDecay(
        [step - 1 for step in steps],
        [span.learning_rate * factor**k for k in range(len(steps) + 1)],
    )


def exponential(span: Span, *, factor: float = 0.97) -> schedules.LearningRateSchedule:
    """Returns alpha factor^(s / steps an epoch).

    Raises:
        DlsuiteError: factor isn't in (0, 1).
    """
    factor = span.check("factor", factor, OPEN_FRACTION)
    return schedules.ExponentialDecay(span.learning_rate, float(span.steps_per_epoch), factor)


def polynomial(
    span: Span, *, power: float = 1.0, final: float = 0.0
) -> schedules.LearningRateSchedule:
    """Returns alpha (final + (1 - final) (1 - s/S)^power), and alpha final from S on.

    Raises:
        DlsuiteError: power isn't positive, or final isn't in [0, 1].
    """
    return schedules.PolynomialDecay(
        span.learning_rate,
        span.steps,
        end_learning_rate=span.learning_rate * span.check("final", final, FRACTION),
        power=span.check("power", power, POSITIVE),
    )


def cosine(span: Span, *, final: float = 0.0) -> schedules.LearningRateSchedule:
    """Returns alpha (final + (1 - final) (1 + cos(pi s/S)) / 2), and alpha final from S on.

    Raises:
        DlsuiteError: final isn't in [0, 1].
    """
    return schedules.CosineDecay(
        span.learning_rate, span.steps, alpha=span.check("final", final, FRACTION)
    )


def cosine_restarts(
    span: Span,
    *,
    first_epochs: float = 10,
    length_factor: float = 2.0,
    peak_factor: float = 1.0,
    final: float = 0.0,
) -> schedules.LearningRateSchedule:
    """Returns `cosine` over first_epochs epochs, then over length_factor times as many, ...

    Each restart begins at peak_factor times the peak before it.

    Raises:
        DlsuiteError: an option out of its range.
    """
    return schedules.CosineDecayRestarts(
        span.learning_rate,
        span.length("first_epochs", first_epochs),
        t_mul=span.check("length_factor", length_factor, Interval(low=1)),
        m_mul=span.check("peak_factor", peak_factor, Interval(low=0, high=1, low_open=True)),
        alpha=span.check("final", final, FRACTION),
    )
