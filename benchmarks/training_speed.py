"""Training images/s of dlsuite, stock Keras and PyTorch, paired.

    python benchmarks/training_speed.py                      # all networks, about ten minutes
    python benchmarks/training_speed.py --nets mlp --rounds 5 --generations 1

What is trained is in contestants.py, how it is compared in paired.py. Reported are medians of
images/s, and the median ratio within a round with its 95 % interval; "to itself" is dlsuite
against a second process of dlsuite, the harness's own error. "repeats" is the largest distance
of one generation's median ratio, with processes started afresh, from that over all.
"""

import argparse
import json
import os
import sys

from paired import Race, run_race, serve

NETS = ("mlp", "mnist_cnn", "resnet20")
CONTROL = "dlsuite, a second time"


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--rounds", type=int, default=12, help="in a generation")
    parser.add_argument("--generations", type=int, default=3, help="starts of all processes")
    parser.add_argument("--seconds", type=float, default=1.0, help="per library and round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, metavar=("LIBRARY", "NET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        from contestants import trainer

        library, net = arguments.worker
        serve(trainer(library, net, threads=arguments.threads), seconds=arguments.seconds)
        return
    results = {}
    if not arguments.json:
        print("| network | dlsuite | stock Keras | PyTorch | to Keras | to PyTorch |", end="")
        print(" to itself | repeats | by CPU time: to Keras, to PyTorch |")
        print("|---|---|---|---|---|---|---|---|---|")
    for net in arguments.nets:
        race = measure(net, arguments)
        results[net] = race.as_json("dlsuite")
        if not arguments.json:
            print_row(net, race)
    if arguments.json:
        print(json.dumps({"threads": arguments.threads, "nets": results}, indent=2))


def measure(net: str, arguments: argparse.Namespace) -> Race:
    """Returns the race of the three libraries, and of dlsuite with itself, on one network."""

    def command(library):
        worker = [sys.executable, __file__, "--worker", library, net]
        numbers = ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
        return worker + numbers

    return run_race(
        {
            "dlsuite": command("dlsuite"),
            "keras": command("keras"),
            "torch": command("torch"),
            CONTROL: command("dlsuite"),
        },
        rounds=arguments.rounds,
        generations=arguments.generations,
        environment={"OMP_NUM_THREADS": str(arguments.threads)},
    )


def print_row(net: str, race: Race) -> None:
    ratios = [race.ratio("dlsuite", name) for name in ("keras", "torch", CONTROL)]
    repeats = max(ratio.repeats_within for ratio in ratios[:2])
    by_cpu = [race.ratio("dlsuite", name, "cpu").median for name in ("keras", "torch")]
    cells = [net, *(f"{race.rate(name):,.0f}" for name in ("dlsuite", "keras", "torch"))]
    cells += [*map(str, ratios), f"{100 * repeats:.0f} %"]
    cells.append(", ".join(f"{ratio:.2f}" for ratio in by_cpu))
    print("| " + " | ".join(cells) + " |", flush=True)
    if race.noisy_rounds:
        print(
            f"{net}: others used the machine in {race.noisy_rounds} rounds, which were repeated, "
            f"and in {race.accepted_noise} that were kept.",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
