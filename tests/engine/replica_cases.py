"""Small trainings under any strategy, and this file as a process that runs them.

``python replica_cases.py devices OUT.npz`` trains on virtual devices, with ``workers`` in the
place of ``devices`` as the worker process that TF_CONFIG says. Both are set before TensorFlow
starts, hence a process of their own.
"""

import sys

from dlsuite.runtime import prepare

prepare()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from dlsuite.engine.guard import Fault, Guard  # noqa: E402
from dlsuite.engine.loop import Loop, Progress  # noqa: E402
from dlsuite.engine.reduction import ACCUMULATED  # noqa: E402
from dlsuite.engine.replicas import (  # noqa: E402
    ReplicaBatches,
    average_statistics,
    offset_seeds,
    prepare_model,
    replica_batches,
)
from dlsuite.engine.state import State  # noqa: E402
from dlsuite.engine.strategy import choose_strategy  # noqa: E402
from dlsuite.engine.workers import Workers  # noqa: E402
from dlsuite.layers.batch_normalization import BatchNormalization  # noqa: E402
from dlsuite.recipes.resolve import resolve  # noqa: E402
from dlsuite.tasks.classification import Classification  # noqa: E402

BATCH, STEPS, OVERFLOW = 12, 12, 5

OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01),
    "adam_clipped": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.05),
    "accumulated": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.05),
    "overwritten": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=5),
    "synchronized": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "float16": lambda: keras.optimizers.SGD(0.001, global_clipnorm=1.0),
    "float16_accumulated": lambda: keras.optimizers.SGD(0.001, global_clipnorm=1.0),
}


def training_arrays(*, overflow=False):
    """Images, labels and weights of all steps' examples in order."""
    random = np.random.default_rng(0)
    images = random.normal(size=(BATCH * STEPS, 6)).astype("float32")
    labels = np.eye(3, dtype="float32")[random.integers(0, 3, BATCH * STEPS)]
    weights = np.ones(BATCH * STEPS, "float32")
    if overflow:
        # a finite loss whose scaled gradient isn't, in the last example of a step's batch
        weights[(OVERFLOW + 1) * BATCH - 1] = 1e5
    return images, labels, weights


def shared_batches(arrays, shard):
    """A worker's share of each batch, in order."""
    index, count = shard
    share = BATCH // count
    parts = [array.reshape(STEPS, count, share, *array.shape[1:])[:, index] for array in arrays]
    return tf.data.Dataset.from_tensor_slices(tuple(parts))


