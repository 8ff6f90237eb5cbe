"""Decay with the inverse square root of the step."""

import keras
from keras import ops

from dlsuite.optimizers.schedules.span import Span

ENTRIES = [
    {
        "name": "inverse_sqrt",
        "description": "Peak x sqrt(t / (t + s)), t the warm-up's length or timescale_epochs",
        "source": "Vaswani et al. 2017, arXiv:1706.03762, equation 3",
    }
]


@keras.saving.register_keras_serializable("dlsuite")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """alpha sqrt(t / (t + s)) at step s.

    Args:
        learning_rate: alpha, at step 0.
        timescale: t [updates]; after 3 t the rate has halved.
    """

    def __init__(self, learning_rate: float, timescale: int):
        self.learning_rate = learning_rate
        self.timescale = timescale

    def __call__(self, step):
        """Returns the learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        return self.learning_rate * ops.sqrt(self.timescale / (self.timescale + step))

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"learning_rate": self.learning_rate, "timescale": self.timescale}


def inverse_sqrt(span: Span, *, timescale_epochs: float | None = None) -> InverseSquareRoot:
    """Returns alpha sqrt(t / (t + s)).

    With t the warm-up's length, the default, it is the Transformer's rate. Without warm-up t
    is one epoch, unless said.

    Raises:
        DlsuiteError: timescale_epochs isn't positive.
    """
    if timescale_epochs is None:
        timescale_epochs = span.first_epoch or 1.0
    return InverseSquareRoot(span.learning_rate, span.length("timescale_epochs", timescale_epochs))
