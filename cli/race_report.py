"""How a race shows itself: while it goes on, and when it has ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dlsuite.cli.console import err, note, out, print_json, table
from dlsuite.errors import DlsuiteError

if TYPE_CHECKING:
    from dlsuite.studies.plan import RacePlan
    from dlsuite.studies.race import Ended
    from dlsuite.studies.records import RaceFolder

# Columns of the page's table that fit a terminal.
_COLUMNS = (
    "contender",
    "steps to target",
    "interval",
    "reached",
    "mean rank",
    "test accuracy",
    "test loss",
    "untuned: steps",
)


@contextmanager
def display(plan: "RacePlan") -> Iterator[Callable[["Ended"], None]]:
    """Yields what shows an ended trial: a bar on a terminal, a line a phase elsewhere."""
    if not err.is_terminal:
        shown: set[tuple[str, str]] = set()

        def line(ended: "Ended") -> None:
            trial = ended.record.trial
            if (trial.contender, trial.phase) not in shown:
                shown.add((trial.contender, trial.phase))
                note(f"{ended.done}/{ended.expected} {trial.contender}: {trial.phase}")

        yield line
        return
    with Progress(
        TextColumn("{task.fields[who]:<24}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f} trials"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=plan.num_trials, who="")

        def move(ended: "Ended") -> None:
            trial = ended.record.trial
            who = f"{trial.contender}, {trial.phase}"
            bar.update(task, completed=ended.done, total=ended.expected, who=who)

        yield move


def report(folder: "RaceFolder", *, as_json: bool) -> None:
    """Draws a race's report and prints its table and verdict.

    Raises:
        DlsuiteError: trials are missing, or the report can't be written.
    """
    from dlsuite.studies.race import is_complete
    from dlsuite.studies.scoring import score_race

    plan, target, records = folder.plan(), folder.target(), folder.records()
    if not is_complete(plan, target, records):
        raise DlsuiteError(
            f"A report needs all trials of a race. Received: '{folder.path}', where some are "
            "missing. Go on with --resume."
        )
    results = score_race(plan, target, records)
    data = folder.dataset()
    if data is not None:
        counts = {
            split: (count, data["splits"][split]) for split, count in data["evaluated"].items()
        }
        results = replace(results, evaluated=counts)
    with err.status("Drawing ..."):
        from dlsuite.reports.race import table as result_table
        from dlsuite.reports.race import to_json, write_report

        paths = write_report(results, folder.path / "report")
    if as_json:
        names = [path.name for path in paths]
        print_json({"race": str(folder.path), "files": names, **to_json(results)})
        return
    from dlsuite.studies.verdict import verdict

    head, rows = result_table(results)
    chosen = [index for index, name in enumerate(head) if name in _COLUMNS]
    made = table(*(head[index] for index in chosen), right=tuple(head[1:]))
    for row in rows:
        made.add_row(*(row[index] for index in chosen))
    out.print(made)
    out.print()
    for sentence in verdict(results):
        out.print(sentence, markup=False)
    out.print(f"\nReport: {folder.path / 'report' / 'index.html'}", markup=False, soft_wrap=True)
