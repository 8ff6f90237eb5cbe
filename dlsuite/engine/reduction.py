"""Gradients summed over the replicas once, before anything else is made of them.

Keras unscales, checks for overflow, clips and accumulates each replica's own gradient and sums
afterwards. On several devices that clips by another norm than on one, misses an overflow that
is not on the first replica, and does not accumulate at all. Here the sum comes first, inside
the optimizer, so that every ``train_step`` means on several devices what it means on one.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

# The end of the names of what accumulates: each replica's own share of a sum.
ACCUMULATED = "accumulated_gradient"
Apply = Callable[[Sequence[tf.Tensor | None], Sequence[keras.Variable] | None], None]


def reduce_once(
    optimizer: keras.optimizers.Optimizer,
    variables: Sequence[keras.Variable],
    *,
    accumulate: int = 1,
) -> None:
    """Prepares a built optimizer so that its ``apply`` sums gradients over the replicas first.

    With `accumulate` = K, K calls are one update with the mean of their gradients, summed over
    the replicas once in K calls; ``optimizer.iterations`` counts updates, and with a loss scale
    an overflow in any of the K skips the update. Weights are overwritten with their moving
    average after the update, out of the replicas' context, where Keras's own way fails.

    The accumulated gradients and their count are added to ``optimizer.variables``: each
    replica's own in its component. Where gradients are clipped by value infinity is made NaN,
    which spoils the weights and so is noticed. Otherwise nothing is touched without a strategy at
    K = 1. The class and the configuration stay as they are. Call it in the strategy's scope,
    before tracing.

    Args:
        optimizer: built; a `keras.optimizers.LossScaleOptimizer` as well as any other.
        variables: what the optimizer was built on.
        accumulate: K, calls an update.

    Raises:
        ValueError: not built, prepared before, or with an accumulation of Keras's own.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not optimizer.built:
        raise ValueError("The optimizer must be built. Call optimizer.build(variables) first.")
    if "apply" in vars(optimizer):
        raise ValueError("The optimizer is prepared already; twice would sum gradients twice.")
    if inner.gradient_accumulation_steps:
        raise ValueError(
            "The optimizer must not accumulate by itself. Received: gradient_accumulation_steps="
            f"{inner.gradient_accumulation_steps}. Pass accumulate to reduce_once instead."
        )
    is_summed = accumulate > 1 or tf.distribute.has_strategy()
    if not (is_summed or inner.clipvalue):
        return
    apply = optimizer.apply
    if inner.clipvalue:
        apply = _showing_infinity(apply)
    if is_summed:
        apply = _overwriting(inner, variables, _reducing(inner, apply))
    if accumulate > 1:
        apply = _accumulating(inner, variables, accumulate, apply)
    # on the instance, which apply_gradients and a loss scale's wrapping go through too
    optimizer.apply = lambda grads, trainable_variables=None: apply(grads, trainable_variables)


def _showing_infinity(apply: Apply) -> Apply:
    """Makes infinity NaN, since clipping by value would make it a number like others."""

    def shown(grad: tf.Tensor | None) -> tf.Tensor | None:
        if grad is None:
            return None
        grad = tf.convert_to_tensor(grad)
        return tf.where(tf.math.is_finite(grad), grad, np.nan)

    return lambda grads, trainable_variables=None: apply(
        list(map(shown, grads)), trainable_variables
    )


def _reducing(inner: keras.optimizers.Optimizer, apply: Apply) -> Apply:
    """Applies gradients summed over the replicas; Keras's own sum is left out."""
    if not hasattr(inner, "_all_reduce_sum_gradients"):
        raise NotImplementedError(
            f"Keras {keras.__version__} sums gradients over replicas in another place than this "
            "version of dlsuite knows."
        )
    inner._all_reduce_sum_gradients = list

    def reducing(grads, trainable_variables=None):
        present = [grad for grad in grads if grad is not None]
        context = tf.distribute.get_replica_context()
        # a sum, since Keras divides each replica's loss by the number of replicas
        summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, present) if present else [])
        apply([None if grad is None else next(summed) for grad in grads], trainable_variables)

    return reducing


def _overwriting(
    inner: keras.optimizers.Optimizer, variables: Sequence[keras.Variable], apply: Apply
) -> Apply:
    """Overwrites the weights with their moving average every so many updates, if asked for."""
    every = inner.ema_overwrite_frequency
    if not inner.use_ema or not every:
        return apply
    inner.ema_overwrite_frequency = None  # a condition in the replicas' context fails

    def overwrite(_):
        done = tf.convert_to_tensor(inner.iterations)
        # An update that overflowed leaves the count, and overwrites with the same again. Before
        # the first update the averages are still 0.
        tf.cond(
            (done > 0) & (done % every == 0),
            lambda: _done(inner._overwrite_model_variables_with_average_value(variables)),
            _done,
        )

    def overwriting(grads, trainable_variables=None):
        apply(grads, trainable_variables)
        tf.distribute.get_replica_context().merge_call(overwrite)

    return overwriting


def _accumulating(
    inner: keras.optimizers.Optimizer,
    variables: Sequence[keras.Variable],
    steps: int,
    apply: Apply,
) -> Apply:
    """Adds up each replica's own gradients and applies their mean in every so many calls."""
    totals = [
        inner.add_variable_from_reference(variable, name=ACCUMULATED) for variable in variables
    ]
    total_of = {id(variable): total for variable, total in zip(variables, totals, strict=True)}
    count = inner.add_variable((), dtype="int", name="accumulated_count")

    def accumulating(grads, trainable_variables=None):
        grads = list(grads)
        targets = list(trainable_variables or variables)
        used = [
            None if grad is None else total_of[id(variable)]
            for grad, variable in zip(grads, targets, strict=True)
        ]
        # assigned in the replicas' context: local, nothing is communicated
        for grad, total in zip(grads, used, strict=True):
            if total is not None:
                total.assign_add(tf.convert_to_tensor(grad))
        count.assign_add(1)

        def update():
            means = [None if total is None else total / steps for total in used]
            apply(means, targets)
            for total in used:
                if total is not None:
                    total.assign(tf.zeros(total.shape, total.dtype))

        def update_when_due(strategy):
            # a condition around a merge call must lie outside of the replicas' context
            tf.cond(
                tf.convert_to_tensor(count) % steps == 0,
                lambda: _done(strategy.run(update)),
                _done,
            )

        tf.distribute.get_replica_context().merge_call(update_when_due)

    return accumulating


def _done(*_) -> tf.Tensor:
    """A branch's result: its two must be alike."""
    return tf.constant(0)
