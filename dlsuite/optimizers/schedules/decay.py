"""Schedules that Keras has, with lengths in epochs.

alpha is the peak learning rate, s the step in the span, S the span's steps.
"""

import bisect
import math

from keras.optimizers import schedules

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers.options import FRACTION, OPEN_FRACTION, POSITIVE, Interval
from dlsuite.optimizers.schedules.span import Span

# Keras asks for each boundary in turn, at every update.
_MOST_STEPS = 1000

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
        DlsuiteError: an option out of its range, or steps too short: less than the warm-up or
            one update, or more than a thousand of them.
    """
    span.check("step_epochs", step_epochs, POSITIVE)
    least = max(1 / span.steps_per_epoch, span.last_epoch / _MOST_STEPS)
    if step_epochs < 0.99 * least:  # one who types the rounded figure is right
        raise DlsuiteError(
            f"{span.where}.step_epochs must be at least {least:.3g}: one update or more, and at "
            f"most {_MOST_STEPS} steps in {span.last_epoch:g} epochs. Received: {step_epochs:g}. "
            "For a decay at every update take the schedule exponential."
        )
    if span.first_epoch and span.nearest_step(step_epochs) <= 0:
        raise DlsuiteError(
            f"{span.where}.step_epochs must be more than the {span.first_epoch:g} epochs of "
            f"warm-up, which count. Received: {step_epochs:g}. "
            "Warm up for less, or make the steps longer."
        )
    count = math.ceil(span.last_epoch / step_epochs) - 1
    steps = [span.nearest_step(step_epochs * (k + 1)) for k in range(count)]
    # the last one may round to the end, where nothing follows
    return _piecewise(span, [step for step in steps if step < span.steps], factor)


def multi_step(
    span: Span, *, milestones: list = (0.5, 0.75), factor: float = 0.1
) -> schedules.LearningRateSchedule:
    """Returns alpha factor^k once k milestones are past.

    A milestone is an epoch of training, counted from 0 and warm-up included, or below 1 a
    fraction of the training. In a training of a few updates, fractions may fall on the same
    update, which then gets the factor of both, or on the end, where nothing follows.

    Raises:
        DlsuiteError: no milestones, or one outside the schedule, or not ascending.
    """
    if not isinstance(milestones, (list, tuple)) or not milestones:
        raise DlsuiteError(
            f"{span.where}.milestones must be a list of epochs. Received: {milestones!r}. "
            "Write it as milestones = [80, 120], or as fractions of the training."
        )
    for milestone in milestones:
        span.check("milestones", milestone, POSITIVE)
    steps = [_milestone(span, milestone) for milestone in milestones]
    by_epoch = [step for step, given in zip(steps, milestones, strict=True) if given >= 1]
    if steps != sorted(steps) or any(len(set(m)) < len(m) for m in (milestones, by_epoch)):
        raise DlsuiteError(
            f"{span.where}.milestones must ascend, at least one step apart. "
            f"Received: {', '.join(f'{milestone:g}' for milestone in milestones)}. "
            "Sort them and leave out what is there twice."
        )
    return _piecewise(span, [step for step in steps if step < span.steps], factor)


def _milestone(span: Span, milestone: float) -> int:
    """The step of the span at which a milestone is past; a fraction's may be its end."""
    if milestone >= 1:
        return span.step_of("milestones", milestone)
    epoch = milestone * span.last_epoch
    if epoch >= span.first_epoch:
        return min(max(span.nearest_step(epoch), 1), span.steps)
    return span.step_of("milestones", epoch)


def _piecewise(span: Span, steps: list[int], factor: float) -> schedules.LearningRateSchedule:
    """alpha factor^k from the k-th of the steps on; several may be the same."""
    factor = span.check("factor", factor, OPEN_FRACTION)
    if not steps:
        return constant(span)
    boundaries = sorted(set(steps))
    counts = [0, *(bisect.bisect(steps, boundary) for boundary in boundaries)]
    # Keras takes a boundary into the interval before it
    return schedules.PiecewiseConstantDecay(
        [boundary - 1 for boundary in boundaries],
        [span.learning_rate * factor**count for count in counts],
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

    Restart n begins at (1 - final) peak_factor^n + final times the learning rate.

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
