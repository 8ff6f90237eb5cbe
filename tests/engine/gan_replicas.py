"""Run as a process: a GAN on one and on two virtual CPU devices; prints what came of each.

On two it trains with each device's own batch statistics and with those of the whole batch.
"""

import json
import sys

from dlsuite.runtime import prepare

prepare()
import numpy as np  # noqa: E402

from dlsuite import planning  # noqa: E402


def train(folder, *, devices, synchronize=False):
    made = planning.plan(
        "mnist-dcgan",
        settings={
            "data.train_limit": 200,
            "data.validation": 100,
            "model.width": 16,
            "model.normalization": "batch",
            "gan.r1": 0.0,
            "model.latent_dim": 8,
            "gan.label_flip": 0.3,
            "gan.critic_steps": 2,
            # Adam would follow the sign of a gradient that is rounding alone, as of biases before a
            # batch normalization
            "optimizer.name": "sgd",
            "optimizer.learning_rate": 0.01,
            "optimizer.ema_decay": 0.99,
            "train.batch_size": 20,
            "train.epochs": 2,
            "train.device": "cpu",
            "train.devices": devices,
            "train.synchronize_statistics": synchronize,
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
    networks = (made.task.networks.generator, made.task.networks.discriminator)
    return {
        "weights": [weight.tolist() for network in networks for weight in network.get_weights()],
        "history": run.history,
        "replicas_agree": all(
            (part == several[0]).all() for several in parts for part in several[1:]
        ),
        "averages_agree": all(
            np.allclose(part, several[0]) for several in averages for part in several[1:]
        ),
        "parts": len(parts[0]),
    }


def main():
    """Trains them all."""
    folder = sys.argv[1]
    # two devices first: a CPU is divided before TensorFlow's first operation
    found = {
        "two": train(f"{folder}/two", devices=2),
        "synchronized": train(f"{folder}/synchronized", devices=2, synchronize=True),
        "one": train(f"{folder}/one", devices=1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
