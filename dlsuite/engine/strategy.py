"""Which replicas train a model, and what makes them mean the same as one.

One device, several of one machine (MirroredStrategy), or several worker processes
(MultiWorkerMirroredStrategy), described by ``TF_CONFIG`` or started by Slurm's ``srun``.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import keras
import numpy as np
import tensorflow as tf

from dlsuite.engine.reduction import reduce_once
from dlsuite.errors import DlsuiteError

Resolver = tf.distribute.cluster_resolver.ClusterResolver

# Between the seeds of two replicas [golden ratio times 2^32, odd], far from the small
# distances between those of a network's layers.
_SEED_STRIDE = 0x9E3779B1
# Workers of a Slurm job listen from a port on that depends on the job, since jobs share nodes.
_FIRST_PORT, _PORTS = 20000, 10000


def choose_strategy(devices: int, device: str) -> tf.distribute.Strategy:
    """Returns the strategy of a run; the default one where one process uses one device.

    Call it before TensorFlow's first operation: worker processes find each other and a CPU is
    divided into several devices only then.

    Args:
        devices: how many of this machine's devices, from the first on.
        device: TensorFlow's name of the first, such as ``/GPU:0``.

    Raises:
        DlsuiteError: fewer devices than asked for, or a ``TF_CONFIG`` that can't be read.
    """
    resolver = _workers()
    if devices > 1 and not device.endswith(":0"):
        raise DlsuiteError(
            f"Several devices are counted from the first. Received: train.devices={devices} with "
            f"the device {device[1:].lower()}. Use --device gpu or cpu."
        )
    if resolver is not None:
        if devices > 1 and device.startswith("/CPU"):
            raise DlsuiteError(
                "A worker process uses one CPU device. Received: train.devices="
                f"{devices} on CPUs with several workers. Start more workers instead."
            )
        gpus = tf.config.list_physical_devices("GPU")
        tf.config.set_visible_devices(
            gpus[:devices] if device.startswith("/GPU") else [], "GPU"
        )  # a worker takes all that it sees
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    if devices == 1:
        return tf.distribute.get_strategy()
    kind = "GPU" if device.startswith("/GPU") else "CPU"
    if kind == "CPU":
        _divide_cpu(devices)
    found = len(tf.config.list_logical_devices(kind))
    if found < devices:
        raise DlsuiteError(
            f"There must be as many devices as asked for. Received: train.devices={devices}, but "
            f"TensorFlow sees {found} {kind}(s) in this process. Lower train.devices."
        )
    return tf.distribute.MirroredStrategy([f"{kind}:{number}" for number in range(devices)])


def is_worker() -> bool:
    """Returns whether this is one of several worker processes that share a training.

    Raises:
        DlsuiteError: a ``TF_CONFIG`` that can't be read.
    """
    return _workers() is not None


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes the run: the only one, or the first worker."""
    resolver = strategy.cluster_resolver
    return resolver is None or _task_number(resolver) == 0


def placement(strategy: tf.distribute.Strategy, device: str) -> AbstractContextManager:
    """Returns where to build and train a model: the one device, or the strategy's scope."""
    return tf.device(device) if strategy.num_replicas_in_sync == 1 else strategy.scope()


def check_batch(batch_size: int, replicas: int) -> None:
    """Checks that each replica gets as much of a batch as any other.

    Raises:
        DlsuiteError: the replicas don't divide it.
    """
    if batch_size % replicas:
        raise DlsuiteError(
            "The batch must divide evenly over the replicas. Received: train.batch_size="
            f"{batch_size} over {replicas}. Choose a multiple of {replicas}, such as "
            f"{-(-batch_size // replicas) * replicas}."
        )


def prepare_model(
    model: keras.Model,
    optimizers: Sequence[tuple[keras.optimizers.Optimizer, Sequence[keras.Variable]]],
    *,
    accumulate: int = 1,
) -> None:
    """Makes a built model train on replicas as on one device.

    Its optimizers reduce once (see `reduce_once`) and each replica draws its own dropout.
    Call it once, in the strategy's scope, before a saved state is restored.

    Args:
        model: whose ``train_step`` uses the optimizers.
        optimizers: all of them, built, each with the variables it was built on.
        accumulate: training steps an update.
    """
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
    numbers = strategy.experimental_local_results(
        tf.function(lambda: strategy.run(_replica_number))()
    )
    for variable in model.variables:
        if not variable.path.endswith("seed_generator_state"):
            continue
        parts = strategy.experimental_local_results(variable.value)
        for part, number in zip(parts, numbers, strict=True):
            seed, position = part.numpy()
            seed = (int(seed) + int(number) * _SEED_STRIDE) % 2**32
            part.assign(np.array([seed, position], part.dtype.as_numpy_dtype))


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


def _replica_number() -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    return tf.convert_to_tensor(context.replica_id_in_sync_group)


def _divide_cpu(devices: int) -> None:
    """Divides the CPU into as many devices, if that is still possible and not yet done."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or ()) >= devices:
        return
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * devices
        )
    except RuntimeError:
        raise DlsuiteError(
            "A CPU is divided into devices before TensorFlow's first operation. Received: "
            f"train.devices={devices}, but TensorFlow runs already in this process. "
            "Train in a process of its own, as `dlsuite train` does."
        ) from None


def _workers() -> Resolver | None:
    """The cluster of worker processes that this one belongs to, None where it is the only one."""
    if os.environ.get("TF_CONFIG"):
        try:
            cluster = dict(json.loads(os.environ["TF_CONFIG"]).get("cluster", {}))
            workers = sum(len(addresses) for addresses in cluster.values())
        except (ValueError, AttributeError, TypeError):
            raise DlsuiteError(
                "TF_CONFIG must be a JSON object with the tables cluster and task. "
                f"Received: {os.environ['TF_CONFIG']!r}. Set it as TensorFlow's guide to "
                "multi-worker training says, or unset it."
            ) from None
        return tf.distribute.cluster_resolver.TFConfigClusterResolver() if workers > 1 else None
    # SLURM_PROCID is there under srun alone; a single process in an allocation is on its own
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if "SLURM_PROCID" in os.environ and tasks > 1:
        port = _FIRST_PORT + int(os.environ.get("SLURM_JOB_ID", "0")) % _PORTS
        # Slurm has given each task its GPUs. The resolver only wants enough of them to count.
        return tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=port, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
    return None


def _task_number(resolver: Resolver) -> int:
    """A worker's number over all of them; the one that is called chief comes first."""
    return (0 if "chief" not in resolver.cluster_spec().jobs else resolver.task_type != "chief") + (
        resolver.task_id or 0
    )
