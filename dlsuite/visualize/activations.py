"""Activation maps of every layer in one pass."""

from dlsuite.analysis.neurons import activations as analysis
from dlsuite.analysis.neurons.pictures import eight_bits
from dlsuite.analysis.neurons.receptive_field import receptive_fields
from dlsuite.reports import style
from dlsuite.reports.neurons.figures import activation_maps, receptive_field_figure
from dlsuite.visualize.kernels import file_name
from dlsuite.visualize.study import Made, Study

ENTRIES = [
    {
        "name": "activations",
        "description": "maps of every layer for images, sparsity, silent units, receptive fields",
        "source": "Zeiler and Fergus 2013, arXiv:1311.2901; Araujo et al. 2019 for the fields",
    },
]

_DRAWN = 8


def activations(study: Study) -> Made:
    """Draws the strongest maps of layers for each image, and what layers can see."""
    images, names = study.images("activations")
    units = study.units(study.layers("all"), None)
    layers = list(units)
    named = {layer.name: chosen for layer, chosen in units.items()}
    found = analysis.activations(study.subject, layers, images)
    study.folder.mkdir(parents=True, exist_ok=True)
    files = []
    shown = eight_bits(images, study.subject.value_range) if study.subject.takes_images else images
    for number in range(len(images)):
        part = {
            name: analysis.Activations(
                name, one.maps[number : number + 1], one.sparsity, one.silent
            )
            for name, one in found.items()
        }
        figure = activation_maps(shown[number : number + 1], part, named, most=_DRAWN)
        files.append(style.save(figure, study.folder / f"activations-{number}.png"))
    if study.subject.takes_images:
        fields = receptive_fields(study.anatomy)
        sizes = {
            layer.name: field and field.size
            for layer in layers
            for field in [fields[layer.place.name]]
        }
        figure = receptive_field_figure(sizes, study.subject.input_shape[:2])
        files.append(style.save(figure, study.folder / "receptive-fields.png"))
    arrays = {file_name(name): one.maps for name, one in found.items()}
    files.append(study.write_arrays("activations.npz", {"images": images, **arrays}))
    rows = [
        {"layer": name, "sparsity": one.sparsity, "num_silent": len(one.silent)}
        for name, one in found.items()
    ]
    said = [f"{len(found)} layers on {len(images)} images: {', '.join(names)}."]
    return Made(files, {"images": names, "layers": rows}, said)
