"""Landscape figures: the VTK file by its grammar, the page in a browser, what is not finite."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from dlsuite.analysis.landscape_grid import Landscape
from dlsuite.reports import landscape as figures
from dlsuite.reports import style
from tests.reports.browser import dump


@pytest.fixture
def bowl():
    x, y = np.linspace(-1, 1, 5), np.linspace(-1, 1, 7)
    loss = 0.1 + x[:, None] ** 2 + 2 * y**2
    loss[0, 0] = np.inf
    values = np.stack([loss, 1 / (1 + loss)], axis=-1)[:, :, None]
    return Landscape("bowl", {"a": x, "b": y}, values, ["train"], {})


def test_the_vtk_file_holds_the_grid_with_its_first_axis_fastest(bowl, tmp_path):
    rows = figures.write_vtk(bowl, tmp_path / "bowl.vtk").read_text().splitlines()
    bowl = replace(bowl, name="rün")
    assert "r?n loss" in figures.write_vtk(bowl, tmp_path / "umlaut.vtk").read_text()
    assert rows[3:6] == ["DATASET STRUCTURED_GRID", "DIMENSIONS 5 7 1", "POINTS 35 float"]
    points = np.array([row.split() for row in rows[6:41]], float)
    assert points[1].tolist() == pytest.approx([-0.5, -1, 0.1 + 0.25 + 2])
    assert np.isnan(points[0, 2])
    assert rows[41] == "POINT_DATA 35"
    assert rows[42:44] == ["SCALARS train_loss float 1", "LOOKUP_TABLE default"]
    assert len(rows) == 42 + 2 * (2 + 35)


def test_the_page_draws_every_face_but_those_at_a_gap(bowl, tmp_path):
    page = figures.write_page([bowl], tmp_path / "surface.html", split="train")
    assert "http" not in page.read_text()  # self-contained
    # 4 x 6 faces, one of which has the point that is not finite
    drawn = dump(page)
    assert 'data-faces="23"' in drawn
    assert 'data-marks="1"' in drawn  # the trained network
    places = np.array([[-0.5, 0.5, 1.0], [0.0, 0.0, 0.5], [0.5, 0.0, 0.2]])
    figures.write_page([bowl], page, split="train", tracks=[places])
    assert 'data-marks="3"' in dump(page)


def test_short_logarithmic_axes_have_plain_numbers(tmp_path):
    figure = Figure()
    short, thousands, long = figure.subplots(1, 3)
    for axes, values in ((short, [1.2, 2.9]), (thousands, [18e3, 70e3]), (long, [0.01, 100])):
        axes.plot([1, 2], values)
        axes.set_yscale("log")
    style.save(figure, tmp_path / "axes.png")
    assert {"1.5", "2", "2.5"} <= {label.get_text() for label in short.get_yticklabels()}
    assert [label.get_text() for label in thousands.get_yticklabels()] == ["20,000", "50,000"]
    assert any("10^{" in label.get_text() for label in long.get_yticklabels())


def test_figures_of_two_networks_share_one_scale_and_mark_what_is_not_finite(bowl):
    other = Landscape("other", bowl.axes, 3 * bowl.values, ["train"], {})
    low, high, _ = figures.common_scale([bowl, other], "train")
    assert (low, high) == pytest.approx((0.1, 3 * 3.1))
    figure = figures.contours([bowl, other], split="train")
    # of loss and of accuracy
    for axes in figure.axes[:4]:
        gaps = [line for line in axes.lines if line.get_marker() == "s"]
        assert gaps[0].get_xydata().tolist() == [[-1, -1]]
    assert [axes.get_ylabel() for axes in figure.axes[4:]] == ["train loss", "train accuracy [%]"]
    assert len(figures.surfaces([bowl, other], split="train").axes) == 2


def test_losses_above_the_scale_are_drawn_and_said(bowl, tmp_path):
    loss = np.where(bowl.values > 2, 1e9, bowl.values)
    wall = replace(bowl, values=loss)
    low, high, _ = figures.common_scale([wall], "train")
    assert high == pytest.approx(1e5 * low)
    (filled,) = [
        drawn
        for drawn in figures.contours([wall], split="train").axes[0].collections
        if drawn.filled
    ]
    assert filled.extend == "max"
    page = figures.write_page([wall], tmp_path / "surface.html", split="train").read_text()
    assert "Losses above 1e+04 are drawn at it." in page
    assert (
        "are drawn at it"
        not in figures.write_page([bowl], tmp_path / "bowl.html", split="train").read_text()
    )


def test_a_line_marks_what_is_not_finite():
    places = np.array([-1.0, 0, 1])
    values = np.array([[[0.5, 1], [0.1, 1], [np.nan, 0.1]]])[:, :, None]
    line = Landscape("line", {"direction": np.zeros(1), "step": places}, values, ["train"], {})
    figure = figures.lines([line], along="step")
    crosses = [drawn for drawn in figure.axes[0].lines if drawn.get_marker() == "x"]
    assert crosses[0].get_xdata().tolist() == [1]
