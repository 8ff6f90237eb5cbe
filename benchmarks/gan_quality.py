"""Trains a GAN's recipe with several seeds and holds what comes of each against its bar.

    python benchmarks/gan_quality.py cosmogan-64                          # seeds 0 to 3
    python benchmarks/gan_quality.py cosmogan-64 --precision bfloat16
    python benchmarks/gan_quality.py mnist-dcgan --seeds 0 1

On test images, which neither training nor the choice of the epoch saw. Runs lie in ``--runs``;
those that are finished there are not trained again. Digits are judged by a classifier that is
trained first. The exit code is 1 where more than one seed of four misses its bar.
"""

import argparse
import sys
from pathlib import Path

import dlsuite

STATISTICS = (
    "pixel KS D",
    "pixel deviation ratio",
    "pixels at the tanh limit",
    "P(k) ratio, median",
    "P(k) ratio, worst |1 - r| to S/3",
    "P(k), KS D",
    "Minkowski V0, KS D",
    "Minkowski V1, KS D",
    "Minkowski V2, KS D",
    "nearest training image, 5 % quantile (deviations)",
    "Frechet distance (128 features)",
    "precision (k = 3)",
    "recall (k = 3)",
)


def main() -> int:
    """Trains, evaluates and prints one column a seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    recipes = ("cosmogan-64", "cosmogan-64-spectral", "mnist-dcgan")
    parser.add_argument("recipe", choices=recipes)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--runs", type=Path, default=Path("runs/gan-quality"))
    arguments = parser.parse_args()
    evaluations, seconds, met = [], [], []
    for seed in arguments.seeds:
        run = trained(arguments, seed)
        options = {}
        if run.recipe.gan.classifier is not None:
            options["classifier"] = run.recipe.gan.classifier
        evaluation = run.evaluate(**options)
        evaluations.append(evaluation)
        seconds.append(sum(row["seconds"] for row in run.folder.read_rows("timing.jsonl")))
        held = bar(evaluation)
        met.append(all(held.values()))
        best = run.info["best"]
        print(
            f"seed {seed}: epoch {best['epoch']}, {best['monitor']} {best['value']:.4g}", end="; "
        )
        print(", ".join(f"{rule}: {'met' if ok else 'MISSED'}" for rule, ok in held.items()))
    print("\n| statistic |", " | ".join(f"seed {seed}" for seed in arguments.seeds), "| floor |")
    names = {row.name for row in evaluations[0].rows}
    for name in (name for name in STATISTICS if name in names):
        rows = [evaluation.row(name) for evaluation in evaluations]
        print(f"| {name} |", " | ".join(f"{row.generated:.3f}" for row in rows), end=" | ")
        print(f"{rows[0].floor:.3f} |")
    print("| seconds of training |", " | ".join(f"{s:.0f}" for s in seconds), "| |")
    return int(sum(met) < 0.75 * len(met))


def trained(arguments: argparse.Namespace, seed: int) -> dlsuite.Run:
    """The finished run of a seed."""
    folder = arguments.runs / f"{arguments.recipe}-{arguments.precision}-{seed}"
    if (folder / "run.json").exists():
        run = dlsuite.load(folder)
        return run if run.status == "finished" else dlsuite.resume(folder)
    settings = {}
    if arguments.recipe == "mnist-dcgan":
        judge = arguments.runs / "classifier"
        if not (judge / "run.json").exists():
            dlsuite.train("mnist-cnn", run_dir=judge)
        settings["gan.classifier"] = str(judge.absolute())
        settings["train.monitor"] = "val_frechet_distance"
    return dlsuite.train(
        arguments.recipe,
        seed=seed,
        precision=arguments.precision,
        settings=settings,
        run_dir=folder,
    )


def bar(evaluation) -> dict[str, bool]:
    """Which rules the generated images keep."""
    said = evaluation.judgement
    if said is None:
        pixels = evaluation.row("pixel KS D")
        return {
            "pixel KS D at most 7 times the floor": pixels.generated <= 7 * pixels.floor,
            "deviation ratio 0.85 to 1.15": (
                0.85 <= evaluation.row("pixel deviation ratio").generated <= 1.15
            ),
            "median P(k) ratio 0.7 to 1.3": (
                0.7 <= evaluation.row("P(k) ratio, median").generated <= 1.3
            ),
        }
    distance = evaluation.row("Frechet distance (128 features)").generated
    nearest = evaluation.row("nearest training image, 5 % quantile (deviations)")
    return {
        f"top probability {said.top_probability:.3f} at least 0.9": said.top_probability >= 0.9,
        f"smallest class {100 * min(said.shares):.1f} % at least 4": min(said.shares) >= 0.04,
        f"Frechet distance below {said.blurred:.4g}, blurred": distance < said.blurred,
        f"and {said.one_class_left_out:.4g}, a class left out": distance < said.one_class_left_out,
        "as far from training as held-out digits": nearest.generated >= nearest.best,
    }


if __name__ == "__main__":
    sys.exit(main())
