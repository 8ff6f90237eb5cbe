"""Worker processes that train one run together: what they have to agree on.

Each compiled call is one that all workers make, with as many steps. What a worker decides by its
own clock, signals or files (how many steps a call, whether to stop, whether a checkpoint is due)
is therefore decided together, by small sums over all of them.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from dlsuite.environment import worker
from dlsuite.errors import DlsuiteError

# Bytes of a text that workers exchange; a longer one is cut.
_TEXT = 1024


def local_replicas(strategy: tf.distribute.Strategy) -> range:
    """Returns the numbers, among all of the run's, of the replicas of this process."""
    number, count = worker() if strategy.cluster_resolver is not None else (0, 1)
    share = strategy.num_replicas_in_sync // count
    return range(number * share, (number + 1) * share)


def gather(values: Sequence[Sequence[tf.Tensor]]) -> list[list[tf.Tensor]]:
    """Returns the values of all replicas, of those of this process's.

    Args:
        values: a list of tensors for each replica here, alike on all replicas.
    """
    strategy = tf.distribute.get_strategy()
    # as distributed values, so that each replica brings its own
    mine = [
        strategy.experimental_distribute_values_from_function(
            lambda context, column=column: column[context.replica_id_in_sync_group % len(column)]
        )
        for column in zip(*values, strict=True)
    ]

    def replica(parts: list[tf.Tensor]) -> list[tf.Tensor]:
        context = tf.distribute.get_replica_context()
        return [context.all_gather(part[None], axis=0) for part in parts]

    gathered = tf.function(lambda parts: strategy.run(replica, args=(parts,)))(mine)
    columns = [strategy.experimental_local_results(column)[0] for column in gathered]
    return [list(row) for row in zip(*(tf.unstack(column) for column in columns), strict=True)]


class Workers:
    """The worker processes of a run, of which this is one; often the only one.

    Args:
        strategy: of the run.

    Attributes:
        number: of this worker; the first is the chief, which writes the run.
        count: of all.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        self.number, self.count = worker() if strategy.cluster_resolver is not None else (0, 1)
        self._adds: dict[int, Callable[[tf.Tensor], tf.Tensor]] = {}

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the run."""
        return self.number == 0

    def table(self, values: Sequence[int]) -> np.ndarray:
        """Returns what each worker gave, (workers, values); all call it at the same point."""
        row = np.asarray(values, np.int64)
        if self.count == 1:
            return row[None]
        rows = np.zeros((self.count, len(row)), np.int64)
        rows[self.number] = row
        # a function a length: TensorFlow warns of one that is traced for several
        if len(row) not in self._adds:
            self._adds[len(row)] = tf.function(self._sum)
        return self._adds[len(row)](tf.constant(rows)).numpy()

    def _sum(self, rows: tf.Tensor) -> tf.Tensor:
        def replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # once a worker: only its first replica brings the row
            first = context.replica_id_in_sync_group % self._share() == 0
            mine = tf.where(first, rows, tf.zeros_like(rows))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

        return self._strategy.experimental_local_results(self._strategy.run(replica))[0]

    def _share(self) -> int:
        return self._strategy.num_replicas_in_sync // self.count

    def highest(self, value: int) -> int:
        """Returns the highest of all workers' values."""
        return int(self.table([value]).max())

    def of_chief(self, value: int) -> int:
        """Returns the chief's value."""
        return int(self.table([value])[0, 0])

    def texts(self, text: str) -> list[str]:
        """Returns each worker's text, cut to a kilobyte."""
        encoded = np.zeros(_TEXT, np.uint8)
        raw = text.encode()[:_TEXT]
        encoded[: len(raw)] = np.frombuffer(raw, np.uint8)
        rows = self.table(encoded).astype(np.uint8)
        return [row.tobytes().rstrip(b"\0").decode(errors="ignore") for row in rows]

    def on_chief(self, function: Callable[[], str | None]) -> str:
        """Returns to all what a function returns on the chief, which alone calls it.

        Raises:
            DlsuiteError: that of the chief, on all.
        """
        said, error = "", None
        if self.is_chief:
            try:
                said = function() or ""
            except DlsuiteError as caught:
                error = caught
        failed = self.table([error is not None])[0, 0]
        said = self.texts(str(error) if failed else said)[0]
        if failed:
            raise error or DlsuiteError(said)
        return said


def lost_worker(error: tf.errors.OpError) -> str | None:
    """Returns the worker whose end an error reports, as in ``worker 1 at node7:20001``.

    None where this process is on its own, and for errors of other kinds.
    """
    resolver = tf.distribute.get_strategy().cluster_resolver
    ends = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError)
    if worker()[1] == 1 or resolver is None or not isinstance(error, ends):
        return None
    found = re.search(r"/job:(\w+)/replica:\d+/task:(\d+)", str(error))
    if found is None:
        return None
    job, number = found[1], int(found[2])
    return f"{job} {number} at {resolver.cluster_spec().task_address(job, number)}"
