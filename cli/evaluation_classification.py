"""How `dlsuite evaluate` prints the evaluation of a classifier."""

from typing import Any

from rich.markup import escape

from dlsuite.analysis.classification import Evaluation
from dlsuite.cli.console import out, table

# Past this many classes the table shows only the worst.
_MOST_CLASSES = 20
_NUM_WORST = 10


def print_evaluation(evaluation: Evaluation, about: dict[str, Any]) -> None:
    """Prints the numbers, each class's and the most frequent confusions."""
    low, high = evaluation.accuracy_interval
    title = escape(f"{about['data']}, {about['split']} split")
    headline = table("quantity", "value", title=title, right=("value",))
    headline.show_header = False
    for name, value in (
        ("examples", f"{evaluation.num_examples:,}"),
        ("accuracy", _percent(evaluation.accuracy)),
        ("  95 % interval", f"{100 * low:.2f} to {_percent(high)}"),
        ("top-5 accuracy", _percent(evaluation.top5_accuracy)),
        ("negative log-likelihood", f"{evaluation.nll:.4f}"),
        ("macro F1", f"{evaluation.macro_f1:.4f}"),
        ("expected calibration error", _percent(evaluation.expected_calibration_error)),
    ):
        if value is not None:
            headline.add_row(name, value)
    out.print(headline)
    out.print()
    out.print(_class_table(evaluation))
    confusions = evaluation.confusions(_NUM_WORST)
    if confusions:
        out.print()
        out.print(_confusion_table(evaluation, confusions))


def _class_table(evaluation: Evaluation) -> Any:
    rows = evaluation.to_json()["classes"]
    title = None
    if len(rows) > _MOST_CLASSES:
        title = f"The {_NUM_WORST} classes of lowest F1, of {len(rows):,}"
        defined = [row for row in rows if row["f1"] is not None]
        rows = sorted(defined, key=lambda row: row["f1"])[:_NUM_WORST]
    columns = {
        "examples": "support",
        "precision": "precision",
        "recall": "recall",
        "F1": "f1",
        "ROC AUC": "roc_auc",
        "average precision": "average_precision",
    }
    made = table("class", *columns, title=title, right=tuple(columns))
    for row in rows:
        numbers = (_decimal(row[key]) for key in list(columns.values())[1:])
        made.add_row(escape(row["name"]), f"{row['support']:,}", *numbers)
    return made


def _confusion_table(evaluation: Evaluation, confusions: list[tuple[int, int, int]]) -> Any:
    made = table(
        "true",
        "taken for",
        "times",
        "of the class",
        title="Most frequent confusions",
        right=("times", "of the class"),
    )
    for true, predicted, count in confusions:
        made.add_row(
            escape(evaluation.class_names[true]),
            escape(evaluation.class_names[predicted]),
            f"{count:,}",
            _percent(count / evaluation.support[true]),
        )
    return made


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2f} %"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
