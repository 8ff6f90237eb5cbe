"""How much longer a resume takes to its first step than a new run does to its own.

    python benchmarks/resume_time.py                          # about two minutes
    python benchmarks/resume_time.py --recipe mnist-mlp --repeats 9

Both start Python, TensorFlow and the data and compile the step: that is the start-up. What a
resume adds is finding, checking and restoring the checkpoint. Processes take turns; reported are
medians and the median difference within a turn.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# prints when the first block of steps is done; then ends without more ado
_CHILD = """
import os, sys
import dlsuite
from dlsuite.engine.training import Observer

class First(Observer):
    def on_block(self, block, progress):
        print(block.step, flush=True)
        os._exit(0)

what, recipe, folder = sys.argv[1:]
if what == "train":
    dlsuite.train(recipe, run_dir=folder, observer=First())
else:
    dlsuite.resume(folder, epochs=9, observer=First())
"""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="mnist-cnn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        begin = (
            f"import dlsuite; dlsuite.train({arguments.recipe!r}, run_dir={str(run)!r}, epochs=1)"
        )
        subprocess.run([sys.executable, "-c", begin], check=True)
        times = {"train": [], "resume": []}
        for number in range(arguments.repeats):
            new = Path(temporary) / f"new{number}"
            times["train"].append(first_step("train", arguments.recipe, new))
            times["resume"].append(first_step("resume", arguments.recipe, run))
    result = {f"{what}_s": statistics.median(found) for what, found in times.items()}
    pairs = zip(times["resume"], times["train"], strict=True)
    result["beyond_start_up_s"] = statistics.median(one - other for one, other in pairs)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print(", ".join(f"{key} {value:.2f}" for key, value in result.items()))


def first_step(what: str, recipe: str, folder: Path) -> float:
    """Returns the time [s] from the process's start to the end of its first block."""
    command = [sys.executable, "-c", _CHILD, what, recipe, str(folder)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if not process.stdout.readline():
            raise SystemExit(f"`{what}` ended early; its message stands above.")
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
