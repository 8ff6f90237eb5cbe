"""Linear warm-up in front of any schedule."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("dlsuite")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule with a linear rise before it.

    Update number n, counted from 1, of a warm-up of W gets n / (W + 1) of the rate with which
    the schedule starts, and update W + 1 the first of the schedule itself. So no update is
    wasted at rate 0, and all W of them lie below the start.

    Args:
        schedule: what follows; its step 0 is update W + 1.
        steps: W, the warm-up's length [updates].

    Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, steps: int):
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step):
        """Returns the learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        rise = ops.minimum((step + 1.0) / (self.steps + 1.0), 1.0)
        return rise * self.schedule(ops.maximum(step - float(self.steps), 0.0))

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            "schedule": keras.optimizers.schedules.serialize(self.schedule),
            "steps": self.steps,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Warmup":
        """Returns the schedule of a configuration."""
        return cls(keras.optimizers.schedules.deserialize(config["schedule"]), config["steps"])
