"""The browsable page: everything about every layer's units."""

from dlsuite.analysis.neurons.anatomy import choose_units
from dlsuite.analysis.neurons.microscope import Microscope, Settings
from dlsuite.reports.neurons.overview import write_overview
from dlsuite.reports.neurons.page import write_page
from dlsuite.visualize.study import Made, Study

ENTRIES = [
    {
        "name": "page",
        "description": "a browsable offline page of every layer: the default",
        "source": "OpenAI Microscope's, for the user's own model",
    },
]

_MOST_UNITS = 32
# Small pictures converge in more steps that cost little; large networks' need fewer.
_STEPS, _STEPS_LARGE, _LARGE = 128, 64, 64


def page(study: Study) -> Made:
    """Writes ``index.html``, ``overview.png`` and the arrays behind them.

    By default every layer with at most 32 units, those of the strongest exemplars. What a folder
    holds already is kept, and more is added to it.
    """
    options, subject = study.options, study.subject
    layers = study.layers("all")
    asked = {}
    if options.units is not None:  # refused, if it is to be, before the work
        several = len(layers) > 1
        asked = {
            layer.name: choose_units(options.units, layer, among_layers=several) for layer in layers
        }
    steps = _STEPS if max(subject.input_shape) <= _LARGE else _STEPS_LARGE
    microscope = Microscope(
        study.folder,
        study.anatomy,
        settings=Settings(
            steps=options.steps or steps,
            seed=options.seed,
            parametrised=options.parametrised,
            limit=options.limit,
            batch_size=options.batch_size,
        ),
        split=study.split,
        data=study.data,
        data_classes=study.data_classes,
    )

    def choose(layer, known):
        return asked[layer.name] if asked else known.ranked()[:_MOST_UNITS]

    microscope.add(layers, choose, progress=study.progress)
    words = [f"dlsuite visualize-filters {study.command}", *_repeated(study)]
    command = " ".join([*words, "--layer LAYER --units UNIT"])
    path = write_page(study.folder, command=command)
    overview = write_overview(study.folder)
    rows = [(layer, microscope.read(layer)) for layer in study.anatomy.neuron_layers]
    return Made(
        [path, overview, study.folder / "microscope.json"],
        {
            "page": str(path),
            "layers": [
                {
                    "name": layer.name,
                    "num_units": layer.place.num_units,
                    "units": known.units,
                    "activations": [float(v) for v in known.arrays.get("unit_activations", [])],
                    "num_dead": int(known.arrays["dead"].sum()) if "dead" in known.arrays else None,
                }
                for layer, known in rows
            ],
        },
    )


def _repeated(study: Study) -> list[str]:
    """The options that a further call must repeat to add to the same folder."""
    options = study.options
    words = []
    if study.run is None or study.data != study.run.recipe.data.name:
        words += [f"--data {study.data}"] if study.data else []
    if study.run is None:
        words += [f"--preprocessing {study.subject.preprocessing}", f"--output {study.folder}"]
    elif study.folder != study.run.path / "filters":
        words += [f"--output {study.folder}"]
    for name in ("steps", "seed", "parametrised", "limit"):
        value, usual = getattr(options, name), getattr(type(options)(), name)
        if value != usual:
            words.append(f"--{'parametrisation' if name == 'parametrised' else name} {value}")
    return words
