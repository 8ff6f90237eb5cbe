"""Optimizers from a module that the user names on the command line."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import OPTIMIZERS
from dlsuite.registry import Entry


def register_optimizers(module: str) -> list[str]:
    """Imports a user's module, adds its optimizers to the table and returns their names.

    The module has a list ``ENTRIES`` as the table's own, with ``name`` and ``description`` at
    least, ``learning_rate`` as the default rate and ``options`` with their defaults, and for each
    a function of that name that takes ``learning_rate``, ``weight_decay`` and the options and
    returns a `keras.optimizers.Optimizer`.

    Args:
        module: a module's name, or the path of a Python file.

    Raises:
        DlsuiteError: no such module, none of these in it, or a name that is taken.
    """
    loaded = _load(module)
    rows = getattr(loaded, "ENTRIES", None)
    if not rows:
        raise DlsuiteError(
            "A plug-in lists its optimizers as ENTRIES. Received: "
            f"{module!r}, which has none. docs/compare-optimizers.md has an example."
        )
    names = []
    for row in rows:
        details = dict(row)
        name = details.pop("name", "")
        function = details.pop("function", name.replace("-", "_"))
        if not callable(getattr(loaded, function, None)):
            raise DlsuiteError(
                "A plug-in has a function for each of its ENTRIES. Received: "
                f"{module!r} without {function!r}. Define it, or name another as 'function'."
            )
        described = {key: details.pop(key, "") for key in ("description", "source")}
        options = details.pop("options", {})
        entry = Entry(
            name, loaded.__name__, **described, options=options, details=details, function=function
        )
        OPTIMIZERS.register(entry)
        names.append(name)
    return names


def _load(module: str) -> ModuleType:
    path = Path(module)
    try:
        if path.suffix != ".py":
            return importlib.import_module(module)
        if not path.is_file():
            raise ImportError("no such file")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = loaded
        spec.loader.exec_module(loaded)
    except (ImportError, SyntaxError) as error:
        raise DlsuiteError(
            f"--plugin names a module that can be imported, or a Python file. Received: {module!r} "
            f"({error}). Check the name and PYTHONPATH."
        ) from None
    return loaded
