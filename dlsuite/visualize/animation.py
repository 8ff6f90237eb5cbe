"""A network at work on a run of images."""

import numpy as np

from dlsuite.analysis.neurons.activations import activations
from dlsuite.analysis.neurons.attribution import Explained
from dlsuite.analysis.neurons.pictures import eight_bits
from dlsuite.reports.neurons.animation import write_animation
from dlsuite.reports.neurons.at_work import network_frames
from dlsuite.visualize.study import Made, Study

ENTRIES = [
    {
        "name": "animation",
        "description": "input, activations and output of the network for a run of images",
        "source": "dlsuite's own",
    },
]

_MOST_LAYERS = 5
_FRAMES = 20


def animation(study: Study) -> Made:
    """Animates the network, fully connected or convolutional, as GIF and MP4."""
    explained = Explained(study.anatomy, batch_size=study.options.batch_size)
    images, names = study.images("animation", count=_FRAMES)
    layers = study.layers("all")
    hidden = [layer for layer in layers if layer.name != study.anatomy.head.name] or layers
    if len(hidden) > _MOST_LAYERS:
        hidden = [hidden[round(n)] for n in np.linspace(0, len(hidden) - 1, _MOST_LAYERS)]
    found = activations(study.subject, hidden, images)
    probabilities = explained.probabilities(images)
    frames = network_frames(
        eight_bits(images, study.subject.value_range),
        {name: one.maps for name, one in found.items()},
        probabilities,
        [study.class_name(k) for k in range(probabilities.shape[1])],
    )
    study.folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for number, one in enumerate(frames):
        study.progress("frames", number, len(images))
        drawn.append(one)
    files = write_animation(drawn, study.folder / "animation", fps=1.5)
    numbers = {"images": names, "layers": list(found), "num_frames": len(drawn)}
    return Made(files, numbers)
