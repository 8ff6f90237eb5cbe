"""Speeds of several programs compared in pairs, on a machine that isn't steady.

Each contestant is a process of its own, which builds what it measures, warms up and then waits,
stopped by SIGSTOP so that nothing of it spins on the cores. A round gives each contestant one
short slice, in an order drawn anew; a ratio is taken within a round, where the machine is the
same for both, and its median over all rounds is the result. All processes are started afresh a
few times (a generation), since a process keeps for life what its memory layout gives it.

Where the user may, contestants run in the kernel's real-time class: kernels of virtual machines
that pack a process's threads on few cores until the load balancer comes by, every 64 ms, made a
step of 37 ms on two cores last 37 or 64 ms for minutes on end, and the faster a program was the
more it lost.

Their memory comes in huge pages where kernel and glibc (from 2.35) know them, which takes page
faults out of the comparison. Some processes of one and the same program take 1.5 times the CPU time
of others for as long as they live, in huge pages too, for a cause that isn't known: hence several
generations.

What other processes and the hypervisor took of the cores during a slice is read from
/proc/stat; a round in which they took more than a tenth is repeated. One contestant may be
entered twice under two names: its ratio to itself shows what the harness can't tell from 1.

    race = run_race({"ours": [...command...], "theirs": [...]}, rounds=12, generations=3)
    print(race.rate("ours"), race.ratio("ours", "theirs"))

and in the contestant's process ``serve(work, units="images")``, where ``work(count)`` does
something `count` times and returns how many units that were.
"""

import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

# Quiet is: others took less than this of the machine's cores during a slice.
QUIET = 0.1
_TUNABLES = "GLIBC_TUNABLES"
_HUGE_PAGES = "glibc.malloc.hugetlb=1"


@dataclass(frozen=True)
class Slice:
    """One contestant's turn in one round.

    Attributes:
        units: done, such as images.
        wall_s: time by the clock.
        cpu_s: time of all the process's threads on the cores.
        others: share of the machine's cores that other processes and the hypervisor took.
    """

    units: float
    wall_s: float
    cpu_s: float
    others: float = 0.0

    def rate(self, clock: str) -> float:
        """Returns units a second by ``wall`` or ``cpu`` time."""
        return self.units / getattr(self, f"{clock}_s")


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one contestant is as another.

    Attributes:
        median: of the rounds' ratios.
        low, high: 95 % confidence interval of the median, by order statistics.
        generations: each generation's own median.
    """

    median: float
    low: float
    high: float
    generations: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"

    @property
    def least(self) -> float:
        """The smallest of the generations' medians: the least favourable processes to ours."""
        return min(self.generations)

    @property
    def repeats_within(self) -> float:
        """The largest distance of a generation's median from the median, as a fraction."""
        return max(abs(value / self.median - 1) for value in self.generations)


@dataclass
class Race:
    """What was measured: by generation, round and contestant.

    Attributes:
        generations: lists of rounds; a round is one `Slice` a contestant.
        noisy_rounds: rounds that were repeated since others used the machine.
        accepted_noise: rounds kept although they were noisy, as repeating did not help.
        is_real_time: the contestants ran in the kernel's real-time class.
    """

    generations: list[list[dict[str, Slice]]] = field(default_factory=list)
    noisy_rounds: int = 0
    accepted_noise: int = 0
    is_real_time: bool = True

    def rounds(self) -> list[dict[str, Slice]]:
        return [one for generation in self.generations for one in generation]

    def rate(self, name: str, clock: str = "wall") -> float:
        """Returns the median of units a second by ``wall`` or ``cpu`` time."""
        return statistics.median(one[name].rate(clock) for one in self.rounds())

    def ratio(self, ours: str, theirs: str, clock: str = "wall") -> Ratio:
        """Returns the median over rounds of the rate of `ours` to that of `theirs`."""
        by_generation = [
            [one[ours].rate(clock) / one[theirs].rate(clock) for one in generation]
            for generation in self.generations
        ]
        together = sorted(ratio for ratios in by_generation for ratio in ratios)
        low, high = median_interval(len(together))
        return Ratio(
            statistics.median(together),
            together[low],
            together[high],
            tuple(statistics.median(ratios) for ratios in by_generation),
        )

    def as_json(self, ours: str) -> dict:
        """Returns rates, and the ratios of `ours` to each other contestant, by both clocks."""
        names = list(self.rounds()[0])
        return {
            "rounds": [len(generation) for generation in self.generations],
            "noisy_rounds_repeated": self.noisy_rounds,
            "noisy_rounds_kept": self.accepted_noise,
            "real_time": self.is_real_time,
            **{
                clock: {
                    "rate": {name: self.rate(name, clock) for name in names},
                    "ratio": {
                        name: _ratio_json(self.ratio(ours, name, clock))
                        for name in names
                        if name != ours
                    },
                }
                for clock in ("wall", "cpu")
            },
        }


def _ratio_json(ratio: Ratio) -> dict:
    return vars(ratio) | {"repeats_within": ratio.repeats_within, "least": ratio.least}


