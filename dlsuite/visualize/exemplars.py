"""The image patches that excite units most, beside their maximised pictures."""

import numpy as np

from dlsuite.analysis.neurons.maximisation import maximise
from dlsuite.analysis.neurons.pictures import eight_bits, picture_size
from dlsuite.analysis.neurons.receptive_field import receptive_fields
from dlsuite.analysis.neurons.survey import crops, survey
from dlsuite.reports import style
from dlsuite.reports.neurons.figures import exemplar_rows
from dlsuite.visualize.kernels import file_name
from dlsuite.visualize.study import Made, Study

ENTRIES = [
    {
        "name": "exemplars",
        "description": "the patches of the data that excite a unit most, with class frequencies",
        "source": "Zeiler and Fergus 2013, arXiv:1311.2901; Olah et al. 2017",
    },
]

_MOST_UNITS = 8
_SHOWN = 8
_STEPS = 128


def exemplars(study: Study) -> Made:
    """Draws a row a unit; of the last layer with maps by default."""
    options, subject = study.options, study.subject
    split = study.data_needed("exemplars")
    chosen = study.units(study.layers(study.last_maps_name()), _MOST_UNITS)
    total, done = min(split.num_examples, options.limit), [0]

    def advance(count: int) -> None:
        done[0] += count
        study.progress("dataset", done[0], total)

    found = survey(
        subject,
        list(chosen),
        split,
        limit=options.limit,
        batch_size=options.batch_size,
        progress=advance,
    )
    fields = receptive_fields(study.anatomy)
    study.folder.mkdir(parents=True, exist_ok=True)
    files, rows = [], []
    for layer, units in chosen.items():
        one = found[layer.name]
        field = fields[layer.place.name]
        made = maximise(
            subject,
            layer,
            units,
            parametrised=options.parametrised,
            steps=options.steps or _STEPS,
            size=options.size or picture_size(subject, layer, field),
            statistics=study.statistics,
            batch_size=options.batch_size,
            seed=options.seed,
        )
        seen = [crops(one, split, unit, count=_SHOWN, field=field) for unit in units]
        seen = [[eight_bits(crop, subject.value_range) for crop in row] for row in seen]
        labels = split.labels[one.indices]
        counts = [np.bincount(labels[unit]) for unit in units]
        figure = exemplar_rows(
            eight_bits(made.inputs, subject.value_range),
            seen,
            [_titled(study, *pair) for pair in zip(units, counts, strict=True)],
            [[study.label_name(label) for label in labels[unit, :_SHOWN]] for unit in units],
            f"{layer.name}: what excites a unit, and what did in {study.data}",
        )
        name = file_name(layer.name)
        files.append(style.save(figure, study.folder / f"exemplars-{name}.png"))
        files.append(
            study.write_arrays(
                f"exemplars-{name}.npz",
                {
                    "values": one.values,
                    "indices": one.indices,
                    "rows": one.rows,
                    "columns": one.columns,
                    "labels": labels,
                    "mean": one.mean,
                    "active": one.active,
                    "dead": one.is_dead,
                },
            )
        )
        rows.append(
            {
                "layer": layer.name,
                "num_images": one.num_images,
                "num_dead": int(one.is_dead.sum()),
                "units": [
                    {
                        "unit": unit,
                        "largest": float(one.values[unit, 0]),
                        "images": [str(split.names[i]) for i in one.indices[unit, :_SHOWN]],
                        "classes": {
                            study.label_name(label): int(count[label])
                            for label in np.argsort(-count, kind="stable")[:5]
                            if count[label] and study.data_classes
                        },
                    }
                    for unit, count in zip(units, counts, strict=True)
                ],
            }
        )
    said = [f"{row['layer']}: {row['num_dead']} units dead on {total} images." for row in rows]
    return Made(files, {"layers": rows}, said)


def _titled(study: Study, unit: int, count: np.ndarray) -> str:
    """A unit, and where the data have classes that of most of its best images."""
    if study.data_classes is None:
        return f"unit {unit}"
    label = int(count.argmax())
    name = style.shortened(study.label_name(label), 9)
    return f"unit {unit}\n{count[label] / count.sum():.0%} are {name}"
