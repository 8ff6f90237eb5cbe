"""The pictures that excite units most."""

import numpy as np

from dlsuite.analysis.neurons.colour import spectrum_slope
from dlsuite.analysis.neurons.maximisation import maximise
from dlsuite.reports import style
from dlsuite.reports.neurons.figures import picture_grid
from dlsuite.visualize.kernels import file_name
from dlsuite.visualize.study import Made, Study

ENTRIES = [
    {
        "name": "maximisation",
        "description": "the picture that excites a unit most, by gradient ascent",
        "source": "Erhan et al. 2009; Olah et al. 2017, doi:10.23915/distill.00007",
    },
]

_MOST_UNITS = 16
_STEPS = 256


def maximisation(study: Study) -> Made:
    """Draws the maximised pictures of units; of the last layer's, the classes, by default."""
    options, subject = study.options, study.subject
    study.folder.mkdir(parents=True, exist_ok=True)
    files, rows, said = [], [], []
    layers = study.layers(study.anatomy.head.name)
    if options.objective == "layer":
        chosen = {layer: [0] for layer in layers}
    else:
        chosen = study.units(layers, _MOST_UNITS)
    for layer, units in chosen.items():
        steps = options.steps or _STEPS
        total, done = steps * len(units) * options.copies, [0]

        def advance(count: int, name=layer.name, total=total, done=done) -> None:
            done[0] = min(done[0] + count, total)
            study.progress(name, done[0], total)

        made = maximise(
            subject,
            layer,
            units,
            objective=options.objective,
            copies=options.copies,
            parametrised=options.parametrised,
            steps=steps,
            size=options.size,
            statistics=study.statistics,
            batch_size=options.batch_size,
            seed=options.seed,
            progress=advance,
        )
        pictures = study.pictures(made.inputs)
        is_head = layer.name == study.anatomy.head.name and not layer.place.has_maps
        titles = [
            layer.name
            if options.objective == "layer"
            else study.class_name(unit)
            if is_head
            else str(unit)
            for unit in made.units.tolist()
        ]
        name = file_name(layer.name)
        heading = f"What excites {layer.name}"
        figure = picture_grid(pictures, titles, heading)
        files.append(style.save(figure, study.folder / f"maximisation-{name}.png"))
        files.append(
            study.write_arrays(
                f"maximisation-{name}.npz",
                {
                    "units": made.units,
                    "inputs": made.inputs,
                    "scores": made.scores,
                    "activations": made.activations,
                    "history": made.history,
                },
            )
        )
        slope = None
        if subject.takes_images and min(made.inputs.shape[1:3]) >= 16:
            slope = spectrum_slope(made.inputs)
        rows.append(
            {
                "layer": layer.name,
                "units": made.units.tolist(),
                "scores": [float(value) for value in made.scores],
                "activations": [float(value) for value in made.activations],
                "spectrum_slope": slope,
            }
        )
        said.append(
            f"{layer.name}: {len(made.units)} pictures, activation "
            f"{np.min(made.activations):.3g} to {np.max(made.activations):.3g}"
            + ("." if slope is None else f", power spectrum f^{slope:.2f}.")
        )
    usual = study.statistics.slope
    if usual is not None:
        said.append(f"The data's own power spectrum is f^{usual:.2f}.")
    return Made(files, {"layers": rows, "data_spectrum_slope": usual}, said)
