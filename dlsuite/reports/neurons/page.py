"""The microscope's page: one file, without a network, of what a folder holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from dlsuite.analysis.neurons.records import Layer
from dlsuite.reports.neurons.encode import kernel_picture, picture_uri, strip
from dlsuite.runs.folder import replacing

_MOST_CLASSES = 5


def write_page(folder: Path, *, command: str) -> Path:
    """Writes ``index.html`` from a microscope's folder and returns its path.

    The page holds all of its pictures and asks no network for anything.

    Args:
        folder: that a `Microscope` wrote.
        command: what computes further units with ``--layer LAYER --units UNIT`` behind it.

    Raises:
        OSError: the folder can't be written.
    """
    content = page_content(folder, command=command)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dlsuite.reports.neurons", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    # "<" might end the script that holds the data
    data = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    text = environment.get_template("microscope.html.j2").render(
        title=content["about"]["model"], data=data
    )
    path = folder / "index.html"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page_content(folder: Path, *, command: str) -> dict[str, Any]:
    """Returns what the page's script draws, as plain values."""
    index = json.loads((folder / "microscope.json").read_text(encoding="utf-8"))
    classes, data_classes = index["class_names"], index["data_classes"]
    references, labels = [], None
    if (folder / "references.npz").exists():
        with np.load(folder / "references.npz", allow_pickle=False) as file:
            references = [picture_uri(image) for image in file["images"]]
            labels = ["" if data_classes is None else data_classes[k] for k in file["labels"]]
    return {
        "about": index["about"],
        "input_shape": index["input_shape"],
        "command": command,
        "classes": classes,
        "references": references,
        "reference_labels": labels,
        "layers": [
            _layer(folder, row, classes, data_classes, is_last=row is index["layers"][-1])
            for row in index["layers"]
        ],
    }


def _layer(
    folder: Path,
    row: Mapping[str, Any],
    classes: list[str] | None,
    data_classes: list[str] | None,
    *,
    is_last: bool,
) -> dict[str, Any]:
    with np.load(folder / row["file"], allow_pickle=False) as file:
        known = Layer({key: file[key] for key in file.files})
    is_head = is_last and classes is not None and row["shape"] == [len(classes)]
    units = [
        _unit(known.arrays, n, unit, classes, data_classes) for n, unit in enumerate(known.units)
    ]
    return {
        **{key: row[key] for key in ("name", "kind", "shape", "num_units", "receptive_field")},
        "input_layer": row["input_layer"],
        "num_dead": row["num_dead"],
        "names": classes if is_head else None,
        "units": units,
    }


def _unit(
    arrays: Mapping[str, np.ndarray],
    n: int,
    unit: int,
    classes: list[str] | None,
    data_classes: list[str] | None,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "unit": unit,
        "picture": picture_uri(arrays["unit_pictures"][n]),
        "score": _short(arrays["unit_scores"][n]),
        "activation": _short(arrays["unit_activations"][n]),
    }
    kernel = arrays["unit_kernels"][n]
    if max(kernel.shape[:2]) > 1:
        found["kernel"] = picture_uri(kernel_picture(kernel))
    if "unit_crops" in arrays:
        found["exemplars"] = picture_uri(strip(arrays["unit_crops"][n]))
        count = len(arrays["unit_crops"][n])
        found["values"] = [_short(value) for value in arrays["exemplar_values"][unit, :count]]
        found["mean"] = _short(arrays["mean"][unit])
        found["active"] = _short(arrays["active"][unit])
        found["dead"] = bool(arrays["dead"][unit])
        maps = arrays["unit_maps"][n]
        if max(maps.shape[1:]) > 1:
            found["maps"] = picture_uri(strip(maps[..., None]))
        else:
            found["levels"] = [int(value) for value in maps[:, 0, 0]]
    if "exemplar_labels" in arrays and data_classes is not None:
        labels = arrays["exemplar_labels"][unit]
        counts = np.bincount(labels, minlength=len(data_classes))
        best = np.argsort(-counts, kind="stable")[:_MOST_CLASSES]
        found["classes"] = [
            [_class_name(data_classes, k), int(counts[k]), len(labels)] for k in best if counts[k]
        ]
        if "exemplars" in found:
            found["labels"] = [_class_name(data_classes, k) for k in labels[:count]]
    if "unit_input_numbers" in arrays:
        pairs = zip(arrays["unit_input_numbers"][n], arrays["unit_input_drives"][n], strict=True)
        found["inputs"] = [[int(other), _short(drive)] for other, drive in pairs if drive]
    if "unit_effects" in arrays:
        pairs = zip(arrays["unit_effect_classes"][n], arrays["unit_effects"][n], strict=True)
        found["effects"] = [[_class_name(classes, k), _short(value)] for k, value in pairs]
    return found


def _class_name(classes: list[str] | None, label: int) -> str:
    return str(int(label)) if classes is None else classes[int(label)]


def _short(value: float) -> float | None:
    """Four digits; None of what is no number, which JSON doesn't have."""
    return float(f"{float(value):.4g}") if np.isfinite(value) else None
