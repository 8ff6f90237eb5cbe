"""One rise and one fall over the whole training."""

import math

import keras
from keras import ops

from dlsuite.optimizers.options import OPEN_FRACTION, Interval
from dlsuite.optimizers.schedules.span import Span

ENTRIES = [
    {
        "name": "one_cycle",
        "description": "From peak x start up to the peak and down to peak x final, by half cosines",
        "source": "Smith and Topin 2017, arXiv:1708.07120, section 3",
    }
]


@keras.saving.register_keras_serializable("dlsuite")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine from start to peak, half a cosine from peak to final, then final.

    Args:
        learning_rate: the peak, at step `rise_steps`.
        start: learning rate at step 0.
        final: learning rate from step `steps` on.
        rise_steps: step of the peak, at least 1.
        steps: length, above `rise_steps`.
    """

    def __init__(
        self, learning_rate: float, *, start: float, final: float, rise_steps: int, steps: int
    ):
        self.learning_rate = learning_rate
        self.start = start
        self.final = final
        self.rise_steps = rise_steps
        self.steps = steps

    def __call__(self, step):
        """Returns the learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        risen = ops.minimum(step / self.rise_steps, 1.0)
        fallen = ops.clip((step - self.rise_steps) / (self.steps - self.rise_steps), 0.0, 1.0)
        return ops.where(
            step < self.rise_steps,
            self._between(self.start, self.learning_rate, risen),
            self._between(self.learning_rate, self.final, fallen),
        )

    @staticmethod
    def _between(first: float, last: float, fraction):
        return last + (first - last) * 0.5 * (1.0 + ops.cos(math.pi * fraction))

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            "learning_rate": self.learning_rate,
            "start": self.start,
            "final": self.final,
            "rise_steps": self.rise_steps,
            "steps": self.steps,
        }


def one_cycle(
    span: Span, *, rise: float = 0.3, start: float = 0.04, final: float = 4e-6
) -> OneCycle:
    """Returns alpha start -> alpha over the fraction `rise` of the steps, then -> alpha final.

    The defaults are PyTorch's. The paper's rise and fall are straight and of equal length, and
    it lowers the momentum meanwhile, which this does not.

    Raises:
        DlsuiteError: an option out of its range, or fewer than two steps.
    """
    steps = max(span.steps, 2)
    positive_fraction = Interval(low=0, high=1, low_open=True)
    return OneCycle(
        span.learning_rate,
        start=span.learning_rate * span.check("start", start, positive_fraction),
        final=span.learning_rate * span.check("final", final, Interval(low=0, high=1)),
        rise_steps=min(max(round(span.check("rise", rise, OPEN_FRACTION) * steps), 1), steps - 1),
        steps=steps,
    )
