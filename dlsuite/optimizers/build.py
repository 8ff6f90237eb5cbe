"""From the recipe's optimizer and schedule to a Keras optimizer."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from dlsuite.errors import DlsuiteError
from dlsuite.optimizers import OPTIMIZERS, SCHEDULES
from dlsuite.optimizers.options import OPTIMIZER_RULES, check_value
from dlsuite.optimizers.schedules.accumulated import Accumulated
from dlsuite.optimizers.schedules.plateau import Plateau, ReduceOnPlateau
from dlsuite.optimizers.schedules.span import Span
from dlsuite.optimizers.schedules.warmup import Warmup
from dlsuite.recipes import schema
from dlsuite.registry import Entry

# Matches every variable that isn't a kernel. Keras searches it in the variable's name, which
# may carry the layer's path ("bias_block/kernel:0") and a replica ("dense/kernel/replica_1:0").
_NOT_A_KERNEL = r"^(?!(?:.*[/_])?kernel(?:/replica_\d+)?(?::\d+)?$)"


def build_optimizer(
    optimizer: schema.Optimizer,
    schedule: schema.Schedule,
    *,
    steps_per_epoch: int,
    epochs: int,
) -> keras.optimizers.Optimizer:
    """Returns the Keras optimizer, not yet built, with the schedule as its learning rate.

    Weight decay lambda takes eta_t alpha lambda w off a kernel w in a step, with the peak
    learning rate alpha and the schedule's multiplier eta_t; off rows that couple to the
    schedule alone it takes eta_t lambda w. Biases, the scales and shifts of normalization and
    all else that isn't named ``kernel`` are left out. Call it in the strategy's scope.

    The schedule, over training steps, is there as the attribute ``schedule`` too; None stands
    for a constant rate without warm-up, which callbacks may set. Where an update takes several
    steps, accumulating them is the engine's.

    Args:
        optimizer: what the recipe says.
        schedule: what the recipe says.
        steps_per_epoch: training steps an epoch.
        epochs: passes over the training split, warm-up counted.

    Raises:
        DlsuiteError: an unknown name or option, a value out of its range, two kinds of
            clipping, or a decay that takes all of a weight in one step.
    """
    row = OPTIMIZERS[optimizer.name]
    options = _checked_options(optimizer)
    normalized = options.pop("normalized", False)
    learning_rate = optimizer.learning_rate or row.details.get("learning_rate")
    if learning_rate is None:
        raise DlsuiteError(
            "An optimizer from a plug-in has no default learning rate. Received: "
            f"{optimizer.name!r} without one. Set optimizer.learning_rate."
        )
    learning_rate = float(learning_rate)
    made = build_schedule(
        schedule, learning_rate=learning_rate, steps_per_epoch=steps_per_epoch, epochs=epochs
    )
    steps = optimizer.accumulate
    if steps > epochs * steps_per_epoch:
        raise DlsuiteError(
            "An update must come within the training. Received: optimizer.accumulate="
            f"{steps} for {epochs * steps_per_epoch} steps. Lower it, or train for more epochs."
        )
    updates = epochs * steps_per_epoch // steps
    decay = _keras_weight_decay(
        optimizer, row, learning_rate, updates=updates, normalized=normalized
    )
    rate = made if steps == 1 else Accumulated(made, steps)
    if schedule.name == "constant" and not schedule.warmup_epochs:
        # a number, so that callbacks may set it: Keras lets nobody set a schedule's
        made, rate = None, learning_rate
    arguments = {
        "learning_rate": rate,
        "weight_decay": decay,
        **row.details.get("fixed", {}),
        **options,
    }
    # set once it is made: a plug-in's function takes the rate, the decay and its options
    shared = _clipping(optimizer)
    if optimizer.ema_decay is not None:
        shared |= {"use_ema": True, "ema_momentum": optimizer.ema_decay}
    keras_class = row.details.get("keras_class")
    if keras_class == "Muon":
        arguments["adam_weight_decay"] = decay
    elif keras_class == "AdamW":
        # refuses None, which spares the other classes the work
        arguments["weight_decay"] = decay or 0.0
    built = _constructor(row)(**arguments)
    for name, value in shared.items():
        setattr(built, name, value)
    built.exclude_from_weight_decay(var_names=[_NOT_A_KERNEL])
    built.schedule = made
    if isinstance(_after_warmup(made), Plateau):
        _after_warmup(made).attach(built)
    return built


def _constructor(row: Entry) -> Callable[..., keras.optimizers.Optimizer]:
    if "keras_class" in row.details:
        return getattr(keras.optimizers, row.details["keras_class"])
    return OPTIMIZERS.load(row.name)


def _checked_options(optimizer: schema.Optimizer) -> dict[str, Any]:
    OPTIMIZERS.check_options(optimizer.name, optimizer.options, "optimizer")
    options = {**OPTIMIZERS[optimizer.name].options, **optimizer.options}
    checked = {}
    for option, value in options.items():
        rule = OPTIMIZER_RULES.get(f"{optimizer.name}.{option}") or OPTIMIZER_RULES.get(option)
        # a plug-in's own options have no rule here: its optimizer checks them
        checked[option] = check_value(f"optimizer.{option}", value, rule) if rule else value
    return checked


def _keras_weight_decay(
    optimizer: schema.Optimizer,
    row: Entry,
    learning_rate: float,
    *,
    updates: int,
    normalized: bool,
) -> float | None:
    """The weight decay that Keras, which multiplies it by the learning rate, has to be given."""
    decay = optimizer.weight_decay
    if decay is None:
        if normalized:
            raise DlsuiteError(
                "A normalized weight decay has no default. Received: "
                "optimizer.normalized = true without optimizer.weight_decay. "
                "Set it; the paper's range is about 0.01 to 0.1."
            )
        decay = row.details.get("weight_decay", 0.0)
    if not decay:
        return None
    asked = decay
    if normalized:
        # b / (B T): a batch of b out of B examples, T epochs
        decay *= math.sqrt(1 / updates)
    by_schedule = row.details.get("coupling") == "schedule"
    share = decay if by_schedule else decay * learning_rate
    if share >= 1:
        raise DlsuiteError(
            "A step's weight decay must leave something of the weight. Received: "
            f"weight_decay={asked:g} of {optimizer.name!r} at the learning rate "
            f"{learning_rate:g} takes {share:g} of it. Lower optimizer.weight_decay."
        )
    return decay / learning_rate if by_schedule else decay


def _clipping(optimizer: schema.Optimizer) -> dict[str, float]:
    keras_names = {
        "clip_norm": "clipnorm",
        "clip_global_norm": "global_clipnorm",
        "clip_value": "clipvalue",
    }
    chosen = {name: getattr(optimizer, name) for name in keras_names}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if len(chosen) > 1:
        said = " and ".join(f"{name}={value:g}" for name, value in chosen.items())
        raise DlsuiteError(
            f"Gradients are clipped in one way at most. Received: {said}. Keep one of them."
        )
    return {keras_names[name]: value for name, value in chosen.items()}


def build_schedule(
    schedule: schema.Schedule, *, learning_rate: float, steps_per_epoch: int, epochs: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate over steps, a linear warm-up first.

    Args:
        schedule: what the recipe says.
        learning_rate: the peak.
        steps_per_epoch: updates an epoch.
        epochs: passes over the training split, warm-up counted.

    Raises:
        DlsuiteError: an unknown name or option, a value out of its range, or a warm-up as long
            as the training.
    """
    total = epochs * steps_per_epoch
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if warmup >= total:
        raise DlsuiteError(
            "schedule.warmup_epochs must be less than train.epochs. Received: "
            f"{schedule.warmup_epochs:g} of {epochs}. Warm up for less or train for longer."
        )
    SCHEDULES.check_options(schedule.name, schedule.options, "schedule")
    span = Span(
        learning_rate=float(learning_rate),
        steps=total - warmup,
        steps_per_epoch=steps_per_epoch,
        first_epoch=warmup / steps_per_epoch,
    )
    made = SCHEDULES.load(schedule.name)(span, **schedule.options)
    return Warmup(made, warmup) if warmup else made


