"""dlsuite: deep-learning applications on TensorFlow and Keras 3 behind one command.

    import dlsuite
    run = dlsuite.train("mnist-cnn", epochs=3)
    run.evaluate()
    dlsuite.load(run.path).model

Importing dlsuite imports no TensorFlow; the first call that needs it does.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["DlsuiteError", "Run", "__version__", "load", "train"]


def __getattr__(name: str) -> Any:
    if name == "DlsuiteError":
        from dlsuite.errors import DlsuiteError

        return DlsuiteError
    if name in ("Run", "load", "train"):
        from dlsuite import api

        return getattr(api, name)
    raise AttributeError(f"module 'dlsuite' has no attribute {name!r}")
