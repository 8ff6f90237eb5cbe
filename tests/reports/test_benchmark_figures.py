"""The figures of `dlsuite benchmark` show the numbers they were given."""

import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.reports.benchmark import passes_figure, primitives_figure, setting_labels, speed_figure


def row(model, **more):
    common = {"device": "cpu", "precision": "float32", "xla": "rule", "threads": 1}
    return common | {"model": model, "batch_size": 16, "status": "ok"} | more


def test_labels_say_what_differs_and_nothing_else():
    rows = [row("mlp", threads=1), row("mlp", threads=2)]
    assert setting_labels(rows) == ["threads 1", "threads 2"]
    assert setting_labels([row("mlp"), row("lenet5")]) == ["", ""]


def test_speed_is_drawn_where_it_was_measured():
    rows = [
        row("mlp", mode="training", images_per_s=1000.0, threads=1),
        row("mlp", mode="training", images_per_s=2500.0, threads=2),
        row("mlp", mode="training", status="failed", threads=4),
    ]
    (axes,) = speed_figure(rows).axes
    assert [float(line.get_xdata()[0]) for line in axes.lines] == [1000.0, 2500.0]
    assert [text.get_text() for text in axes.texts] == ["1,000", "2,500"]
    assert [text.get_text() for text in axes.get_legend().texts] == ["threads 1", "threads 2"]


def test_passes_are_stacked_to_the_total():
    (axes,) = passes_figure([row("vgg16", forward_s=0.1, forward_backward_s=0.35)]).axes
    forward, backward = axes.patches
    assert forward.get_width() == pytest.approx(100)
    assert backward.get_x() == pytest.approx(100)
    assert backward.get_width() == pytest.approx(250)
    assert axes.texts[0].get_text().strip() == "350"


def test_primitives_have_a_colour_each():
    rows = [
        row("vgg16", primitives="oneDNN", forward_s=1, forward_backward_s=0.2),
        row("vgg16", primitives="plain", forward_s=1, forward_backward_s=0.8),
    ]
    (axes,) = primitives_figure(rows).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([200, 800])
    assert len({bar.get_facecolor() for bar in axes.patches}) == 2


def test_nothing_measured_is_no_figure():
    with pytest.raises(DlsuiteError, match="Received: none that succeeded"):
        speed_figure([row("mlp", mode="training", status="failed")])
