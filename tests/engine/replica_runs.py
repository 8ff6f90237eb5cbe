"""Runs on two virtual devices, in a process of their own: ``python replica_runs.py FOLDER``.

``FOLDER/plain`` has nothing random in a step; ``FOLDER/whole`` has, and ``FOLDER/resumed`` is a
copy of it as it stood in the middle of an epoch and of an update, which then went on.
"""

import shutil
import sys
from pathlib import Path

from dlsuite.runtime import prepare

prepare()

import keras  # noqa: E402

import dlsuite  # noqa: E402

SETTINGS = {
    "data.train_limit": 240,
    "data.validation": 90,
    "model.hidden": [8],
    "model.dropout": 0.0,
    "optimizer.accumulate": 4,
    "optimizer.clip_global_norm": 0.1,
    "train.epochs": 2,
    "train.batch_size": 20,
    "train.log_every": 1,
    "train.checkpoint_steps": 7,
    "train.xla": "off",
}
RANDOM = {
    "data.augment.mixup": 0.2,
    "model.dropout": 0.2,
    "optimizer.ema_decay": 0.9,
}


class Copy(keras.callbacks.Callback):
    """Copies the run folder after a step."""

    every_step = True

    def __init__(self, source, target, step):
        super().__init__()
        self._paths, self._step, self._seen = (source, target), step, 0

    def on_train_batch_end(self, batch, logs=None):
        self._seen += 1
        if self._seen == self._step:
            shutil.copytree(*self._paths)


def main():
    """Trains them all."""
    folder = Path(sys.argv[1])
    settings = SETTINGS | {"train.devices": 2}
    dlsuite.train("mnist-mlp", settings=settings, run_dir=folder / "plain")
    copy = Copy(folder / "whole", folder / "resumed", 10)
    dlsuite.train(
        "mnist-mlp", settings=settings | RANDOM, run_dir=folder / "whole", callbacks=[copy]
    )
    dlsuite.resume(folder / "resumed")


if __name__ == "__main__":
    main()
