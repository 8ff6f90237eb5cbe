"""Any schedule where an update takes several training steps."""

import keras


@keras.saving.register_keras_serializable("dlsuite")
class Accumulated(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule over training steps, given to an optimizer that counts updates.

    The first of the steps that an update takes decides its rate, so that K = 1 is the schedule
    itself and warm-up and epochs last as many steps as they would without accumulation.

    Args:
        schedule: over training steps.
        steps: K, training steps an update.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, steps: int):
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step):
        """Returns the learning rate of an update, counted from 0."""
        return self.schedule(step * self.steps)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            "schedule": keras.optimizers.schedules.serialize(self.schedule),
            "steps": self.steps,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Accumulated":
        """Returns the schedule of a configuration."""
        return cls(keras.optimizers.schedules.deserialize(config["schedule"]), config["steps"])
