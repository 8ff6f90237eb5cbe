"""How `dlsuite evaluate` prints the evaluation of a generator."""

from typing import Any

from rich.markup import escape

from dlsuite.analysis.gan import GanEvaluation
from dlsuite.cli.console import out, table


def print_evaluation(evaluation: GanEvaluation, about: dict[str, Any]) -> None:
    """Prints each statistic with its floor, and a classifier's say."""
    title = escape(
        f"{about['data']}: {evaluation.num_examples:,} generated images against the "
        f"{about['split']} split; floor: {evaluation.floor_of} against {about['split']}"
    )
    if about["best"] is not None:
        title += escape(
            "\nepoch {epoch}, chosen on validation: {monitor} {value:.4g}".format(**about["best"])
        )
    columns = ("generated", "floor", "equal sets", "median p", "floor's p")
    made = table("statistic", *columns, title=title, right=columns)
    for row in evaluation.rows:
        values = (row.generated, row.floor, row.best, row.p_value, row.p_floor)
        made.add_row(escape(row.name), *("" if v is None else f"{v:.4g}" for v in values))
    out.print(made)
    if evaluation.judgement is None:
        return
    said = evaluation.judgement
    left_out = ""
    if said.one_class_left_out is not None:
        left_out = f", with one class left out at least {said.one_class_left_out:.4g}"
    out.print(
        f"\nThe classifier on {said.num_samples:,} generated images: mean top probability "
        f"{said.top_probability:.3f}, smallest class {100 * min(said.shares):.1f} %, largest "
        f"{100 * max(said.shares):.1f} %; on real ones {said.real_top_probability:.3f}, "
        f"{100 * min(said.real_shares):.1f} % and {100 * max(said.real_shares):.1f} %. Frechet "
        f"distance of real images blurred by 1 px {said.blurred:.4g}{left_out}."
    )
