"""What makes several replicas of a model mean the same as one."""

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from dlsuite.engine.reduction import reduce_once
from dlsuite.engine.strategy import check_batch
from dlsuite.engine.workers import local_replicas

# Between the seeds of two replicas [golden ratio times 2^32, odd], far from the small
# distances between those of a network's layers.
_SEED_STRIDE = 0x9E3779B1


def prepare_model(
    model: keras.Model,
    optimizers: Sequence[tuple[keras.optimizers.Optimizer, Sequence[keras.Variable]]],
    *,
    accumulate: int = 1,
    synchronize: bool = False,
) -> None:
    """Makes a built model train on replicas as on one device.

    Its optimizers reduce once (see `reduce_once`) and each replica draws its own dropout.
    Call it once, in the strategy's scope, before a saved state is restored.

    Args:
        model: whose ``train_step`` uses the optimizers.
        optimizers: all of them, built, each with the variables it was built on.
        accumulate: training steps an update.
        synchronize: normalise batches over all replicas, as one device would.
    """
    if synchronize and tf.distribute.has_strategy():
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True  # read at each call
    for optimizer, variables in optimizers:
        reduce_once(optimizer, variables, accumulate=accumulate)
    offset_seeds(model)


def offset_seeds(model: keras.Model) -> None:
    """Moves each replica's seed generators apart, by the replica's number in the whole run.

    Keras gives all replicas the same stream of random numbers: the same dropout masks. The
    first replica's, and so a single one's, stays as it is. Latents and the like, drawn by
    (seed, step, position in the global batch), don't come from these generators.
    """
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1:
        return
    for variable in filter(is_seed, model.variables):
        parts = strategy.experimental_local_results(variable.value)
        for part, number in zip(parts, local_replicas(strategy), strict=True):
            part.assign(seed_of_replica(part.numpy(), number))


def is_seed(variable: keras.Variable) -> bool:
    """Whether a variable is the state of one of Keras's seed generators."""
    return variable.path.endswith("seed_generator_state")


def seed_of_replica(first: np.ndarray, replica: int) -> np.ndarray:
    """Returns the state of a replica's seed generator, from that of the first replica.

    Args:
        first: (2,), a seed and the number of draws so far.
        replica: its number.
    """
    seed, position = (int(number) for number in first)
    return np.array([(seed + replica * _SEED_STRIDE) % 2**32, position], first.dtype)


def average_statistics(model: keras.Model) -> None:
    """Gives all replicas the mean of their moving statistics.

    Batch normalization that is not synchronized keeps each replica's own; evaluation and the
    saved model need one. Only what is not trained and not a whole number is averaged.
    """
    strategy = tf.distribute.get_strategy()
    statistics = [
        variable
        for variable in model.non_trainable_variables
        if tf.as_dtype(variable.dtype).is_floating
    ]
    if strategy.num_replicas_in_sync == 1 or not statistics:
        return

    def replica() -> None:
        # a copy: what is read straight from a worker's variable names no device to sum on
        values = [tf.identity(variable) for variable in statistics]
        context = tf.distribute.get_replica_context()
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, values)
        for variable, mean in zip(statistics, means, strict=True):
            variable.assign(mean)

    tf.function(lambda: strategy.run(replica))()


def replica_batches(
    make: Callable[[tuple[int, int]], tf.data.Dataset],
) -> "tf.data.Dataset | ReplicaBatches":
    """Returns the batches for the strategy in whose scope it is called.

    Args:
        make: given (index, count), returns that shard of each batch.
    """
    strategy = tf.distribute.get_strategy()
    return make((0, 1)) if strategy.num_replicas_in_sync == 1 else ReplicaBatches(strategy, make)


class ReplicaBatches:
    """Global batches dealt out to the replicas, in the place of a dataset of batches.

    The batch of each step is, over all replicas, the one that a single device would get.

    Args:
        strategy: whose replicas.
        make: given (index, count) of a worker process, returns its share of each batch: the
            shares of all workers concatenate to the batch.

    Raises:
        DlsuiteError: a batch that the replicas don't divide.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        make: Callable[[tuple[int, int]], tf.data.Dataset],
    ):
        self._strategy = strategy
        self._make = make

        def share_of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            workers = context.num_input_pipelines
            batches = make((context.input_pipeline_id, workers))
            self._count = batches.cardinality()
            replicas = strategy.num_replicas_in_sync // workers
            share = tf.nest.flatten(batches.element_spec)[0].shape[0]
            check_batch(share * workers, strategy.num_replicas_in_sync)
            # Replicas take turns. Endless, since workers would otherwise ask each other before
            # each step whether there is another one.
            return batches.rebatch(share // replicas, drop_remainder=True).repeat()

        self._batches = strategy.distribute_datasets_from_function(share_of_worker)

    def __iter__(self) -> Iterator:
        return iter(self._batches)

    def cardinality(self) -> tf.Tensor:
        """Returns the number of global batches."""
        return self._count

    def take(self, count: int) -> "ReplicaBatches":
        """Returns the first batches alone."""
        return ReplicaBatches(self._strategy, lambda shard: self._make(shard).take(count))
