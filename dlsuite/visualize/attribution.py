"""Which pixels speak for a class: every attribution method, alone or compared."""

import numpy as np

from dlsuite.analysis.neurons import class_activation, gradients, guided, perturbation
from dlsuite.analysis.neurons.anatomy import NeuronLayer
from dlsuite.analysis.neurons.attribution import Explained, flattened, randomised
from dlsuite.analysis.neurons.faithfulness import faithfulness, similarity
from dlsuite.analysis.neurons.integrated_gradients import integrated_gradients
from dlsuite.analysis.neurons.pictures import eight_bits
from dlsuite.errors import DlsuiteError
from dlsuite.reports import style
from dlsuite.reports.neurons.heat import attribution_figure, faithfulness_figure
from dlsuite.visualize.study import Made, Study

ENTRIES = [
    {
        "name": "{method}",
        "function": "attribute",
        "description": "{said}",
        "source": "{paper}",
        "variants": [
            {
                "method": "gradient",
                "said": "gradient of a class's logit with respect to the pixels",
                "paper": "Simonyan et al. 2013, arXiv:1312.6034",
            },
            {
                "method": "gradient-input",
                "said": "gradient times the pixels",
                "paper": "Shrikumar et al. 2016, arXiv:1605.01713",
            },
            {
                "method": "smoothgrad",
                "said": "gradient averaged over noisy copies",
                "paper": "Smilkov et al. 2017, arXiv:1706.03825",
            },
            {
                "method": "integrated-gradients",
                "said": "attributions that add up to the logit, with the error of the sum",
                "paper": "Sundararajan et al. 2017, arXiv:1703.01365",
            },
            {
                "method": "guided-backprop",
                "said": "positive gradients through active ReLUs, with its sanity check",
                "paper": "Springenberg et al. 2014, arXiv:1412.6806",
            },
            {
                "method": "deconvnet",
                "said": "positive gradients through every ReLU, with its sanity check",
                "paper": "Zeiler and Fergus 2013, arXiv:1311.2901",
            },
            {
                "method": "grad-cam",
                "said": "places of the last maps that speak for a class",
                "paper": "Selvaraju et al. 2016, arXiv:1610.02391",
            },
            {
                "method": "grad-cam++",
                "said": "the same for several objects of a class",
                "paper": "Chattopadhay et al. 2017, arXiv:1710.11063",
            },
            {
                "method": "layer-cam",
                "said": "the same with a weight for each place, for earlier layers too",
                "paper": "Jiang et al. 2021, IEEE TIP 30, 5875",
            },
            {
                "method": "score-cam",
                "said": "the same without gradients, a forward pass a channel",
                "paper": "Wang et al. 2019, arXiv:1910.01279",
            },
            {
                "method": "occlusion",
                "said": "what the logit loses where a patch is hidden",
                "paper": "Zeiler and Fergus 2013, arXiv:1311.2901",
            },
            {
                "method": "rise",
                "said": "how much more probable the class is where a pixel is kept",
                "paper": "Petsiuk et al. 2018, arXiv:1806.07421",
            },
        ],
    },
    {
        "name": "attribution",
        "function": "compare",
        "description": "all of these side by side, with deletion and insertion curves",
        "source": "Petsiuk et al. 2018, arXiv:1806.07421, for the curves",
    },
]

_PIXELWISE = {
    "gradient": gradients.gradient,
    "gradient-input": gradients.gradient_input,
    "smoothgrad": gradients.smoothgrad,
    "guided-backprop": guided.guided_backpropagation,
    "deconvnet": guided.deconvnet,
}
_CAMS = {
    "grad-cam": class_activation.grad_cam,
    "grad-cam++": class_activation.grad_cam_plus_plus,
    "layer-cam": class_activation.layer_cam,
    "score-cam": class_activation.score_cam,
}
_HIDING = {"occlusion": perturbation.occlusion, "rise": perturbation.rise}
_SEEDED = ("smoothgrad", "rise")
_ALTERED = ("guided-backprop", "deconvnet")
_RANDOM = "{}, shuffled"


def attribute(study: Study, *, method: str = "gradient") -> Made:
    """Draws the maps of one method for each image, and writes them."""
    return _made(study, [method], method)


def compare(study: Study) -> Made:
    """Draws the maps of all methods that the model allows, and their curves."""
    explained = Explained(study.anatomy, batch_size=study.options.batch_size)
    names = [name for name in (*_PIXELWISE, "integrated-gradients", *_CAMS, *_HIDING)]
    has_maps = any(layer.place.has_maps for layer in study.anatomy.neuron_layers[:-1])
    if not has_maps:
        names = [name for name in names if name not in _CAMS]
    if not guided.has_relu(explained):
        names = [name for name in names if name not in _ALTERED]
    return _made(study, names, "attribution")


