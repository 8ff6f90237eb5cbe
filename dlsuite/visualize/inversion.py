"""What of an image each layer keeps, and what a code looks like."""

import numpy as np

from dlsuite.analysis.neurons.activations import activations
from dlsuite.analysis.neurons.inversion import invert
from dlsuite.reports import style
from dlsuite.reports.neurons.figures import exemplar_rows
from dlsuite.visualize.kernels import file_name
from dlsuite.visualize.study import Made, Study

ENTRIES = [
    {
        "name": "inversion",
        "description": "pictures that bring a layer into the state an image did, layer by layer",
        "source": "Mahendran and Vedaldi 2014, arXiv:1412.0035",
    },
    {
        "name": "codes",
        "description": "pictures of one unit alone at its largest activation",
        "source": "Nguyen et al. 2016, arXiv:1605.09304",
    },
]

_MOST_LAYERS = 5
_MOST_UNITS = 16
_STEPS = 256


def inversion(study: Study) -> Made:
    """Draws a row an image: itself, and what layers of rising depth kept of it."""
    images, names = study.images("inversion")
    layers = study.layers("all")
    if len(layers) > _MOST_LAYERS:
        layers = [layers[round(n)] for n in np.linspace(0, len(layers) - 1, _MOST_LAYERS)]
    found = activations(study.subject, layers, images)
    pictures, rows, arrays = [], [], {"images": images}
    for number, layer in enumerate(layers):
        study.progress(layer.name, number, len(layers))
        made = invert(
            study.subject,
            layer,
            found[layer.name].maps,
            parametrised=study.options.parametrised,
            steps=study.options.steps or _STEPS,
            statistics=study.statistics,
            batch_size=study.options.batch_size,
            seed=study.options.seed,
        )
        pictures.append(study.pictures(made.inputs))
        arrays[file_name(layer.name)] = made.inputs
        rows.append({"layer": layer.name, "errors": [float(value) for value in made.errors]})
    study.folder.mkdir(parents=True, exist_ok=True)
    figure = exemplar_rows(
        study.pictures(images),
        [[one[n] for one in pictures] for n in range(len(images))],
        [style.shortened(name, 16) for name in names],
        [[f"{row['layer']} {row['errors'][n]:.0%}" for row in rows] for n in range(len(images))],
        "Images, and what each layer keeps of them (error of its code)",
    )
    files = [style.save(figure, study.folder / "inversion.png")]
    files.append(study.write_arrays("inversion.npz", arrays))
    said = [f"{row['layer']}: code off by {np.mean(row['errors']):.1%}." for row in rows]
    return Made(files, {"images": names, "layers": rows}, said)


def codes(study: Study) -> Made:
    """Draws an image exemplar of each unit's code: that unit at its largest, all others at 0."""
    from dlsuite.analysis.neurons.survey import survey
    from dlsuite.reports.neurons.figures import picture_grid

    (layer,) = study.layers(study.anatomy.neuron_layers[-1].name)[:1]
    units = study.units([layer], _MOST_UNITS)[layer]
    split = study.data_needed("codes")
    found = survey(
        study.subject,
        [layer],
        split,
        limit=study.options.limit,
        batch_size=study.options.batch_size,
    )
    largest = found[layer.name].values
    wanted = np.zeros((len(units), *layer.place.shape), np.float32)
    for number, unit in enumerate(units):
        wanted[number, ..., unit] = largest[unit, 0]
    made = invert(
        study.subject,
        layer,
        wanted,
        parametrised=study.options.parametrised,
        steps=study.options.steps or _STEPS,
        statistics=study.statistics,
        batch_size=study.options.batch_size,
        seed=study.options.seed,
    )
    name = file_name(layer.name)
    study.folder.mkdir(parents=True, exist_ok=True)
    figure = picture_grid(
        study.pictures(made.inputs),
        [f"{unit}: off by {error:.0%}" for unit, error in zip(units, made.errors, strict=True)],
        f"{layer.name}: pictures of one unit alone at its largest activation",
    )
    files = [style.save(figure, study.folder / f"codes-{name}.png")]
    arrays = {"units": np.array(units), "codes": wanted, "inputs": made.inputs}
    files.append(study.write_arrays(f"codes-{name}.npz", arrays))
    errors = [float(value) for value in made.errors]
    live = [error for error, code in zip(errors, wanted, strict=True) if code.any()]
    said = []
    if live:  # from a unit that is always 0 nothing can be off by a share of it
        said.append(f"{layer.name}: codes off by {np.mean(live):.0%} in the mean (silence: 100%).")
    return Made(files, {"layer": layer.name, "units": units, "errors": errors}, said)
