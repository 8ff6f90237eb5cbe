"""Networks by name.

A builder is a function with the name users type, or of its family. It takes the normalised
image and returns the named intermediate features, ``logits`` last, all of the functional API::

    def my_net(image, *, num_classes, width=64) -> dict[str, keras.KerasTensor]

Its module declares it in ``ENTRIES`` (see `dlsuite.registry`) with ``parameters``, the
trainable parameters for ``image_shape`` and ``num_classes``, written as arithmetic, and
``smallest_image``, the least height and width that it takes.

A network that serves another task says so in its entry, as ``task``; a builder of the task
``gan`` takes the image's shape and returns two models (see `dlsuite.models.adversaries`).

Two forms of name stand for networks that others made: ``keras:NAME`` and the path of a
``.keras`` file. They have an entry and options like any other, but are not iterated over.
"""

import functools
import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlsuite.errors import DlsuiteError
from dlsuite.registry import Entry, Registry

# The module of each form holds a function `build` that takes the name before the image.
FORMS = (
    Entry(
        name="keras:NAME",
        module="dlsuite.models.applications",
        description="any network of keras.applications, with its own preprocessing",
        source="https://keras.io/api/applications",
        options={"weights": "imagenet", "frozen": False, "dropout": 0.0},
    ),
    Entry(
        name="FILE.keras",
        module="dlsuite.models.saved",
        description="a network of your own, with a new head",
        source="the file",
        options={"frozen": False, "keep_head": False, "dropout": 0.0, "normalizes": "auto"},
    ),
)


class ModelRegistry(Registry):
    """The registered networks, and an entry for every name of the two forms."""

    def _form(self, name: str) -> Entry | None:
        if name.startswith("keras:"):
            return replace(FORMS[0], name=name)
        if name.endswith(".keras"):
            return replace(FORMS[1], name=name)
        return None

    def __getitem__(self, name: str) -> Entry:
        return self._form(name) or super().__getitem__(name)

    def load(self, name: str) -> Callable[..., Any]:
        form = self._form(name)
        if form is None:
            return super().load(name)
        return functools.partial(importlib.import_module(form.module).build, name)


def check_file(path: str | Path) -> None:
    """Checks that the file of a network is there, before anything heavy is imported.

    Raises:
        DlsuiteError: it isn't.
    """
    if not Path(path).is_file():
        raise DlsuiteError(
            f"A model that ends in .keras is a file. Received: {path}, which does not exist. "
            "Check the path, or list the networks with `dlsuite models`."
        )


MODELS = ModelRegistry("model", "dlsuite.models", reserved=("num_classes",))
