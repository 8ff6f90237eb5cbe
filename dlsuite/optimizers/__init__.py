"""Optimizers and learning-rate schedules by name.

The optimizers are a table over Keras's classes (`table.py`); a schedule is a function with the
name users type (`schedules/`). `build.py` makes a Keras optimizer of both.
"""

from dlsuite.registry import Registry

OPTIMIZERS = Registry("optimizer", "dlsuite.optimizers", listing="dlsuite optimizers")
SCHEDULES = Registry("schedule", "dlsuite.optimizers.schedules", listing="dlsuite optimizers")
