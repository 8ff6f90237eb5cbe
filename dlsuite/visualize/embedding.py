"""The images of a dataset in a layer's space."""

import numpy as np

from dlsuite.analysis.neurons.embedding import embed
from dlsuite.analysis.neurons.pictures import eight_bits
from dlsuite.reports import style
from dlsuite.reports.neurons.planes import embedding_figure, neighbours_figure
from dlsuite.visualize.kernels import file_name
from dlsuite.visualize.study import Made, Study

ENTRIES = [
    {
        "name": "embedding",
        "description": "a dataset at a layer by PCA and t-SNE, with nearest neighbours",
        "source": "van der Maaten and Hinton 2008, JMLR 9, 2579",
    },
]

# t-SNE of more points takes minutes and shows no more.
_MOST_IMAGES = 1000


def embedding(study: Study) -> Made:
    """Draws the dataset at layers; at the last before the classes by default."""
    split = study.data_needed("embedding")
    layers = study.anatomy.neuron_layers
    default = layers[-2] if len(layers) > 1 else layers[-1]
    study.folder.mkdir(parents=True, exist_ok=True)
    files, rows, said = [], [], []
    for layer in study.layers(default.name):
        limit = min(study.options.limit, _MOST_IMAGES)
        total, done = min(limit, split.num_examples), [0]

        def advance(count: int, name=layer.name, total=total, done=done) -> None:
            done[0] += count
            study.progress(name, done[0], total)

        found = embed(
            study.subject,
            layer,
            split,
            limit=limit,
            batch_size=study.options.batch_size,
            seed=study.options.seed,
            progress=advance,
        )
        labels = split.labels[found.indices]
        names = [study.label_name(label) for label in range(int(labels.max()) + 1)]
        name = file_name(layer.name)
        figure = embedding_figure(found, labels, names)
        files.append(style.save(figure, study.folder / f"embedding-{name}.png"))
        images = eight_bits(split.read(found.indices), study.subject.value_range)
        figure = neighbours_figure(
            images, [names[label] for label in labels], found.neighbours, layer.name
        )
        files.append(style.save(figure, study.folder / f"neighbours-{name}.png"))
        files.append(
            study.write_arrays(
                f"embedding-{name}.npz",
                {
                    "indices": found.indices,
                    "labels": labels,
                    "features": found.features,
                    "pca": found.pca,
                    "explained": found.explained,
                    "tsne": found.tsne,
                    "neighbours": found.neighbours,
                },
            )
        )
        agreement = found.agreement(split.labels) if study.data_classes else None
        rows.append(
            {
                "layer": layer.name,
                "num_images": len(found.indices),
                "explained": [float(part) for part in found.explained],
                "neighbour_agreement": agreement,
            }
        )
        of_class = (
            f"the nearest of {len(found.indices)} images has the same class in {agreement:.1%}; "
            if agreement is not None
            else ""
        )
        said.append(
            f"{layer.name}: {of_class}two components hold {np.sum(found.explained):.0%} of the "
            "variance."
        )
    return Made(files, {"layers": rows}, said)
