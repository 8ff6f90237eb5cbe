"""Which replicas train a model.

One device, several of one machine (MirroredStrategy), or several worker processes
(MultiWorkerMirroredStrategy), described by ``TF_CONFIG`` or started by Slurm's ``srun``.
"""

import functools
import os
from contextlib import AbstractContextManager

import tensorflow as tf

from dlsuite.environment import worker
from dlsuite.errors import DlsuiteError
from dlsuite.wording import counted

Resolver = tf.distribute.cluster_resolver.ClusterResolver

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
    _, workers = worker()
    if devices > 1 and not device.endswith(":0"):
        raise DlsuiteError(
            f"Several devices are counted from the first. Received: train.devices={devices} with "
            f"the device {device[1:].lower()}. Use --device gpu or cpu."
        )
    kind = "GPU" if device.startswith("/GPU") else "CPU"
    if workers > 1:
        if devices > 1 and kind == "CPU":
            raise DlsuiteError(
                "A worker process uses one CPU device. Received: train.devices="
                f"{devices} on CPUs with several workers. Start more workers instead."
            )
        return _of_workers(kind, devices)
    if devices == 1:
        return tf.distribute.get_strategy()
    if kind == "CPU":
        _divide_cpu(devices)
    found = len(tf.config.list_logical_devices(kind))
    if found < devices:
        raise DlsuiteError(
            f"There must be as many devices as asked for. Received: train.devices={devices}, but "
            f"TensorFlow sees {counted(found, kind)} in this process. Lower train.devices."
        )
    return _mirrored(kind, devices)


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


# One and the same strategy in all trainings of a process. TensorFlow knows a sum over replicas by
# its group of devices and by its number there, and each strategy counts groups and sums from the
# same number on: one network's sum would be taken for another's.
@functools.cache
def _mirrored(kind: str, devices: int) -> tf.distribute.Strategy:
    # groups apart from those of other numbers of devices
    tf.distribute.MirroredStrategy._collective_key_base += 1000
    return tf.distribute.MirroredStrategy([f"{kind}:{number}" for number in range(devices)])


@functools.cache
def _of_workers(kind: str, devices: int) -> tf.distribute.Strategy:
    gpus = tf.config.list_physical_devices("GPU")
    # a worker takes all that it sees
    tf.config.set_visible_devices(gpus[:devices] if kind == "GPU" else [], "GPU")
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=_cluster())


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


def _cluster() -> Resolver:
    """The cluster of worker processes that this one belongs to."""
    if os.environ.get("TF_CONFIG"):
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    port = _FIRST_PORT + int(os.environ.get("SLURM_JOB_ID", "0")) % _PORTS
    _, workers = worker()
    # Slurm has given each task its GPUs. The resolver only wants enough of them to count.
    return tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=port, gpus_per_node=workers, gpus_per_task=1, auto_set_gpu=False
    )
