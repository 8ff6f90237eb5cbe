"""Training images/s of dlsuite, stock Keras and PyTorch, paired.

    python benchmarks/training_speed.py                      # all networks, about half an hour
    python benchmarks/training_speed.py --augment            # with mirroring and padded crops
    python benchmarks/training_speed.py --nets mlp mnist_cnn resnet20 --against keras torch
    python benchmarks/training_speed.py --nets mlp --rounds 5 --generations 1
    python benchmarks/training_speed.py --device gpu

What is trained is in contestants.py, how it is compared in paired.py. Reported are medians of
images/s, and the median ratio within a round with its 95 % interval; "to itself" is dlsuite
against a second process of dlsuite, the harness's own error. "least" is the
smallest median ratio of a generation, whose processes are started afresh: the least favourable to
dlsuite, where a library has good and bad processes. "repeats" is the largest distance of a
generation's median ratio from that over all.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable

from paired import Race, note_ordinary, run_race, serve

NETS = ("mlp", "mnist_cnn", "resnet20", "vgg11")
OTHERS = ("keras", "torch", "torch-compiled")
CONTROL = "dlsuite, a second time"


def main() -> None:
    """Compares training."""
    from contestants import trainer

    compare(__file__, trainer, about=__doc__, can_augment=True)


def compare(script: str, make: Callable, *, about: str, can_augment: bool = False) -> None:
    """Runs the rounds and prints the table.

    Args:
        script: what a contestant's process runs; it calls this function too.
        make: given library, network, ``threads`` and ``device``, returns what `paired.serve` takes.
        about: the script's own description.
        can_augment: offer images that are changed at random; `make` takes ``augment`` too.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--against", nargs="+", choices=OTHERS, default=list(OTHERS))
    parser.add_argument("--rounds", type=int, default=4, help="in a generation")
    parser.add_argument("--generations", type=int, default=5, help="starts of all processes")
    parser.add_argument("--seconds", type=float, default=1.0, help="per library and round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.set_defaults(augment=False)
    if can_augment:
        parser.add_argument("--augment", action="store_true", help="mirror and crop the images")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, metavar=("LIBRARY", "NET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        library, net = arguments.worker
        changes = {"augment": True} if arguments.augment else {}
        work = make(library, net, threads=arguments.threads, device=arguments.device, **changes)
        serve(work, seconds=arguments.seconds)
        return
    results = {}
    if not arguments.json:
        print_header(arguments.against)
    for net in arguments.nets:
        race = measure(script, net, arguments)
        results[net] = race.as_json("dlsuite")
        if not arguments.json:
            print_row(net, race, arguments.against)
    if arguments.json:
        print(json.dumps({"threads": arguments.threads, "nets": results}, indent=2))


def measure(script: str, net: str, arguments: argparse.Namespace) -> Race:
    """Returns the race of the libraries, and of dlsuite with itself, on one network."""

    def command(library):
        worker = [sys.executable, script, "--worker", library, net]
        numbers = ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
        numbers += ["--device", arguments.device]
        return worker + numbers + ["--augment"] * arguments.augment

    return run_race(
        {
            "dlsuite": command("dlsuite"),
            **{library: command(library) for library in arguments.against},
            CONTROL: command("dlsuite"),
        },
        rounds=arguments.rounds,
        generations=arguments.generations,
        environment={"OMP_NUM_THREADS": str(arguments.threads)},
    )


def print_header(others: list[str]) -> None:
    cells = ["network", "dlsuite", *others, *(f"to {name}" for name in others), "to itself"]
    cells += ["least", "repeats", "by CPU time: to " + ", ".join(others)]
    print("| " + " | ".join(cells) + " |")
    print("|---" * len(cells) + "|")


def print_row(net: str, race: Race, others: list[str]) -> None:
    ratios = [race.ratio("dlsuite", name) for name in (*others, CONTROL)]
    repeats = max(ratio.repeats_within for ratio in ratios[:-1])
    by_cpu = [race.ratio("dlsuite", name, "cpu").median for name in others]
    cells = [net, *(f"{race.rate(name):,.0f}" for name in ("dlsuite", *others))]
    cells += [*map(str, ratios), ", ".join(f"{ratio.least:.2f}" for ratio in ratios[:-1])]
    cells.append(f"{100 * repeats:.0f} %")
    cells.append(", ".join(f"{ratio:.2f}" for ratio in by_cpu))
    print("| " + " | ".join(cells) + " |", flush=True)
    if not race.is_real_time:
        note_ordinary(net)
    if race.noisy_rounds:
        print(
            f"{net}: others used the machine in {race.noisy_rounds} rounds, which were repeated, "
            f"and in {race.accepted_noise} that were kept.",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
