"""The browsable page: everything about every layer's units."""

import shlex

from dlsuite.analysis.neurons.microscope import Microscope, Settings
from dlsuite.errors import DlsuiteError
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
_NOT_OF_A_PAGE = ("target", "size", "objective", "copies")
# Small pictures converge in more steps that cost little; large networks' need fewer.
_STEPS, _STEPS_LARGE, _LARGE = 128, 48, 64


def page(study: Study) -> Made:
    """Writes ``index.html``, ``overview.png`` and the arrays behind them.

    By default every layer with at most 32 units, those of the strongest exemplars. What a folder
    holds already is kept, and more is added to it.
    """
    options, subject = study.options, study.subject
    layers = study.layers("all")
    without = [layer.name for layer in layers if layer not in study.anatomy.neuron_layers]
    if without:
        raise DlsuiteError(
            "The page shows layers with weights. Received: "
            f"{without[0]!r}, which has none. Choose one that --list says has units, or another "
            "--method."
        )
    # refused, if it is to be, before the work
    asked = None if options.units is None else study.units(layers, None)
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
        return known.ranked()[:_MOST_UNITS] if asked is None else asked.get(layer, [])

    microscope.add(layers, choose, progress=study.progress)
    words = [f"dlsuite visualize-filters {study.command}", *_repeated(study)]
    path = write_page(study.folder, command=" ".join(words))
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
        _unused(study),
    )


def _unused(study: Study) -> list[str]:
    """What is said of options that a page has no use for."""
    usual = type(study.options)()
    named = {"images": "--image", **{name: f"--{name}" for name in _NOT_OF_A_PAGE}}
    given = [
        option
        for name, option in named.items()
        if getattr(study.options, name) != getattr(usual, name)
    ]
    return [f"It makes no use of {', '.join(given)}; other methods do."] if given else []


def _repeated(study: Study) -> list[str]:
    """The options that a further call must repeat to add to the same folder."""
    options = study.options
    words = []
    if study.run is None or study.data != study.run.recipe.data.name:
        words += ["--data", study.data] if study.data else []
    if study.split is not None:
        words += ["--split", study.split.name]
    if study.run is None:
        words += ["--preprocessing", study.subject.preprocessing, "--output", str(study.folder)]
    elif study.folder != study.run.path / "filters":
        words += ["--output", str(study.folder)]
    for name in ("steps", "seed", "parametrised", "limit"):
        value, usual = getattr(options, name), getattr(type(options)(), name)
        if value != usual:
            words += [f"--{'parametrisation' if name == 'parametrised' else name}", str(value)]
    return [shlex.quote(word) for word in words]
