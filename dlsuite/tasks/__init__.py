"""Tasks: what turns networks and a recipe into a keras.Model with its own steps and metrics."""

import pkgutil
from typing import Any

from dlsuite.recipes import TASKS


def load_task(name: str) -> Any:
    """Imports and returns the class that carries out the task of that name.

    It takes a recipe and is what the engine trains (see `dlsuite.engine.task`).
    """
    return pkgutil.resolve_name(TASKS[name].details["carried_out_by"])
