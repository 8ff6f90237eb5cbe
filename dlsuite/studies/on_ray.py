"""A race's trials on a Ray cluster: the same protocol and files, many trials at once."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dlsuite.errors import DlsuiteError
from dlsuite.studies.plan import Contender, RacePlan, Trial
from dlsuite.studies.race import Ended, expected_trials, make_target, missing_trials, next_trials
from dlsuite.studies.records import RaceFolder, Record


def connect() -> Any:
    """Returns Ray, connected to the cluster that ``RAY_ADDRESS`` or this machine has.

    Raises:
        DlsuiteError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray
    except ImportError:
        raise DlsuiteError(
            "--executor ray needs Ray. Received: an installation without it. Install it with "
            "`pip install 'dlsuite[ray]'`."
        ) from None
    if not ray.is_initialized():
        try:
            ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
        except ConnectionError:
            raise DlsuiteError(
                "--executor ray runs on a cluster that is there. Received: none at RAY_ADDRESS or "
                "on this machine. Start one with `ray start --head`, or use --executor local."
            ) from None
    return ray


def num_workers(cluster: Any, plan: RacePlan) -> int:
    """Returns how many trials of a race the connected cluster runs at once.

    A worker lies on one node, whose cores and GPUs it shares with no other.

    Raises:
        DlsuiteError: no node has what a worker needs.
    """
    needs = _needs(plan)
    fitting = [
        min(int(node["Resources"].get(kind, 0) // count) for kind, count in needs.items())
        for node in cluster.nodes()
        if node["Alive"]
    ]
    if not sum(fitting):
        listed = " and ".join(f"{count:g} {kind}" for kind, count in needs.items())
        raise DlsuiteError(
            f"A trial runs on one node, which needs {listed} free for it. Received: a Ray cluster "
            "without such a node. Lower --threads, or start a node that has them."
        )
    return sum(fitting)


def run_race_on_ray(
    plan: RacePlan,
    folder: RaceFolder,
    measure: str,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Ended]:
    """Runs what is missing of a race on the cluster, yielding each trial as it ends.

    Each worker builds the problem once and compiles a contender's step where it takes up another
    contender. Files are written here alone, so that the workers need no shared folder; the data
    must be where the recipe says on each node.

    Args:
        plan: of the race; its threads are what a worker reserves.
        folder: takes a file a trial.
        measure: the problem's.
        should_stop: asked before trials are handed out; those under way are waited for.

    Raises:
        DlsuiteError: see `connect` and `num_workers`; or a worker was lost. What has ended by
            then is kept.
    """
    ray = connect()
    needs = _needs(plan)
    kind = ray.remote(num_cpus=needs["CPU"], num_gpus=needs.get("GPU", 0))(_Worker)
    text = plan.model_dump_json()
    idle = [kind.remote(text) for _ in range(min(num_workers(ray, plan), plan.num_trials))]
    holds: dict[Any, str] = {}
    folder.clear_unfinished()
    records = folder.records()

    def carry_out(
        contenders: Mapping[str, Contender], wave: Callable[[Contender], list[Trial]]
    ) -> Iterator[Ended]:
        under_way: dict[Any, tuple[Any, Trial, float]] = {}
        waiting: dict[str, list[Trial]] = {label: [] for label in contenders}
        while True:
            busy = {trial.contender for _, trial, _ in under_way.values()}
            for label, contender in contenders.items():
                if not waiting[label] and label not in busy:
                    waiting[label] = wave(contender)
            while idle and any(waiting.values()) and not should_stop():
                worker = idle.pop()
                # what it has compiled already, else whoever has most left
                kept = holds.get(worker)
                label = kept if waiting.get(kept) else max(waiting, key=lambda k: len(waiting[k]))
                trial = waiting[label].pop(0)
                holds[worker] = label
                job = worker.run.remote(
                    contenders[label].model_dump_json(), trial.model_dump_json()
                )
                under_way[job] = worker, trial, time.perf_counter()
            if not under_way:
                return
            (ended, *_), _ = ray.wait(list(under_way), num_returns=1)
            worker, trial, started = under_way.pop(ended)
            record = Record.model_validate_json(ray.get(ended))
            idle.append(worker)
            folder.add(record)
            records[trial.name] = record
            expected = expected_trials(plan, records)
            yield Ended(record, len(records), expected, time.perf_counter() - started)

    try:
        baselines = {contender.label: contender for contender in plan.baselines}
        yield from carry_out(baselines, lambda c: missing_trials(plan.baseline_trials(c), records))
        if should_stop():
            return
        target = folder.target()
        if target is None:
            target = make_target(plan, measure, records)
            folder.write("target.json", target.model_dump(mode="json"))
        contenders = {contender.label: contender for contender in plan.contenders}
        yield from carry_out(contenders, lambda c: next_trials(plan, c, target, records))
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DlsuiteError(
            f"Ray's workers must load the race and stay up. Received: {reason}. The data must be "
            "where the recipe says on each node. The trials that ended are kept: go on with "
            f"dlsuite compare-optimizers --resume {folder.path} --executor ray"
        ) from error
    finally:
        for worker in {*idle, *holds}:
            ray.kill(worker)


def _needs(plan: RacePlan) -> dict[str, int]:
    """What a worker reserves, by Ray's name of it."""
    if plan.recipe is None:
        return {"CPU": 1}
    train = plan.recipe.train
    # Ray hides the GPUs from a worker that reserves none
    return {"CPU": train.threads} | ({"GPU": 1} if train.device.startswith("gpu") else {})


class _Worker:
    """A process that holds the problem, and the compiled step of one contender at a time."""

    def __init__(self, plan: str):
        from dlsuite.runtime import prepare

        prepare()
        self._plan = RacePlan.model_validate_json(plan)
        if self._plan.recipe is None:
            from dlsuite.studies.paper import PaperProblem

            self._problem: Any = PaperProblem(self._plan.problem)
        else:
            from dlsuite.studies.recipe_problem import RecipeProblem

            self._problem = RecipeProblem(self._plan.recipe)
        self._prepared: Contender | None = None

    def run(self, contender: str, trial: str) -> str:
        """Returns a trial's record; all three as JSON."""
        wanted = Contender.model_validate_json(contender)
        if wanted != self._prepared:
            self._problem.prepare(
                wanted, steps=self._plan.steps, evaluate_every=self._plan.evaluate_every
            )
            self._prepared = wanted
        return self._problem.run(Trial.model_validate_json(trial)).model_dump_json()