def _made(study: Study, names: list[str], file: str) -> Made:
    layer = _layer_of_maps(study) if any(name in _CAMS for name in names) else None
    images, image_names = study.images(file)
    explained = Explained(study.anatomy, batch_size=study.options.batch_size)
    outputs = explained.outputs(images)
    targets = study.target(outputs)
    maps: dict[str, np.ndarray] = {}
    numbers = {}
    for done, name in enumerate(names):
        study.progress(name, done, len(names))
        maps[name], numbers[name] = _maps(study, explained, name, images, targets, layer)
    study.folder.mkdir(parents=True, exist_ok=True)
    titles = [
        f"class {study.class_name(target)}: {probability:.0%}"
        for target, probability in zip(
            targets, explained.probabilities(images)[np.arange(len(images)), targets], strict=True
        )
    ]
    drawn = dict(maps)
    for name in [name for name in names if name in _ALTERED]:
        with randomised(study.anatomy, seed=study.options.seed):
            fresh = Explained(study.anatomy, batch_size=study.options.batch_size)
            shuffled, _ = _maps(study, fresh, name, images, targets, layer)
        drawn[_RANDOM.format(name)] = shuffled
        alike = similarity(maps[name], shuffled)
        numbers[name]["similarity_to_shuffled_weights"] = [float(value) for value in alike]
    shown = eight_bits(images, study.subject.value_range)
    figure = attribution_figure(shown, titles, drawn)
    files = [style.save(figure, study.folder / f"{_safe(file)}.png")]
    curves = {name: faithfulness(explained, images, targets, found) for name, found in maps.items()}
    for name, one in curves.items():
        numbers[name]["deletion_area"] = float(one.deletion_area.mean())
        numbers[name]["insertion_area"] = float(one.insertion_area.mean())
    if len(names) > 1:
        figure = faithfulness_figure(curves)
        files.append(style.save(figure, study.folder / f"{_safe(file)}-curves.png"))
    arrays = {"images": images, "targets": targets, **{_safe(k): v for k, v in drawn.items()}}
    files.append(study.write_arrays(f"{_safe(file)}.npz", arrays))
    named = [
        {"image": name, "class": study.class_name(int(target)), "logit": float(row[target])}
        for name, target, row in zip(image_names, targets, outputs, strict=True)
    ]
    return Made(files, {"images": named, "maps": numbers}, _said(numbers))


def _layer_of_maps(study: Study) -> NeuronLayer | None:
    """The one layer that class activation maps look at; None takes the last with maps.

    Raises:
        DlsuiteError: several were named, or one without height and width.
    """
    if study.options.layer is None:
        return None
    chosen = study.layers("first")
    if len(chosen) > 1:
        raise DlsuiteError(
            "A class activation map is of one layer. Received: --layer "
            f"{study.options.layer}. Name one of --list, or leave it out for the last with maps."
        )
    Explained(study.anatomy).check_maps(chosen[0])
    return chosen[0]


def _maps(study: Study, explained: Explained, name: str, images, targets, layer):
    """One number a pixel, (B, H, W), and what else there is to say."""
    seed = {"seed": study.options.seed} if name in _SEEDED else {}
    if name in _PIXELWISE:
        return flattened(_PIXELWISE[name](explained, images, targets, **seed)), {}
    if name in _CAMS:
        return _CAMS[name](explained, images, targets, layer=layer), {}
    if name in _HIDING:
        return _HIDING[name](explained, images, targets, **seed), {}
    found = integrated_gradients(explained, images, targets)
    errors = [float(value) for value in found.errors]
    return flattened(found.maps), {"completeness_errors": errors}


def _said(numbers: dict[str, dict]) -> list[str]:
    said = []
    for name, found in numbers.items():
        # a method alone is named by who prints it
        words = f"{name}: " if len(numbers) > 1 else ""
        words += f"deletion {found['deletion_area']:.3f}, insertion {found['insertion_area']:.3f}"
        if "completeness_errors" in found:
            words += f", completeness error up to {max(found['completeness_errors']):.2%}"
        if "similarity_to_shuffled_weights" in found:
            alike = np.mean(found["similarity_to_shuffled_weights"])
            words += f", rank correlation with shuffled weights {alike:.2f}"
        said.append(words + ".")
    return said


def _safe(name: str) -> str:
    return name.replace("++", "-plus-plus").replace(", ", "-").replace(" ", "-")
