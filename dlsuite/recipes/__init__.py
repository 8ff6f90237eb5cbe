"""Recipes: what a run is made of, in names and numbers.

A recipe's ``task`` says what kind of problem it is, and each task has a module of its name
wherever it has something of its own: its tables here, its networks and steps in
`dlsuite.tasks`, its measurements in `dlsuite.analysis`, their figures in `dlsuite.reports`.
"""

from dlsuite.registry import Registry

TASKS = Registry("task", "dlsuite.recipes", listing="dlsuite recipes")
DEFAULT_TASK = "classification"
