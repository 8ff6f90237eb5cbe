"""How far training on several devices is from one device, at the same global batch.

    python benchmarks/replica_statistics.py                           # 168 and 327 steps
    python benchmarks/replica_statistics.py --epochs 1 --limit 1140   # 17 and 35

on two virtual CPU devices, a few minutes each.

Batch normalization takes its statistics over each device's own part of the batch by default, and
over the whole batch with ``train.synchronize_statistics``. Both are compared with one device: the
last epoch's metrics, and the relative distance |w - w1| / |w1| of the weights and of the moving
statistics then. Another seed on one device says what of a difference in a metric means nothing.
Dropout is off, since replicas draw masks of their own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

RECIPES = {
    "mnist-cnn": {
        "settings": {"model.dropout": 0.0},
        "metrics": ("loss", "val_loss", "val_accuracy"),
    },
    "mnist-dcgan": {
        # with batch normalization in both networks
        "settings": {"model.width": 16, "model.normalization": "batch", "gan.r1": 0.0},
        "metrics": ("d_loss", "g_loss", "val_distance"),
    },
}
CASES = {
    "one device": {},
    "per-replica": {"train.devices": 2},
    "synchronised": {"train.devices": 2, "train.synchronize_statistics": True},
    "one device, another seed": {"train.seed": 1},
}


def main() -> None:
    """Trains each recipe in each way and prints a table of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit", type=int, help="training examples")
    arguments = parser.parse_args()
    limit = {"data.train_limit": arguments.limit} if arguments.limit else {}
    for recipe in arguments.recipes:
        with tempfile.TemporaryDirectory() as folder:
            compare(recipe, arguments.epochs, limit, Path(folder))


def compare(recipe: str, epochs: int, limit: dict, folder: Path) -> None:
    """Prints what came of a recipe's trainings, one row a way."""
    metrics, settings = RECIPES[recipe]["metrics"], RECIPES[recipe]["settings"] | limit
    print(f"\n{recipe}, {epochs} epochs\n")
    print(f"| | {' | '.join(metrics)} | weights | moving statistics |")
    print("|---|" + "---|" * (len(metrics) + 2))
    reference = None
    for number, (case, changes) in enumerate(CASES.items()):
        run = folder / str(number)
        train(recipe, epochs, settings | changes, run)
        last = json.loads((run / "history.json").read_text())[-1]
        found = values(run)
        reference = reference or found
        cells = [f"{last[name]:.4f}" for name in metrics]
        if number == 0 or "train.seed" in changes:
            cells += ["", ""]  # weights of another start are nowhere near
        else:
            cells += [f"{distance(*pair):.2g}" for pair in zip(found, reference, strict=True)]
        print(f"| {case} | {' | '.join(cells)} |", flush=True)


def train(recipe: str, epochs: int, settings: dict, run: Path) -> None:
    """Trains in a process of its own, whose CPU may still be divided."""
    command = [sys.executable, "-m", "dlsuite.cli", "train", recipe, "--run-dir", str(run)]
    command += ["--device", "cpu", "--epochs", str(epochs)]
    for key, value in settings.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def values(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights and the moving statistics of the last epoch, flattened."""
    from dlsuite.runtime import prepare

    prepare()
    import keras

    weights = keras.saving.load_model(run / "checkpoints" / "last.keras").weights
    return tuple(
        np.concatenate([w.numpy().ravel() for w in weights if ("moving_" in w.path) == is_moving])
        for is_moving in (False, True)
    )


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Returns |one - other| / |other|."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


if __name__ == "__main__":
    main()
