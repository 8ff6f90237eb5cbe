"""A run planned again, from its folder: to go on with it, or to look at it."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dlsuite.environment import PACKAGES, describe
from dlsuite.errors import DlsuiteError
from dlsuite.planning import Plan, plan_resolved, with_model, without_download
from dlsuite.recipes.resolve import Resolved, resolve
from dlsuite.recipes.schema import Recipe
from dlsuite.runs.folder import RunFolder

# Keras gives these networks another graph with ImageNet's weights than with random ones.
_SHAPED_BY_WEIGHTS = "keras:EfficientNetB"
# What decides the last bits of the numbers, beside the versions of packages.
_BIT_DECIDING = (
    *("cpu", "cpu_instructions", "onednn", "gpus"),
    *("device", "threads", "replicas", "workers"),
)
# What folders of before lack: nothing is said of it.
_ADDED = ("cpu_instructions", "onednn")
# Variables of the environment that change how TensorFlow computes.
_VARIABLES = (
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_MAX_CPU_ISA",
)
# What of a recipe a resume may find changed: the rest decides what the state means.
_FREE = (
    "about.",
    "data.name",  # the same data may lie elsewhere, and so may the same classifier
    "gan.classifier",
    "data.memory_gb",
    "train.epochs",
    "train.device",
    "train.not_finite",
    "train.steps_per_call",
    "train.log_every",
    "train.checkpoint_",
    "train.early_stopping",
)


def plan_run(
    path: str | Path, *, epochs: int | None = None, until: int | None = None
) -> tuple[Plan, list[str]]:
    """Returns the plan that a run was carried out by, and what differs from then.

    Args:
        path: the run folder.
        epochs: the epoch it was to train to, where a resume has changed that since.
        until: the step up to which it is looked at; None for all.

    Raises:
        DlsuiteError: no run there, or its data can't be read any more.
    """
    folder = RunFolder.open(path)
    info = folder.read_info()
    resolved = resolve(folder.path / "recipe.toml", options={"epochs": epochs})
    resolved = replace(resolved, name=info["recipe"])
    made = _plan(folder, resolved)
    return made, bit_deciding_differences(folder, made, until=until)


def _plan(folder: RunFolder, resolved: Resolved, *, goes_on: bool = False) -> Plan:
    """The plan of a run, whose network comes from its folder as far as that has it.

    Args:
        folder: the run.
        resolved: its recipe.
        goes_on: a checkpoint, where there is one, will replace all values of the network.
    """
    model, at_hand = resolved.recipe.model, resolved
    kept = folder.base_path(model.name)
    if kept.is_file():
        at_hand = with_model(resolved, model.model_copy(update={"name": str(kept)}))
    elif goes_on and folder.checkpoint_paths and not model.name.startswith(_SHAPED_BY_WEIGHTS):
        at_hand = without_download(resolved)
    made = plan_resolved(at_hand, folder.read_info()["execution"])
    # the run's recipe says where the network came from
    return replace(made, resolved=with_model(made.resolved, model))


def bit_deciding_differences(
    folder: RunFolder, made: Plan, *, until: int | None = None
) -> list[str]:
    """Returns what decides the last bits and was not always so, as in ``threads was 2 and is 1``.

    Args:
        folder: the run, of which each part is looked at: as it began and each resume.
        made: the plan of the run, as it would be carried out now.
        until: the step up to which it is looked at; None for all.
    """
    info, environment = folder.read_info(), folder.read("environment.json")
    first = {"execution": info["execution"], "environment": environment}
    now = _flat(describe(), asdict(made.execution))
    found: list[str] = []
    later = folder.read_rows("parts.jsonl")
    for part in (first, *(row for row in later if until is None or row["step"] < until)):
        then = {key: now[key] for key in _ADDED} | _flat(part["environment"], part["execution"])
        found += [
            f"{name} was {then.get(name)!r} and is {now[name]!r}"
            for name in (*_BIT_DECIDING, *_VARIABLES, *PACKAGES)
            if then.get(name) != now[name]
        ]
    return list(dict.fromkeys(found))


def _flat(described: Mapping[str, Any], execution: Mapping[str, Any]) -> dict[str, Any]:
    """What a part of a run was computed with, by name."""
    variables = {name: described["variables"].get(name) for name in _VARIABLES}
    return {**described, **described["versions"], **execution, **variables}


def _check_unchanged(folder: RunFolder, before: Any, now: Recipe) -> None:
    """Checks that nothing of a run's recipe was edited that its state depends on.

    Args:
        folder: the run.
        before: the settings that it began with; those that there weren't yet had their defaults.
        now: the recipe to go on by.

    Raises:
        DlsuiteError: something was.
    """
    with contextlib.suppress(ValidationError):  # of settings that are gone: named below
        before = type(now).model_validate(before).model_dump(mode="json")

    def leaves(value: Any, key: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            return {key: value}
        found = {}
        for name, inner in value.items():
            found |= leaves(inner, f"{key}.{name}".lstrip("."))
        return found

    then, today = leaves(before), leaves(now.model_dump(mode="json"))
    changed = [
        f"{key} was {then.get(key)!r} and is {today.get(key)!r}"
        for key in sorted(then.keys() | today.keys())
        if then.get(key) != today.get(key) and not key.startswith(_FREE)
    ]
    if changed:
        raise DlsuiteError(
            "A run goes on by the recipe it began with; epochs, devices and workers may change. "
            f"Received: '{folder.path / 'recipe.toml'}', where {'; '.join(changed)}. Put that "
            "back, or train anew."
        )


def plan_resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    devices: int | None = None,
    not_finite: str | None = None,
) -> tuple[Plan, list[str]]:
    """Returns the plan to go on with a run, and sentences on what is not as it was.

    Args:
        path: the run folder.
        epochs: the epoch to train to, where that changes.
        devices: of each worker, where that changes. The number of workers may change as well.
        not_finite: what a step does whose numbers are not finite, where that changes.

    Raises:
        DlsuiteError: no run there, or one that has nothing left to do.
    """
    folder = RunFolder.open(path)
    info = folder.read_info()
    changes = {"train.not_finite": not_finite} if not_finite is not None else {}
    resolved = resolve(
        folder.path / "recipe.toml",
        options={"epochs": epochs, "devices": devices},
        settings=changes,
    )
    resolved = replace(resolved, name=info["recipe"])
    target = resolved.recipe.train.epochs
    done, status = info["epochs_done"], info["status"]
    # killed or paused after its last epoch, a run still has to be ended
    is_over = done == target and status in ("finished", "stopped")
    if done > target or is_over or (status == "stopped" and epochs is None):
        raise DlsuiteError(
            f"A run goes on where epochs are left. Received: '{path}', {status} after "
            f"{done} of {target} epochs. Give more with --epochs."
        )
    if status == "diverged" and not_finite != "skip":
        raise DlsuiteError(
            f"A run goes on from finite numbers. Received: '{path}', which diverged at step "
            f"{info['diverged_at']}. Train anew with a lower --learning-rate, or leave such steps "
            "out with --not-finite skip."
        )
    _check_unchanged(folder, info["settings"], resolved.recipe)
    made = _plan(folder, resolved, goes_on=True)
    if (step := folder.checkpoint_step) > target * made.task.steps_per_epoch:
        raise DlsuiteError(
            f"A run goes on to an epoch that it hasn't passed. Received: --epochs {target} for "
            f"'{path}', which stands at step {step:,}; an epoch has {made.task.steps_per_epoch:,}. "
            "Give more with --epochs."
        )
    dataset, described = made.task.dataset, folder.read("dataset.json")
    found = {key: getattr(dataset, key) for key in ("class_names", "image_shape")}
    found["number of training examples"] = dataset.splits["train"].num_examples
    before = {**described, "number of training examples": described["splits"]["train"]}
    for key, value in found.items():
        # of others neither the network nor the steps of an epoch are the same
        if (list(value) if isinstance(value, tuple) else value) != before[key]:
            raise DlsuiteError(
                f"A run goes on with the data that it began with. Received: {dataset.name!r}, "
                f"whose {key} was {before[key]} and is {value}. Put the data back, or train anew."
            )
    notes = [
        f"The run's {difference}: it goes on, but no longer bit for bit as it would have."
        for difference in bit_deciding_differences(folder, made)
    ]
    if changed := dataset.differences(described):
        notes.append(
            f"The run's data are not what they were: {'; '.join(changed)}. It goes on, but no "
            "longer as it would have, and what it trained on before may lie in validation now."
        )
    if epochs is not None:
        notes.append(f"The schedule now ends with epoch {epochs}.")
    return made, notes
