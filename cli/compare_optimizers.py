"""`dlsuite compare-optimizers`: race optimizers by a protocol that a referee would accept."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlsuite.cli.console import completion, is_given, json_option, note, number_option
from dlsuite.cli.race_plan import check_plan, make_plan, make_problem
from dlsuite.cli.race_report import display, report
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.resolve import recipe_names

if TYPE_CHECKING:
    from dlsuite.studies.plan import RacePlan
    from dlsuite.studies.records import RaceFolder

DEFAULT_PROBLEM = "mnist-mlp"
_DEFAULT = "sgd,momentum,nesterov,adagrad,rmsprop,adam,adamw,sgdw"
_EXIT_CODES = {"interrupted": 130, "paused": 75}
# What may be said to a race that has its plan.
_OF_ANY_RACE = ("resume", "redraw", "plugin", "executor", "as_json")
_PATH = click.Path(path_type=Path, file_okay=False)


def _problems() -> list[str]:
    from dlsuite.studies.surfaces import PROBLEMS

    return [*recipe_names(), *PROBLEMS]


@click.command()
@click.argument("recipe", default=DEFAULT_PROBLEM, shell_complete=completion(_problems))
@click.option(
    "--optimizers",
    metavar="LIST",
    default=_DEFAULT,
    show_default=True,
    help="Names of `dlsuite optimizers`, or LABEL=NAME for one under another name.",
)
@number_option("trials", 4, "Points tried in a study.")
@number_option("studies", 3, "Independent tunings of each optimizer.")
@number_option("final-seeds", 6, "Fresh seeds that the tuned and the untuned run on.")
@click.option(
    "--epochs",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    help="Length of a trial, for a recipe.",
)
@click.option(
    "--budget",
    metavar="TIME",
    help="Choose the length, and if need be fewer trials, to fit a time such as 10m.",
)
@click.option(
    "--target",
    metavar="auto|VALUE",
    default="auto",
    show_default=True,
    help="Accuracy to reach; auto takes it from two baselines.",
)
@click.option(
    "--schedules",
    metavar="LIST",
    default="none",
    show_default=True,
    help="Learning-rate schedules, each a contender; none is a constant rate.",
)
@click.option(
    "--space",
    "spaces",
    metavar="LABEL.PARAMETER=LOW:HIGH",
    multiple=True,
    help="What is tuned, or =VALUE to fix it; may be repeated.",
)
@click.option(
    "--executor",
    type=click.Choice(("local", "ray")),
    default="local",
    show_default=True,
    help="Where trials run: in this process, or on an existing Ray cluster.",
)
@click.option(
    "--data", metavar="NAME", help="Dataset, or folder:, idx:, npz:, npy:, h5:, csv:PATH."
)
@click.option("--model", metavar="NAME", help="Network.")
@click.option("--batch-size", metavar="N", type=int, help="Examples a step.")
@click.option("--device", metavar="DEVICE", help="auto, cpu, gpu or gpu:N.")
@click.option("--threads", metavar="N", type=int, help="Threads an operation may use.")
@click.option(
    "--set",
    "settings",
    metavar="SECTION.KEY=VALUE",
    multiple=True,
    help="Any setting of the recipe; may be repeated.",
)
@number_option("seed", 0, "From which all seeds and points follow.", least=0)
@click.option(
    "--output",
    metavar="DIR",
    type=_PATH,
    help="The race's own folder, new or empty.  [default: studies/RECIPE-TIME]",
)
@click.option(
    "--plan",
    "planned",
    metavar="RACE",
    type=_PATH,
    help="Repeat the plan of another race; options that plan are ignored.",
)
@click.option("--resume", metavar="RACE", type=_PATH, help="Go on with a race that was stopped.")
@click.option(
    "--redraw", metavar="RACE", type=_PATH, help="Draw a race's report anew, from its files alone."
)
@click.option("--plugin", metavar="MODULE", help="Module or Python file with your own optimizers.")
@json_option
def command(
    recipe: str,
    planned: Path | None,
    resume: Path | None,
    redraw: Path | None,
    output: Path | None,
    plugin: str | None,
    executor: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Race optimizers on a problem by a fair protocol.

    RECIPE is a built-in name (see `dlsuite recipes`) or a TOML file; its data, network, loss and
    batches are the problem, and its optimizer gives way to the contenders. Or it is a problem on
    paper, whose paths are drawn: quadratic:CONDITION, rosenbrock, beale, saddle, ravine, rastrigin.

    \b
    dlsuite compare-optimizers
    dlsuite compare-optimizers --optimizers adam,sgd --studies 4 --final-seeds 4
    dlsuite compare-optimizers --optimizers adam,slow=adam --space slow.learning_rate=1e-6
    dlsuite compare-optimizers cifar10-resnet20 --data folder:cifar10 --budget 2h
    dlsuite compare-optimizers rosenbrock
    dlsuite compare-optimizers --resume studies/mnist-mlp-TIME

    Each optimizer is tuned on validation in several studies of quasi-random trials; the winners
    are run again on fresh seeds and reported on test, by their time to a target. The page, its
    figures and the verdict lie in the race's folder, beside a file for each trial.
    docs/compare-optimizers.md explains the protocol and what a number of seeds can show.

    Exit codes: 0 done, 1 something to put right, 75 stopped in time by SIGTERM or SIGUSR1, 130
    interrupted by Ctrl-C; --resume goes on after 75 and 130.
    """
    from dlsuite.studies.records import RaceFolder

    if sum(path is not None for path in (planned, resume, redraw)) > 1:
        raise click.UsageError("Give one of --plan, --resume and --redraw.")
    if output is not None and (resume is not None or redraw is not None):
        raise click.UsageError(
            "--output names the folder of a new race; --resume and --redraw work in their own."
        )
    _check_free_options(resume, redraw)
    cluster = None
    if executor == "ray" and redraw is None:
        from dlsuite.studies.on_ray import connect

        if plugin:
            raise DlsuiteError(
                "Ray's workers know dlsuite's own optimizers. Received: --plugin with --executor "
                "ray. Register the optimizer by an entry point, or use --executor local."
            )
        cluster = connect()  # before the minutes that data and network may take
    if plugin:
        from dlsuite.optimizers.plugin import register_optimizers

        register_optimizers(plugin)
    if redraw is not None:
        report(RaceFolder.open(redraw), as_json=as_json)
        return
    if resume is not None:
        folder = RaceFolder.open(resume)
        plan = folder.plan()
        check_plan(plan)
        problem = make_problem(plan.problem, plan.recipe)
        if (described := folder.dataset()) is not None:
            problem.check_data(described)
    else:
        if output is not None:
            RaceFolder.check_new(output)
        plan, problem, estimate = make_plan(recipe, planned, plugin, options, cluster)
        path = output or _default_path(plan.problem)
        folder = RaceFolder.create(path, plan)
        folder.write("estimate.json", estimate)
        if plan.recipe is not None:
            folder.write("dataset.json", problem.describe_data())
        from dlsuite.environment import describe

        folder.write("environment.json", describe())
    _run(plan, folder, problem, executor)
    report(folder, as_json=as_json)


