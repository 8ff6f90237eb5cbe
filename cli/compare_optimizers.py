"""`dlsuite compare-optimizers`: race optimizers by a protocol that a referee would accept."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlsuite.cli.console import completion, err, json_option, note, number_option
from dlsuite.cli.race_report import display, report
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.resolve import parse_setting, recipe_names, resolve
from dlsuite.wording import counted

if TYPE_CHECKING:
    from dlsuite.studies.plan import RacePlan
    from dlsuite.studies.records import RaceFolder

DEFAULT_PROBLEM = "mnist-mlp"
_DEFAULT = "sgd,momentum,nesterov,adagrad,rmsprop,adam,adamw,sgdw"
_EXIT_CODES = {"interrupted": 130, "paused": 75}
_OF_RECIPE = ("data", "model", "batch_size", "device", "threads")
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
        _check_plan(plan)
        problem = _problem(plan.problem, plan.recipe)
    else:
        if output is not None:
            RaceFolder.check_new(output)
        plan, problem, estimate = _make_plan(recipe, planned, plugin, options, cluster)
        path = output or _default_path(plan.problem)
        folder = RaceFolder.create(path, plan)
        folder.write("estimate.json", estimate)
        from dlsuite.environment import describe

        folder.write("environment.json", describe())
    _run(plan, folder, problem, executor)
    report(folder, as_json=as_json)


def _make_plan(
    recipe: str,
    planned: Path | None,
    plugin: str | None,
    options: dict[str, Any],
    cluster: Any | None,
) -> tuple["RacePlan", Any, dict[str, Any]]:
    """The plan, the problem and what the race is expected to take, printed."""
    from dlsuite import __version__
    from dlsuite.studies import budget
    from dlsuite.studies.on_ray import num_workers
    from dlsuite.studies.plan import RacePlan, make_baselines, make_contenders, rounded_steps
    from dlsuite.studies.records import RaceFolder
    from dlsuite.studies.surfaces import is_on_paper
    from dlsuite.studies.tunable import check_contenders

    limit = budget.parse_duration(options["budget"]) if options["budget"] else None
    if planned is not None:
        plan = RaceFolder.open(planned).plan()
        _check_plan(plan)
        problem = _problem(plan.problem, plan.recipe)
    else:
        if options["final_seeds"] < options["studies"]:
            raise DlsuiteError(
                "Each study's winner runs on a fresh seed at least. Received: --studies "
                f"{options['studies']} with --final-seeds {options['final_seeds']}. Raise it."
            )
        contenders = make_contenders(
            options["optimizers"].split(","), options["schedules"].split(","), options["spaces"]
        )
        if is_on_paper(recipe):
            _check_paper(recipe, options)
            name, problem = recipe, _problem(recipe, None)
            steps, every = problem.steps, 1
            target = problem.target
        else:
            target = _target(options["target"])
            resolved = _resolved(recipe, options)
            name, problem = resolved.name, _problem(recipe, resolved.recipe)
            if options["model"] and options["model"].isidentifier():
                name += f"-{options['model']}"  # another problem than the recipe's
            steps, every = rounded_steps(options["epochs"] * problem.steps_per_epoch)
        plan = RacePlan(
            dlsuite=__version__,
            problem=name,
            recipe=problem.recipe,
            contenders=contenders,
            baselines=make_baselines() if target is None else (),
            trials=options["trials"],
            studies=options["studies"],
            final_seeds=options["final_seeds"],
            steps=steps,
            evaluate_every=every,
            target=target,
            seed=options["seed"],
            plugin=_module_name(plugin) if plugin else None,
        )
    for sentence in problem.notes:
        note(f"Note: {sentence}")
    check_contenders(plan.contenders, steps=plan.steps, clipping=problem.clipping)
    with err.status("Timing a few steps ..."):
        timing = problem.timing((plan.baselines or plan.contenders)[-1])
    workers = 1 if cluster is None else num_workers(cluster, plan)
    if limit is not None and planned is None:
        plan = budget.fit(
            plan, timing, limit, steps_per_epoch=problem.steps_per_epoch, workers=workers
        )
    seconds = budget.expected_seconds(plan, timing, workers=workers)
    note(
        f"{counted(plan.num_trials, 'trial')} of {plan.steps} steps: "
        f"{counted(len(plan.contenders), 'contender')}, "
        f"{counted(plan.studies, 'study', 'studies')} of {counted(plan.trials, 'trial')}, "
        f"{counted(plan.final_seeds, 'fresh seed')}, tuned and untuned."
    )
    at_once = f" on {workers} workers, more where they slow each other" if workers > 1 else ""
    note(
        f"This will take about {budget.duration(seconds)}{at_once} ({1000 * timing.step_s:.3g} ms "
        "a step); widening a range adds to it."
    )
    return plan, problem, {"expected_s": seconds, **vars(timing)}


def _check_paper(problem: str, options: dict[str, Any]) -> None:
    """Checks that nothing is asked of a problem on paper that only a recipe has."""
    given = [name for name in (*_OF_RECIPE, "settings") if options[name]]
    if options["target"] != "auto":
        given.append("target")
    if given:
        option = "--set" if given[0] == "settings" else f"--{given[0].replace('_', '-')}"
        raise DlsuiteError(
            "A problem on paper has neither data nor network, and a target of its own. Received: "
            f"{option} with {problem!r}. Leave it out, or race on a recipe."
        )


def _resolved(recipe: str, options: dict[str, Any]) -> Any:
    resolved = resolve(
        recipe,
        options={name: options[name] for name in _OF_RECIPE},
        settings=dict(map(parse_setting, options["settings"])),
    )
    if resolved.recipe.task != "classification":
        raise DlsuiteError(
            "A race is run on a recipe of the task 'classification'. Received: "
            f"{resolved.name!r}, of the task {resolved.recipe.task!r}. Choose another from "
            "`dlsuite recipes`."
        )
    from dlsuite import planning

    planning.check_names(resolved.recipe)
    return planning.with_absolute_paths(resolved)


def _problem(name: str, recipe: Any) -> Any:
    """The ground of the race: a recipe, or a problem on paper where there is none."""
    with err.status("Loading TensorFlow and the data ..."):
        from dlsuite.runtime import prepare

        prepare()
        if recipe is None:
            from dlsuite.studies.paper import PaperProblem

            return PaperProblem(name)
        from dlsuite.studies.recipe_problem import RecipeProblem

        return RecipeProblem(recipe)


def _target(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise DlsuiteError(
            "A target is auto or an accuracy above 0 and at most 1. Received: "
            f"{text!r}. Example: --target 0.95"
        )
    return value


def _module_name(plugin: str) -> str:
    return Path(plugin).stem if plugin.endswith(".py") else plugin


def _check_plan(plan: "RacePlan") -> None:
    """Checks that a plan's optimizers are known, and says where numbers may differ from it."""
    from dlsuite import __version__
    from dlsuite.optimizers import OPTIMIZERS

    if plan.dlsuite != __version__:
        note(
            f"Note: the race was planned by dlsuite {plan.dlsuite}, and this is {__version__}: "
            "numbers may differ."
        )
    missing = [c.optimizer for c in plan.contenders if c.optimizer not in OPTIMIZERS]
    if missing:
        raise DlsuiteError(
            f"A race's optimizers must be known. Received: {missing[0]!r}, which came from "
            f"{f'the plug-in {plan.plugin!r}' if plan.plugin else 'another package'}. Name its "
            "module with --plugin, or install the package."
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
