"""What a convolution is: shifts commute with it, and it needs few weights."""

import numpy as np

from dlsuite.analysis.neurons import equivariance as analysis
from dlsuite.errors import DlsuiteError
from dlsuite.reports import style
from dlsuite.reports.neurons.animation import write_animation
from dlsuite.reports.neurons.at_work import convolution_frames
from dlsuite.reports.neurons.planes import equivariance_figure
from dlsuite.visualize.study import Made, Study

ENTRIES = [
    {
        "name": "equivariance",
        "description": "what a convolution is: shift errors, connections, a sliding kernel",
        "source": "LeCun et al. 1998; Zhang 2019, arXiv:1904.11486",
    },
]

# A stroke and an edge detector (Sobel and Feldman 1968), in numbers that can be checked by hand.
_IMAGE = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 2, 3, 0, 0, 0],
        [0, 0, 0, 3, 1, 0, 0],
        [0, 0, 1, 3, 0, 0, 0],
        [0, 0, 3, 1, 0, 0, 0],
        [0, 1, 3, 3, 2, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
)
_KERNEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])


def equivariance(study: Study) -> Made:
    """Draws each layer's shift error and size, and animates a kernel over a small image."""
    if not study.subject.takes_images:
        raise DlsuiteError(
            "Equivariance shifts an image. Received: a model that takes vectors of "
            f"{study.subject.input_shape[0]} numbers. Choose another method."
        )
    images, names = study.images("equivariance")
    layers = study.layers("all")
    found = analysis.equivariance(study.anatomy, layers, images)
    counted = analysis.connections(layers)
    study.folder.mkdir(parents=True, exist_ok=True)
    figure = equivariance_figure(found, counted)
    files = [style.save(figure, study.folder / "equivariance.png")]
    study.progress("animation", 0, 1)
    frames = convolution_frames(_IMAGE, _KERNEL)
    files += write_animation(frames, study.folder / "convolution", fps=2)
    rows = [
        {
            "layer": one.layer,
            "jump": one.jump,
            "shifts": one.shifts.tolist(),
            "inside": one.inside.tolist(),
            "everywhere": one.everywhere.tolist(),
        }
        for one in found
    ]
    sizes = [
        {
            "layer": one.layer,
            "parameters": one.parameters,
            "connections": one.connections,
            "dense": one.dense,
        }
        for one in counted
    ]
    said = []
    for one in found:
        errors = ", ".join(
            f"{shift} px {error:.1e}"
            for shift, error in zip(one.shifts, one.inside, strict=True)
            if np.isfinite(error)
        )
        said.append(f"{one.layer}: {errors or 'every place sees the border'}.")
    return Made(files, {"images": names, "layers": rows, "connections": sizes}, said)
