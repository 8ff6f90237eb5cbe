"""What `dlsuite compare-optimizers` settles before a race: its plan, its problem, its time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlsuite.cli.console import err, is_given, note
from dlsuite.cli.training_report import preparing
from dlsuite.errors import DlsuiteError, unknown_name
from dlsuite.recipes.resolve import parse_setting, recipe_names, resolve
from dlsuite.wording import counted

if TYPE_CHECKING:
    from dlsuite.studies.plan import RacePlan

# By how much a trial's length may be rounded without a word.
_ROUNDED = 0.1
# Options that name what a recipe has.
_OF_RECIPE = ("data", "model", "batch_size", "device", "threads")


def make_plan(
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

    limit = budget.parse_duration(options["budget"]) if options["budget"] else None
    if planned is not None:
        plan = RaceFolder.open(planned).plan()
        check_plan(plan)
        problem = make_problem(plan.problem, plan.recipe)
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
            name, problem = recipe, make_problem(recipe, None)
            steps, every = problem.steps, 1
            target = problem.target
        else:
            target = _target(options["target"])
            resolved = _resolved(recipe, options)
            name, problem = resolved.name, make_problem(recipe, resolved.recipe)
            if options["model"] and options["model"].isidentifier():
                name += f"-{options['model']}"  # another problem than the recipe's
            asked = options["epochs"] * problem.steps_per_epoch
            steps, every = rounded_steps(asked)
            if abs(steps - asked) > _ROUNDED * asked:
                note(
                    f"Note: A trial of {asked} steps is taken to {steps}, which its twelve "
                    "evaluations divide."
                )
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
    # imports TensorFlow, which make_problem has prepared
    from dlsuite.studies.tunable import check_contenders

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
    if is_given("epochs"):
        given.append("epochs")
    if options["target"] != "auto":
        given.append("target")
    if given:
        option = "--set" if given[0] == "settings" else f"--{given[0].replace('_', '-')}"
        raise DlsuiteError(
            "A problem on paper has neither data nor network, and a target of its own. Received: "
            f"{option} with {problem!r}. Leave it out, or race on a recipe."
        )


def _resolved(recipe: str, options: dict[str, Any]) -> Any:
    from dlsuite.studies.surfaces import PROBLEMS

    if recipe not in recipe_names() and not recipe.endswith(".toml") and not Path(recipe).is_file():
        known = [*recipe_names(), *PROBLEMS]
        remedy = f"Give a recipe (see `dlsuite recipes`), a .toml file, or: {', '.join(PROBLEMS)}."
        raise unknown_name("recipe or problem on paper", recipe, known, remedy)
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


def make_problem(name: str, recipe: Any) -> Any:
    """The ground of the race: a recipe, or a problem on paper where there is none."""
    with preparing():
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


def check_plan(plan: "RacePlan") -> None:
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
