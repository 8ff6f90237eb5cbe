"""Figures say what the numbers say, for few classes and for many, and write clean PNGs."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dlsuite.analysis.classification import evaluate_logits
from dlsuite.errors import DlsuiteError
from dlsuite.reports import style
from dlsuite.reports.classification import (
    confident_mistakes,
    confusion_matrix,
    precision_recall_curves,
    reliability_diagram,
    roc_curves,
    write_evaluation,
    write_figures,
)
from dlsuite.reports.training import training_curves, write_training_curves

FIGURES = [
    "confusion_matrix.png",
    "reliability.png",
    "roc.png",
    "precision_recall.png",
    "mistakes.png",
]


def make(num_classes, num_examples=300, margin=3.0):
    rng = np.random.default_rng(num_classes)
    labels = rng.integers(0, num_classes, num_examples)
    logits = rng.normal(size=(num_examples, num_classes))
    logits[np.arange(num_examples), labels] += margin
    names = [f"class {k}" for k in range(num_classes)]
    return evaluate_logits(logits, labels, class_names=names)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize("num_classes", [2, 10, 30, 150])
def test_every_figure_is_written_for_any_number_of_classes(num_classes, tmp_path):
    evaluation = make(num_classes)
    paths = write_figures(evaluation, lambda i: np.zeros((len(i), 8, 8, 3), np.uint8), tmp_path)
    assert [path.name for path in paths] == FIGURES
    for path in paths:
        with Image.open(path) as image:
            width, height = image.size
            assert 600 < width < 2000  # 2.4 inches to a page at 250 dots an inch
            assert 150 < height < 2000
            assert min(image.convert("L").getextrema()) < 100  # something is drawn


def test_a_class_without_examples_and_a_perfect_classifier_are_drawn(tmp_path):
    logits = 9.0 * np.eye(3)[[0, 1, 0]]
    evaluation = evaluate_logits(logits, np.array([0, 1, 0]), class_names="abc")
    write_figures(evaluation, lambda i: np.zeros((0, 4, 4, 1)), tmp_path)
    assert "No mistake among 3 examples" in confident_mistakes(evaluation, None).texts[0].get_text()
    assert legend(roc_curves(evaluation)) == ["a  AUC 1", "b  AUC 1", "mean AUC 1"]


def test_one_class_alone_says_that_its_roc_is_undefined():
    evaluation = evaluate_logits(np.array([[1.0, 0.0]]), np.array([0]), class_names="ab")
    assert texts(roc_curves(evaluation)) == ["undefined: only one class\nhas examples"]


def test_confusion_cells_hold_the_counts_that_are_not_zero():
    logits = np.eye(3)[[0, 0, 1, 2, 2, 2]]
    evaluation = evaluate_logits(logits, np.array([0, 0, 0, 2, 2, 1]), class_names="abc")
    figure = confusion_matrix(evaluation)
    cells = {t.get_position(): t.get_text() for t in figure.axes[0].texts}
    # (column, row): predicted, true
    assert cells == {(0, 0): "2", (1, 0): "1", (2, 2): "2", (2, 1): "1"}
    assert figure.axes[0].get_title("left") == "2 of 6 misclassified"


def test_many_classes_name_only_the_worst_by_area():
    evaluation = make(30)
    areas = [(curve.area, f"class {k}") for k, curve in enumerate(evaluation.roc) if curve]
    worst = [name for _, name in sorted(areas)[:4]]
    shown = legend(roc_curves(evaluation))
    assert shown[0] == f"{len(areas) - 4} others"
    assert [line.split("  ")[0] for line in shown[1:5]] == worst


def test_few_classes_are_all_named_in_order():
    names = [line.split("  ")[0] for line in legend(precision_recall_curves(make(5)))]
    assert names[:5] == [f"class {k}" for k in range(5)]


def test_only_a_perfect_area_reads_1():
    labels = np.repeat([0, 1], 2000)
    score = np.linspace(1, -1, 4000)
    score[[1999, 2000]] = score[[2000, 1999]]  # one pair in four million out of order
    logits = np.stack([score, -score], axis=1)
    figure = roc_curves(evaluate_logits(logits, labels, class_names="ab"))
    assert legend(figure)[0] == "a  AUC 0.9999"


def test_precision_recall_steps_enclose_the_average_precision():
    evaluation = make(4, margin=1.0)
    figure = precision_recall_curves(evaluation)
    for line, curve in zip(figure.axes[0].lines, evaluation.precision_recall, strict=False):
        x, y = line.get_data()
        area = np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)
        assert area == pytest.approx(curve.area)


def test_reliability_points_are_the_bins_that_hold_something():
    evaluation = make(10)
    bins = evaluation.reliability
    line = reliability_diagram(evaluation).axes[0].lines[-1]
    held = bins.counts > 0
    np.testing.assert_array_equal(line.get_xdata(), bins.confidence[held])
    np.testing.assert_array_equal(line.get_ydata(), bins.accuracy[held])


def test_mistakes_show_the_right_images_with_both_classes():
    evaluation = make(10, margin=1.0)
    asked = []

    def read(indices):
        asked.extend(indices.tolist())
        return np.zeros((len(indices), 6, 6, 1), np.uint8)

    figure = confident_mistakes(evaluation, read, limit=7)
    assert asked == [mistake.index for mistake in evaluation.mistakes[:7]]
    first = evaluation.mistakes[0]
    axes = figure.axes[0]
    assert axes.texts[0].get_text() == f"is class {first.true}"
    assert axes.get_title().startswith(f"class {first.predicted}  ")


@pytest.mark.parametrize(
    ("image", "low", "high"),
    [
        # integers keep their type's range
        (np.array([[[0], [51]], [[102], [204]]], np.uint8), 0.0, 0.8),
        # floats are stretched over their own
        (np.linspace(-3, 7, 400).reshape(20, 20, 1), 0.0, 1.0),
        (np.full((4, 4, 1), 2.5), 0.0, 0.0),
        # five channels become grey
        (np.full((4, 4, 5), 51, np.uint8), 0.2, 0.2),
    ],
)
def test_images_of_any_kind_are_shown_in_grey(image, low, high):
    axes = Figure().subplots()
    style.show_image(axes, image)
    shown = axes.images[0].get_array()
    assert shown.shape == image.shape[:2]
    # uint8 over 255 in float64
    assert (shown.min(), shown.max()) == pytest.approx((low, high), abs=1e-12)


def test_three_channels_are_shown_in_colour():
    axes = Figure().subplots()
    style.show_image(axes, np.full((4, 4, 3), [255, 0, 51], np.uint8))
    np.testing.assert_allclose(axes.images[0].get_array()[0, 0], [1, 0, 0.2])


def test_training_curves_leave_gaps_and_mark_the_best_epoch(tmp_path):
    history = [
        {"epoch": 1, "loss": 2.0, "val_loss": 1.5, "accuracy": 0.5, "learning_rate": 0.1},
        {"epoch": 2, "loss": None, "val_loss": 1.2, "accuracy": 0.6, "learning_rate": 0.05},
    ]
    figure = training_curves(history, best={"epoch": 2, "monitor": "val_loss", "value": 1.2})
    assert [axes.get_title("left") for axes in figure.axes] == ["Loss", "Accuracy", "Learning rate"]
    loss = figure.axes[0].lines[0]
    np.testing.assert_array_equal(loss.get_ydata(), [2.0, np.nan])
    assert legend(figure) == ["training", "validation", "best epoch"]
    assert write_training_curves(history, tmp_path / "training.png").stat().st_size > 1000


def test_a_gans_curves_hold_what_chose_the_epoch():
    keys = ("g_loss", "d_loss", "d_real", "d_fake", "g_gradient", "d_gradient", "learning_rate")
    frechet = "val_frechet_distance"
    history = [dict.fromkeys(keys, 0.5) | {"epoch": n, frechet: 9 / n} for n in (1, 2)]
    figure = training_curves(history, best={"epoch": 2, "monitor": frechet, "value": 4.5})
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[:3] == ["Losses", "Discriminator", "Gradients"]
    assert titles[-1] == "What chose the epoch" and figure.axes[-1].get_ylabel() == frechet
    curve, mark = figure.axes[-1].lines
    np.testing.assert_array_equal(curve.get_ydata(), [9, 4.5])
    assert mark.get_xdata()[0] == 2


def test_training_curves_of_nothing_are_refused():
    with pytest.raises(DlsuiteError, match="at least one epoch"):
        training_curves([])


def test_names_are_shortened_in_the_middle():
    assert style.shortened("short") == "short"
    assert style.shortened("a_rather_long_class_name", 11) == "a_rat…_name"


def test_the_users_settings_neither_matter_nor_change():
    evaluation = make(3)
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30}):
        figure = confusion_matrix(evaluation)
        assert mpl.rcParams["font.size"] == 30
    assert figure.axes[0].get_facecolor() == (1, 1, 1, 1)
    assert figure.axes[0].xaxis.label.get_size() == 8


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    evaluation = make(3)
    first = style.save(roc_curves(evaluation), tmp_path / "first.png").read_bytes()
    assert first == style.save(roc_curves(evaluation), tmp_path / "second.png").read_bytes()


def test_written_predictions_give_the_evaluation_again(tmp_path):
    evaluation = make(4, margin=1.0)
    files = write_evaluation(
        evaluation,
        lambda i: np.zeros((len(i), 4, 4, 1), np.uint8),
        tmp_path / "new" / "folder",
        about={"run": "r"},
    )
    assert [path.name for path in files] == [*FIGURES, "predictions.npz", "evaluation.json"]
    with np.load(tmp_path / "new" / "folder" / "predictions.npz") as held:
        again = evaluate_logits(held["logits"], held["labels"], class_names=held["class_names"])
    assert again.to_json() == evaluation.to_json()


def test_figures_need_no_pyplot():
    code = (
        "import sys, dlsuite.reports.classification, dlsuite.reports.training;"
        "sys.exit('matplotlib.pyplot' in sys.modules or 'tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
