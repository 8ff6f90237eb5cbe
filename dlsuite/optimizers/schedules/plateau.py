"""Constant until a metric no longer improves, then lower."""

from collections.abc import Sequence
from typing import Literal

import keras
from keras import ops

from dlsuite.optimizers.options import COUNT, FRACTION, NON_NEGATIVE, OPEN_FRACTION, Interval
from dlsuite.optimizers.schedules.span import Span

ENTRIES = [
    {
        "name": "plateau",
        "description": "Times factor after patience epochs without a better train.monitor",
        "source": "He et al. 2015, arXiv:1512.03385, section 3.4",
    }
]

# What the state vector holds. It lies among the optimizer's variables, so that a resumed run
# goes on with the rate, the best value and the waiting that it had.
_FACTOR, _BEST, _SEEN, _WAITED, _COOLDOWN = range(5)


@keras.saving.register_keras_serializable("dlsuite")
class Plateau(keras.optimizers.schedules.LearningRateSchedule):
    """alpha times a factor that `ReduceOnPlateau` lowers between epochs.

    Keras's own `ReduceLROnPlateau` sets the optimizer's learning rate, which a schedule
    forbids, and takes what warm-up has reached for the rate to lower. This factor is apart from
    warm-up.

    Args:
        learning_rate: alpha.
    """

    def __init__(self, learning_rate: float):
        self.learning_rate = learning_rate
        self.state = None

    def attach(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Makes the factor a variable of the optimizer's, to be saved and restored with it."""
        self.state = optimizer.add_variable(
            (5,), initializer="zeros", aggregation="only_first_replica", name="plateau"
        )
        self.state.assign([1.0, 0.0, 0.0, 0.0, 0.0])

    def __call__(self, step):
        """Returns the current learning rate, whatever the step."""
        if self.state is None:
            return ops.convert_to_tensor(self.learning_rate, "float32")
        return self.learning_rate * ops.convert_to_tensor(self.state)[_FACTOR]

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"learning_rate": self.learning_rate}


class ReduceOnPlateau(keras.callbacks.Callback):
    """Lowers a `Plateau` schedule's factor at the end of epochs that brought nothing.

    Args:
        schedules: of the optimizers, lowered together; attached.
        monitor: a key of the epoch's logs.
        mode: whether the metric is to fall or to rise.
        factor: of the learning rate.
        patience: epochs without improvement before it is lowered.
        min_delta: smallest change that counts as improvement.
        cooldown: epochs after a reduction that don't count.
        final: lowest multiple of the peak learning rate.
    """

    def __init__(
        self,
        schedules: Sequence[Plateau],
        monitor: str,
        *,
        mode: Literal["min", "max"],
        factor: float,
        patience: int,
        min_delta: float,
        cooldown: int,
        final: float,
    ):
        super().__init__()
        self._schedules = schedules
        self.monitor = monitor
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.min_delta = min_delta
        self.cooldown = cooldown
        self.final = final

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Takes note of the metric and lowers the factor where it is time to.

        Raises:
            KeyError: the logs have no such metric.
        """
        value = float(logs[self.monitor])
        state = self._schedules[0].state.numpy()
        gain = value - state[_BEST] if self.mode == "max" else state[_BEST] - value
        if state[_COOLDOWN] > 0:
            state[_COOLDOWN] -= 1
            state[_WAITED] = 0
            cooling = state[_COOLDOWN] > 0
        else:
            cooling = False
        if not state[_SEEN] or gain > self.min_delta:
            state[_BEST], state[_SEEN], state[_WAITED] = value, 1, 0
        elif not cooling:
            state[_WAITED] += 1
            if state[_WAITED] >= self.patience and state[_FACTOR] > self.final:
                state[_FACTOR] = max(state[_FACTOR] * self.factor, self.final)
                state[_WAITED], state[_COOLDOWN] = 0, self.cooldown
        for schedule in self._schedules:
            schedule.state.assign(state)


def plateau(
    span: Span,
    *,
    factor: float = 0.1,
    patience: int = 5,
    min_delta: float = 1e-4,
    cooldown: int = 0,
    final: float = 0.0,
) -> Plateau:
    """Returns alpha times what `ReduceOnPlateau` makes of it.

    Raises:
        DlsuiteError: an option out of its range.
    """
    span.check("factor", factor, OPEN_FRACTION)
    span.check("patience", patience, COUNT)
    span.check("min_delta", min_delta, NON_NEGATIVE)
    span.check("cooldown", cooldown, Interval(low=0, whole=True))
    span.check("final", final, FRACTION)
    return Plateau(span.learning_rate)
