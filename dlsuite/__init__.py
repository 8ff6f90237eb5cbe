"""dlsuite: deep-learning applications on TensorFlow and Keras 3 behind one command.

    import dlsuite
    run = dlsuite.train("mnist-cnn", epochs=3)
    run.evaluate()
    dlsuite.load(run.path).model

Importing dlsuite imports no TensorFlow; the first call that needs it does.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "DlsuiteError",
    "Run",
    "__version__",
    "load",
    "plan",
    "profile",
    "resume",
    "train",
    "verify",
]

_HOMES = {
    "DlsuiteError": "dlsuite.errors",
    "Run": "dlsuite.run",
    "load": "dlsuite.run",
    "plan": "dlsuite.planning",
    "profile": "dlsuite.profiling",
    "resume": "dlsuite.api",
    "train": "dlsuite.api",
    "verify": "dlsuite.verification",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dlsuite' has no attribute {name!r}")
