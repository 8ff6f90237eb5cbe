"""Between pixels as stored and a network's values in -1 to 1, both ways."""

from typing import Any

import keras
import numpy as np

from dlsuite.data.dataset import Dataset, Split
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.gan import Pixels


class PixelTransform:
    """Maps stored values x to s in -1 to 1, and s back to x, by Keras's operations alone.

    ``range``: s = 2 (x - low) / (high - low) - 1. ``scale``: s = c x. ``logarithm``:
    s = c ln(1 + x / shift), for what is log-normal above -shift.

    Args:
        settings: the recipe's table.
        dataset: whose values they are.
    """

    def __init__(self, settings: Pixels, dataset: Dataset):
        self._settings = settings
        self._low, self._high = dataset.value_range

    def check(self, split: Split) -> None:
        """Checks that the transform takes training's values and those of another split.

        Raises:
            DlsuiteError: values at or below -shift.
        """
        settings = self._settings
        if settings.transform != "logarithm":
            return
        low = min(self._low, *(float(split.read(part).min()) for part in split.passes()))
        if low <= -settings.shift:
            raise DlsuiteError(
                "pixels.transform = 'logarithm' takes values above -pixels.shift. Received: "
                f"{low:g} in training or {split.name} with pixels.shift={settings.shift:g}. "
                f"Set pixels.shift above {-low:g}."
            )

    def forward(self, x: Any) -> Any:
        """Returns the network's values of stored ones, float32."""
        x = keras.ops.cast(x, "float32")
        settings = self._settings
        if settings.transform == "range":
            return (x - self._low) * (2.0 / (self._high - self._low)) - 1.0
        if settings.transform == "scale":
            return x * settings.scale
        return settings.scale * keras.ops.log1p(x * (1.0 / settings.shift))

    def inverse(self, s: Any) -> Any:
        """Returns the stored values of the network's; also of a symbolic tensor."""
        settings = self._settings
        if settings.transform == "range":
            scale = (self._high - self._low) / 2.0
            return keras.layers.Rescaling(
                scale, offset=self._low + scale, dtype="float32", name="stored"
            )(s)
        if settings.transform == "scale":
            return keras.layers.Rescaling(1.0 / settings.scale, dtype="float32", name="stored")(s)
        return keras.ops.expm1(s * (1.0 / settings.scale)) * settings.shift

    @property
    def limits(self) -> tuple[float, float]:
        """The stored values of -1 and 1: the smallest and largest that can be generated."""
        settings = self._settings
        if settings.transform == "range":
            return self._low, self._high
        if settings.transform == "scale":
            return -1.0 / settings.scale, 1.0 / settings.scale
        return tuple(settings.shift * np.expm1(np.array([-1.0, 1.0]) / settings.scale))