class SpoiltGradient(keras.layers.Layer):
    """Passes its input on, and where it exceeds 100 a gradient of `bad`."""

    def __init__(self, bad=np.nan):
        super().__init__()
        self._bad = bad

    def call(self, inputs):
        @tf.custom_gradient
        def spoilt(x):
            return x, lambda upstream: tf.where(x > 100, self._bad, upstream)

        return spoilt(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


def residual(image, initial):
    """A block whose shortcut is a projection: its normalization waits for none of the branch's."""

    def convolution(maps, filters, size, seed):
        layer = keras.layers.Conv2D(
            filters, size, padding="same", kernel_initializer=initial(seed=seed)
        )
        return BatchNormalization(momentum=0.9)(layer(maps))

    maps = keras.layers.Reshape((3, 2, 1))(image)
    branch = keras.layers.ReLU()(convolution(maps, 4, 3, 3))
    branch = convolution(branch, 5, 3, 4)
    added = keras.layers.Add()([branch, convolution(maps, 5, 1, 5)])
    # of vectors: another rank than the fused kernel's
    flat = keras.layers.Flatten()(keras.layers.ReLU()(added))
    return BatchNormalization(momentum=0.9)(flat)


def small_model(case):
    """A compiled and built network: with batch normalization where the case is about it."""
    initial = keras.initializers.GlorotUniform
    policy = "mixed_float16" if case.startswith("float16") else "float32"
    image = keras.Input((6,))
    hidden = residual(image, initial) if case == "synchronized" else image
    hidden = keras.layers.Dense(8, kernel_initializer=initial(seed=1), dtype=policy)(hidden)
    if case == "statistics":
        hidden = BatchNormalization()(hidden)
    hidden = keras.layers.Activation("tanh", dtype=policy)(hidden)
    logits = keras.layers.Dense(3, kernel_initializer=initial(seed=2), dtype=policy)(hidden)
    model = keras.Model(image, keras.layers.Activation("linear", dtype="float32")(logits))
    optimizer = OPTIMIZERS.get(case, OPTIMIZERS["adam_clipped"])()
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    model.optimizer.build(model.trainable_variables)
    return model


def faulty_model(*, normalized):
    """A network that overflows, or whose gradient alone is none, where its input is large."""
    initial = keras.initializers.GlorotUniform
    image = keras.Input((6,))
    hidden = keras.layers.Dense(8, kernel_initializer=initial(seed=1), name="early")(image)
    if normalized:
        hidden = BatchNormalization()(hidden)
    hidden = SpoiltGradient()(keras.layers.Rescaling(10)(hidden))
    hidden = keras.layers.Rescaling(0.01)(hidden)
    model = keras.Model(image, keras.layers.Dense(3, kernel_initializer=initial(seed=2))(hidden))
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    model.optimizer.build(model.trainable_variables)
    return model


def components(strategy, variable):
    """A variable's value on each of this process's replicas."""
    return [part.numpy() for part in strategy.experimental_local_results(variable.value)]


def by_replica(strategy, variables):
    """The values of some variables in a row for each of this process's replicas."""
    parts = [components(strategy, variable) for variable in variables]
    return np.stack(
        [np.concatenate([part.ravel() for part in replica]) for replica in zip(*parts, strict=True)]
    )


def train(case, strategy):
    """The losses of all steps and each replica's weights, iterations and loss scale."""
    arrays = training_arrays(overflow=case.startswith("float16"))
    accumulate = 4 if case.endswith("accumulated") else 1
    with strategy.scope():
        model = small_model(case)
        if case != "stock":
            optimizers = [(model.optimizer, model.trainable_variables)]
            synchronize = case == "synchronized"
            prepare_model(model, optimizers, accumulate=accumulate, synchronize=synchronize)
        loop = Loop(model, steps_per_call=5)
        batches = ReplicaBatches(strategy, lambda shard: shared_batches(arrays, shard))
        loop.evaluate(batches.take(1))
        blocks = [
            event
            for event in loop.train(batches, steps_per_epoch=STEPS, epochs=1, progress=Progress())
            if not isinstance(event, Progress)
        ]
    found = {
        name: np.concatenate([block.metrics[name] for block in blocks])
        for name in ("loss", "accuracy")
    }
    found["traces"] = np.sum([block.compiling for block in blocks])
    found["weights"] = by_replica(strategy, model.variables)
    found["iterations"] = keras.ops.convert_to_numpy(model.optimizer.iterations)
    if hasattr(model.optimizer, "dynamic_scale"):
        found["scale"] = np.array(components(strategy, model.optimizer.dynamic_scale))
    return found


def fault(strategy, *, bad, accumulate=1, synchronize=False):
    """A step that goes wrong in the last replica's half of the batch: stopped at, then left out."""
    images, labels, weights = training_arrays()
    images[(OVERFLOW + 1) * BATCH - 1] = bad
    with strategy.scope():
        model = faulty_model(normalized=synchronize)
        optimizers = [(model.optimizer, model.trainable_variables)]
        prepare_model(model, optimizers, accumulate=accumulate, synchronize=synchronize)
        loop = Loop(model, steps_per_call=5, slots=model.optimizer.variables)

        def batches(step):
            return ReplicaBatches(
                strategy,
                lambda shard: shared_batches((images, labels, weights), shard).skip(step),
            )

        loop.evaluate(batches(0).take(1))
        state, progress, found = State(model, [model.optimizer]), Progress(), {}
        for name, skips in (("stopped", False), ("skipped", True)):
            progress.diverged_at = None
            guard = Guard(model, optimizers, state, batches, skips=skips)
            events = loop.train(
                batches(progress.step),
                steps_per_epoch=STEPS,
                epochs=1,
                progress=progress,
                guard=guard,
            )
            (fault,) = [event for event in events if isinstance(event, Fault)]
            found[f"{name}_at"] = [fault.step, progress.step, progress.skipped]
            found[f"{name}_in"] = fault.place
            # what a checkpoint would hold: the accumulated gradients are each replica's own
            held = state.of_all_workers(state.snapshot())
            found[f"{name}_is_finite"] = all(
                np.isfinite(value.numpy()).all() for value in held.values()
            )
            parts = [components(strategy, variable) for variable in model.trainable_variables]
            found[f"{name}_weights"] = [
                np.concatenate([part.ravel() for part in replica])
                for replica in zip(*parts, strict=True)
            ]
    return found


def evaluate(strategy):
    """Loss and accuracy over a task's 1,000 examples at batch 128, and those of each batch."""
    settings = {
        "data.train_limit": 200,
        "data.validation": 1000,
        "model.hidden": [8],
        "train.batch_size": 128,
    }
    with strategy.scope():
        task = Classification(resolve("mnist-mlp", settings=settings).recipe)
        results = Loop(task.model).evaluate(replica_batches(task.validation_data))
    counts = np.array([np.count_nonzero(weight) for _, _, weight in task.validation_data()])
    return results | {"counts": counts}


def masks(strategy):
    """What dropout leaves of ones on each replica, without and with `offset_seeds`."""
    found = {}
    for name in ("stock", "apart"):
        with strategy.scope():
            image = keras.Input((32,))
            model = keras.Model(image, keras.layers.Dropout(0.5, seed=3)(image))
            if name == "apart":
                offset_seeds(model)
        draw = tf.function(
            lambda model=model: strategy.run(lambda: model(tf.ones((1, 32)), training=True))
        )
        results = strategy.experimental_local_results(draw())
        found[name] = np.stack([result.numpy()[0] for result in results])
    return found


def statistics(strategy):
    """Moving means a replica after training, and after they were averaged."""
    arrays = training_arrays()
    with strategy.scope():
        model = small_model("statistics")
        prepare_model(model, [(model.optimizer, model.trainable_variables)])
        batches = ReplicaBatches(strategy, lambda shard: shared_batches(arrays, shard))
        for _ in Loop(model).train(batches, steps_per_epoch=3, epochs=1):
            pass
        (mean,) = [v for v in model.non_trainable_variables if v.name == "moving_mean"]
        before = components(strategy, mean)
        average_statistics(model)
        return {"before": np.stack(before), "after": np.stack(components(strategy, mean))}


def carried_over(first, then):
    """What differs between replicas, after six steps on some and then put onto others.

    An update takes four steps: two are waiting.
    """
    found, arrays, saved = {}, training_arrays(), None
    for name, strategy in (("before", first), ("after", then)):
        with strategy.scope():
            model = small_model("statistics")
            prepare_model(model, [(model.optimizer, model.trainable_variables)], accumulate=4)
            loop = Loop(model, steps_per_call=1)
            batches = replica_batches(lambda shard: shared_batches(arrays, shard))
            loop.evaluate(batches.take(1))
            state = State(model, [model.optimizer])
            if saved is None:
                for block in loop.train(batches, steps_per_epoch=STEPS, epochs=1):
                    if block.step == 6:
                        break
                saved = {key: value.numpy() for key, value in state.snapshot().items()}
            else:
                state.restore(saved)
        totals = [v for v in model.optimizer.variables if v.path.endswith(ACCUMULATED)]
        statistics = [v for v in model.non_trainable_variables if v.name.startswith("moving")]
        for kind, variables in (
            ("weights", model.trainable_variables),
            ("statistics", statistics),
            ("accumulated", totals),
            ("metrics", model.metrics_variables),
        ):
            found[f"{kind}_{name}"] = by_replica(strategy, variables)
    return found


def sums(strategy):
    """What each replica has of a sum over all of ones, as many as there are replicas."""
    replicas = strategy.num_replicas_in_sync

    def replica():
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.ones(replicas))

    results = tf.function(lambda: strategy.run(replica))()
    return np.stack([part.numpy() for part in strategy.experimental_local_results(results)])


