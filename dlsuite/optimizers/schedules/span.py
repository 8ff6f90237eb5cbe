"""The stretch of training that a schedule covers."""

from dataclasses import dataclass

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers.options import Interval, check_value


@dataclass(frozen=True)
class Span:
    """A stretch of training, after warm-up; its step 0 is the first update in it.

    Attributes:
        learning_rate: the peak.
        steps: its length [updates], at least 1.
        steps_per_epoch: updates an epoch.
        first_epoch: how many epochs of training lie before it.
        where: how messages call the recipe section.
    """

    learning_rate: float
    steps: int
    steps_per_epoch: int
    first_epoch: float = 0.0
    where: str = "schedule"

    @property
    def last_epoch(self) -> float:
        """Where it ends [epochs of training]."""
        return self.first_epoch + self.steps / self.steps_per_epoch

    def check(self, option: str, value: object, rule: Interval | type) -> object:
        """Returns the value of an option; see `check_value`."""
        return check_value(f"{self.where}.{option}", value, rule)

    def length(self, option: str, epochs: object) -> int:
        """Returns that many epochs in steps, at least one step.

        Raises:
            DlsuiteError: not a positive number.
        """
        epochs = self.check(option, epochs, Interval(low=0, low_open=True))
        return max(1, round(epochs * self.steps_per_epoch))

    def nearest_step(self, epoch: float) -> int:
        """Returns the step of this span at which an epoch of training, from 0, begins."""
        return round((epoch - self.first_epoch) * self.steps_per_epoch)

    def step_of(self, option: str, epoch: object) -> int:
        """Returns `nearest_step` of an option's epoch, which has to lie inside the span.

        Raises:
            DlsuiteError: it doesn't.
        """
        epoch = self.check(option, epoch, Interval(low=0))
        step = self.nearest_step(epoch)
        if not 0 < step < self.steps:
            raise DlsuiteError(
                f"{self.where}.{option} must lie between epoch {self.first_epoch:g}, where the "
                f"schedule begins, and epoch {self.last_epoch:g}, where it ends. "
                f"Received: {epoch:g}. Move it, or change the number of epochs."
            )
        return step