def _check_free_options(resume: Path | None, redraw: Path | None) -> None:
    """Checks that nothing is asked of a race that has its plan already.

    Raises:
        click.UsageError: an option or argument that only a new race has.
    """
    if resume is None and redraw is None:
        return
    ctx = click.get_current_context()
    for parameter in ctx.command.params:
        if is_given(parameter.name) and parameter.name not in _OF_ANY_RACE:
            raise click.UsageError(
                "A race goes on by its own plan. Received: "
                f"{parameter.opts[0] if parameter.opts[0].startswith('-') else 'RECIPE'} with "
                f"{'--resume' if resume else '--redraw'}. Leave it out, or begin a new race."
            )


def _default_path(problem: str) -> Path:
    from dlsuite.studies.records import default_path

    return default_path(problem, datetime.now(UTC).astimezone())


def _run(plan: "RacePlan", folder: "RaceFolder", problem: Any, executor: str) -> None:
    from dlsuite.engine.signals import StopRequest, stop_on_signals
    from dlsuite.studies.on_ray import run_race_on_ray
    from dlsuite.studies.race import run_race

    request = StopRequest()

    def should_stop() -> bool:
        return request.status is not None

    if executor == "ray":
        race = run_race_on_ray(plan, folder, problem.measure, should_stop=should_stop)
    else:
        race = run_race(plan, folder, problem, should_stop=should_stop)
    done = len(folder.records())
    if done:
        note(f"{done} trials have ended already.")
    with folder.locked(), stop_on_signals(request), display(plan) as show:
        for ended in race:
            show(ended)
    if request.status:
        note(
            f"Stopped after a whole trial. Next: dlsuite compare-optimizers --resume {folder.path}"
        )
        raise SystemExit(_EXIT_CODES[request.status])
