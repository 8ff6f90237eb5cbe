"""All variables of a run: taken as they stand, put back, carried over to other replicas."""

from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from dlsuite.engine.reduction import ACCUMULATED
from dlsuite.engine.replicas import is_seed, seed_of_replica
from dlsuite.engine.workers import gather, local_replicas
from dlsuite.errors import DlsuiteError

# How a variable differs between replicas.
_SAME, _SEED, _STATISTIC, _SUM = "same", "seed", "statistic", "sum"


class State:
    """The variables of a run, on all of its replicas.

    Most are the same on each replica. Its own are a replica's seeds, its moving statistics, its
    share of what metrics add up, and its accumulated gradients.

    Args:
        model: built, with its metrics created.
        optimizers: built.
    """

    def __init__(self, model: keras.Model, optimizers: Iterable[keras.optimizers.Optimizer]):
        kinds = {id(variable): _SAME for variable in model.trainable_variables}
        variables = [*model.variables, *model.metrics_variables]
        kinds |= {id(variable): _SUM for variable in model.metrics_variables}
        for optimizer in optimizers:
            variables += optimizer.variables
            kinds |= {id(variable): _kind_of_slot(variable) for variable in optimizer.variables}
        strategy = tf.distribute.get_strategy()
        self._replicas = range(strategy.num_replicas_in_sync)
        self._mine = local_replicas(strategy)
        # by number: Keras counts up the names of unnamed layers and optimizers in a process
        unique = {id(variable): variable for variable in variables}.values()
        self._kinds: dict[str, str] = {}
        self._parts: dict[str, tuple[tf.Variable, ...]] = {}
        for number, variable in enumerate(unique):
            name = f"{number:04d}"
            self._kinds[name] = kinds.get(id(variable)) or _kind_of_statistic(variable)
            self._parts[name] = tuple(strategy.experimental_local_results(variable.value))
        # one call, where reading a variable at a time costs as much as a small network's step
        self._read = tf.function(self._values, autograph=False)

    def snapshot(self) -> dict[str, tf.Tensor]:
        """Returns this process's values as they stand: tensors, which no later step changes."""
        return self._read()

    def _values(self) -> dict[str, tf.Tensor]:
        values = {}
        for name, parts in self._parts.items():
            if self._kinds[name] == _SAME:
                values[name] = tf.identity(parts[0])
            else:
                for replica, part in zip(self._mine, parts, strict=True):
                    values[f"{name}/{replica}"] = tf.identity(part)
        return values

    def put_back(self, snapshot: Mapping[str, tf.Tensor]) -> None:
        """Sets every variable of this process as it was when the snapshot was taken."""
        for name, parts in self._parts.items():
            for replica, part in zip(self._mine, parts, strict=True):
                own = self._kinds[name] != _SAME
                part.assign(snapshot[f"{name}/{replica}" if own else name])

    def of_all_workers(self, snapshot: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the snapshot with what the other worker processes' replicas hold.

        Every worker calls it at the same step.
        """
        own = [name for name, kind in self._kinds.items() if kind != _SAME]
        if len(self._mine) == len(self._replicas):
            return dict(snapshot)
        gathered = gather([[snapshot[f"{name}/{r}"] for name in own] for r in self._mine])
        everything = {name: value for name, value in snapshot.items() if "/" not in name}
        for replica, values in enumerate(gathered):
            everything |= {f"{name}/{replica}": v for name, v in zip(own, values, strict=True)}
        return everything

    def restore(self, values: Mapping[str, np.ndarray]) -> None:
        """Sets every variable as a checkpoint has it.

        That is exact but for a checkpoint of another number of replicas: moving statistics are
        then the replicas' mean, sums go to the first replica, seeds are set apart anew.

        Raises:
            DlsuiteError: the values are those of another network or optimizer.
        """
        before = {name.partition("/")[2] for name in values} - {""}
        count = len(before) or len(self._replicas)
        mine = {
            place: (tuple(parts[0].shape), parts[0].dtype.as_numpy_dtype)
            for name, parts in self._parts.items()
            for place in self._places(name, count)
        }
        theirs = {name: (value.shape, value.dtype.type) for name, value in values.items()}
        if mine != theirs:
            odd = sorted(set(mine.items()) ^ set(theirs.items()))[0][0]
            raise DlsuiteError(
                "A checkpoint continues the run that wrote it, with the same network and "
                f"optimizer. Received: one that differs in {odd!r}. Resume with the run's own "
                "recipe and dlsuite's version of run.json."
            )
        for name, parts in self._parts.items():
            stored = [values[place] for place in self._places(name, count)]
            for replica, part in zip(self._mine, parts, strict=True):
                if self._kinds[name] == _SAME:
                    part.assign(stored[0])
                elif count == len(self._replicas):
                    part.assign(stored[replica])
                else:
                    part.assign(_on_another_number(self._kinds[name], stored, replica))

    def _places(self, name: str, count: int) -> list[str]:
        if self._kinds[name] == _SAME:
            return [name]
        return [f"{name}/{replica}" for replica in range(count)]


def _kind_of_slot(variable: keras.Variable) -> str:
    return _SUM if variable.path.endswith(ACCUMULATED) else _SAME


def _kind_of_statistic(variable: keras.Variable) -> str:
    return _SEED if is_seed(variable) else _STATISTIC


def _on_another_number(kind: str, stored: Sequence[np.ndarray], replica: int) -> np.ndarray:
    """A replica's value from those of another number of replicas."""
    if kind == _SEED:
        return seed_of_replica(stored[0], replica)
    if kind == _SUM:
        return sum(stored[1:], stored[0]) if replica == 0 else np.zeros_like(stored[0])
    if all((value == stored[0]).all() for value in stored) or stored[0].dtype.kind != "f":
        return stored[0]
    return np.mean(stored, axis=0, dtype=stored[0].dtype)
