"""Run as a process: a GAN on one and on two virtual CPU devices; prints what came of each."""

import json
import sys

from dlsuite.runtime import prepare

prepare()
import numpy as np  # noqa: E402

from dlsuite import planning  # noqa: E402


def train(devices, folder):
    made = planning.plan(
        "mnist-dcgan",
        settings={
            "data.train_limit": 200,
            "data.validation": 100,
            "model.width": 4,
            "model.latent_dim": 8,
            "gan.label_flip": 0.3,
            "gan.critic_steps": 2,
            "train.batch_size": 20,
            "train.epochs": 2,
            "train.device": "cpu",
            "train.devices": devices,
        },
    )
    run = made.train(folder)
    local = made.strategy.experimental_local_results
    parts = [
        [part.numpy() for part in local(variable.value)]
        for _, variables in made.task.optimizers
        for variable in variables
    ]
    averages = [[p.numpy() for p in local(v.value)] for v in made.task.model.average.variables]
    return {
        "history": run.history,
        "replicas_agree": all(
            (part == several[0]).all() for several in parts for part in several[1:]
        ),
        "averages_agree": all(
            np.allclose(part, several[0]) for several in averages for part in several[1:]
        ),
        "parts": len(parts[0]),
    }


if __name__ == "__main__":
    # two devices first: a CPU is divided before TensorFlow's first operation
    print(json.dumps([train(count, f"{sys.argv[1]}/{count}") for count in (2, 1)]))
