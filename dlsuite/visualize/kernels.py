"""Kernels as images."""

import numpy as np

from dlsuite.analysis.neurons import kernels as analysis
from dlsuite.reports import style
from dlsuite.reports.neurons.figures import kernel_grid, kernel_spectra
from dlsuite.visualize.study import Made, Study

ENTRIES = [
    {
        "name": "kernels",
        "description": "weights as images, by norm, with spectra, dead and duplicate ones marked",
        "source": "Krizhevsky et al. 2012, figure 3",
    },
]


def kernels(study: Study) -> Made:
    """Draws the kernels of layers; all units of the first with weights by default."""
    files, rows, said = [], [], []
    chosen = study.units(study.layers("first"), None)
    study.folder.mkdir(parents=True, exist_ok=True)
    for layer, units in chosen.items():
        found = analysis.kernels(layer, initial=study.initial_kernel(layer))
        name = file_name(layer.name)
        files.append(style.save(kernel_grid(found, units), study.folder / f"kernels-{name}.png"))
        if min(found.weights.shape[1:3]) > 1:
            figure = kernel_spectra(found, units)
            files.append(style.save(figure, study.folder / f"kernel-spectra-{name}.png"))
        arrays = {
            "weights": found.weights,
            "norms": found.norms,
            "spectrum": found.spectrum,
            "coherence": found.coherence,
        }
        if found.change is not None:
            arrays["change"] = found.change
        files.append(study.write_arrays(f"kernels-{name}.npz", arrays))
        oriented = int((found.coherence[~found.is_dead] > 0.5).sum())
        rows.append(
            {
                "layer": layer.name,
                "num_units": len(found.norms),
                "num_dead": int(found.is_dead.sum()),
                "num_duplicates": int((found.duplicate_of >= 0).sum()),
                "num_oriented": oriented,
                "mean_change": None if found.change is None else float(found.change.mean()),
            }
        )
        words = (
            f"{layer.name}: {len(found.norms)} kernels, {rows[-1]['num_dead']} dead, "
            f"{rows[-1]['num_duplicates']} duplicates, {oriented} oriented (coherence above 0.5)"
        )
        if found.change is not None and np.isfinite(found.change).all():
            words += f", moved by {found.change.mean():.0%} of their initial norm in the mean"
        said.append(f"{words}.")
    return Made(files, {"layers": rows}, said)


def file_name(layer: str) -> str:
    """Returns a layer's name as part of a file's."""
    return layer.replace("/", "__").replace("@", "_use")