def median_interval(count: int) -> tuple[int, int]:
    """Returns the indices, from 0, of the sorted values that enclose the median with 95 %.

    The number of values below the true median is binomial with one half; the interval is the
    widest-reaching one whose two tails hold 2.5 % each, and all values where there are under six.
    """
    tail, low = 0.0, 0
    while low < (count - 1) // 2:
        tail += math.comb(count, low) / 2**count
        if tail > 0.025:
            break
        low += 1
    low = max(0, low - 1)
    return low, count - 1 - low


def run_race(
    commands: Mapping[str, Sequence[str]],
    *,
    rounds: int,
    generations: int,
    environment: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Race:
    """Returns what was measured of the contestants, one process each.

    Args:
        commands: name to the command of a process that calls `serve`.
        rounds: in a generation.
        generations: how often all processes are started afresh.
        environment: variables set beside the present ones.
        seed: of the order within the rounds.
    """
    race, order = Race(), random.Random(seed)
    variables = os.environ | dict(environment or {})
    variables[_TUNABLES] = ":".join(filter(None, [_HUGE_PAGES, variables.get(_TUNABLES)]))
    spare = rounds * generations // 2
    for _ in range(generations):
        with _processes(commands, variables) as processes:
            race.is_real_time &= all(one.is_real_time for one in processes.values())
            measured: list[dict[str, Slice]] = []
            while len(measured) < rounds:
                names = order.sample(list(processes), len(processes))
                one = {name: processes[name].turn() for name in names}
                is_noisy = max(each.others for each in one.values()) > QUIET
                if is_noisy and spare:
                    race.noisy_rounds += 1
                    spare -= 1
                    continue
                race.accepted_noise += is_noisy
                measured.append({name: one[name] for name in commands})
            race.generations.append(measured)
    return race


@contextmanager
def _processes(
    commands: Mapping[str, Sequence[str]], variables: Mapping[str, str]
) -> Iterator[dict[str, "_Process"]]:
    """Contestants built, warm and stopped."""
    processes: dict[str, _Process] = {}
    try:
        for name, command in commands.items():
            processes[name] = _Process(name, command, variables)
        yield processes
    finally:
        for process in processes.values():
            process.end()


class _Process:
    """One contestant, which runs in its turns alone."""

    def __init__(self, name: str, command: Sequence[str], variables: Mapping[str, str]):
        self._name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
        )
        # before it has threads, which inherit it
        self.is_real_time = real_time(self._process.pid)
        self._answer()  # warm
        self._process.send_signal(signal.SIGSTOP)

    def turn(self) -> Slice:
        self._process.send_signal(signal.SIGCONT)
        before, started = _busy_s(), time.perf_counter()
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        answer = self._answer()
        elapsed, busy = time.perf_counter() - started, _busy_s() - before
        self._process.send_signal(signal.SIGSTOP)
        others = max(0.0, busy - answer["cpu_s"]) / (elapsed * os.cpu_count())
        return Slice(**answer, others=others)

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"The contestant '{self._name}' ended; its message stands above.")
        return json.loads(line)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def real_time(pid: int = 0) -> bool:
    """Puts a process, by default this one, into the kernel's real-time class where that is allowed.

    Threads that it has already stay as they are. Returns whether it was allowed.
    """
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, OSError):  # no Linux, or no such right
        return False
    return True


def note_ordinary(subject: str) -> None:
    """Says on stderr that something was measured in the ordinary scheduling class."""
    print(
        f"{subject}: in the ordinary scheduling class, which this user may not leave; threads of "
        "one process may have shared a core.",
        file=sys.stderr,
    )


def _busy_s() -> float:
    """Seconds that the cores were used or withheld by the hypervisor, since the machine began."""
    try:
        with open("/proc/stat") as file:
            user, nice, system, _, _, *rest = map(int, file.readline().split()[1:9])
    except OSError:  # no Linux: what others take isn't seen
        return 0.0
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def serve(work: Callable[[int], float], *, seconds: float = 1.0) -> None:
    """Answers each line on stdin with a slice of about that length; for a contestant's process.

    Args:
        work: does something so many times, at least once, and returns the units done.
        seconds: a slice's length, held by choosing how often `work` does its thing.
    """
    work(1)  # builds, compiles
    started = time.perf_counter()
    work(1)
    once = time.perf_counter() - started
    # asked again with about as many as a slice has: the first time may be a slow one
    for _ in range(2):
        count = max(1, round(seconds / once))
        started = time.perf_counter()
        work(count)
        once = (time.perf_counter() - started) / count
    count = max(1, round(seconds / once))
    print("{}", flush=True)
    for _ in sys.stdin:
        started, cpu = time.perf_counter(), time.process_time()
        units = work(count)
        answer = {
            "units": units,
            "wall_s": time.perf_counter() - started,
            "cpu_s": time.process_time() - cpu,
        }
        print(json.dumps(answer), flush=True)