def schedule_callbacks(
    schedule: schema.Schedule, monitor: str, optimizers: Sequence[keras.optimizers.Optimizer]
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that the schedule needs: one for ``plateau``, otherwise none.

    Args:
        schedule: what the recipe says, checked by `build_schedule`.
        monitor: the metric of the epoch's logs (see `schema.is_falling`).
        optimizers: that follow the schedule, from `build_optimizer`, scaled or not.
    """
    if schedule.name != "plateau":
        return []
    options = {**SCHEDULES["plateau"].options, **schedule.options}
    mode = "min" if schema.is_falling(monitor) else "max"
    inner = [getattr(optimizer, "inner_optimizer", optimizer) for optimizer in optimizers]
    schedules = [_after_warmup(optimizer.schedule) for optimizer in inner]
    return [ReduceOnPlateau(schedules, monitor, mode=mode, **options)]


def learning_rate_at(optimizer: keras.optimizers.Optimizer, step: int) -> float:
    """Returns the learning rate of a step, counted from 0; where callbacks set it, today's."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.schedule is None:
        return float(keras.ops.convert_to_numpy(inner.learning_rate))
    return float(inner.schedule(step))


def _after_warmup(
    schedule: keras.optimizers.schedules.LearningRateSchedule,
) -> keras.optimizers.schedules.LearningRateSchedule:
    return schedule.schedule if isinstance(schedule, Warmup) else schedule