def everything(strategy):
    """All that both kinds of process measure, by name."""
    found = {case: train(case, strategy) for case in OPTIMIZERS}
    # unprepared, for comparison
    found["stock"] = train("stock", strategy)
    found["masks"] = masks(strategy)
    found["statistics"] = statistics(strategy)
    found["evaluation"] = evaluate(strategy)
    # the normalization gives each replica what went wrong in another's layer before it
    found["overflow"] = fault(strategy, bad=3e38, synchronize=True)
    found["gradient"] = fault(strategy, bad=1e4, accumulate=4)
    return found


def main():
    """Runs as the first argument says and writes what was found to the second."""
    kind, path = sys.argv[1:]
    if kind == "devices":
        three, two = choose_strategy(3, "/CPU:0"), choose_strategy(2, "/CPU:0")
        found = everything(two)
        one = tf.distribute.get_strategy()
        found["one_to_two"], found["two_to_one"] = carried_over(one, two), carried_over(two, one)
        found["evaluation_by_three"] = evaluate(three)
        found["process"] = {
            # chosen anew, as each training of a process does
            f"sums_of_{count}": sums(choose_strategy(count, "/CPU:0"))
            for count in (2, 3)
        }
    else:
        strategy = choose_strategy(1, "/CPU:0")
        found = everything(strategy)
        found["process"] = {"is_chief": Workers(strategy).is_chief}
    np.savez(path, **{f"{a}/{b}": value for a, part in found.items() for b, value in part.items()})


if __name__ == "__main__":
    main()
