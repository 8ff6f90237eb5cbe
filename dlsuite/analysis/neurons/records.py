"""What a microscope's folder knows of one layer."""

from dataclasses import dataclass

import numpy as np

from dlsuite.analysis.neurons.survey import Survey


@dataclass(frozen=True, eq=False)
class Layer:
    """What a folder knows of a layer: arrays over all units, and `unit_...` over those looked at.

    Attributes:
        arrays: by name.
    """

    arrays: dict[str, np.ndarray]

    @property
    def units(self) -> list[int]:
        """Those looked at, in the order in which they were added."""
        return self.arrays.get("unit_numbers", np.zeros(0, int)).tolist()

    def ranked(self) -> list[int]:
        """Returns all units, those of the strongest exemplars first, dead ones last."""
        if "exemplar_values" in self.arrays:
            strength = np.where(self.arrays["dead"], -np.inf, self.arrays["exemplar_values"][:, 0])
        else:
            strength = self.arrays["norms"]
        return np.argsort(-strength, kind="stable").tolist()

    def survey(self, name: str) -> Survey:
        """Returns the survey that the arrays hold."""
        a = self.arrays
        return Survey(
            layer=name,
            values=a["exemplar_values"],
            indices=a["exemplar_indices"],
            rows=a["exemplar_rows"],
            columns=a["exemplar_columns"],
            mean=a["mean"],
            active=a["active"],
            is_dead=a["dead"],
            num_images=int(a["surveyed"]),
        )

    def joined(self, more: dict[str, np.ndarray]) -> "Layer":
        """Returns the layer with further units behind those it has."""
        if not self.units:
            return Layer({**self.arrays, **more})
        both = {key: np.concatenate([self.arrays[key], more[key]]) for key in more}
        return Layer({**self.arrays, **both})
