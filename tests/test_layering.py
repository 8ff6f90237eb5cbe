"""The package's order: imports go one way, the CLI alone prints, TensorFlow waits for its use."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A part imports from its own tier or a lower one, and tiers of several parts have no cycles.
TIERS = (
    ("errors", "registry", "runtime", "environment", "diagnosis", "wording", "bounded"),
    ("recipes", "layers"),
    ("data", "models", "optimizers"),
    ("tasks",),
    ("engine", "runs"),
    ("studies", "analysis"),
    ("reports",),
    ("run",),
    ("visualize",),
    ("planning",),
    ("resuming",),
    ("profiling", "verification"),
    ("api",),
    ("cli",),
)
RANK = {part: rank for rank, parts in enumerate(TIERS) for part in parts}
HEAVY = ("tensorflow", "keras", "tensorflow_datasets", "scipy", "sklearn", "matplotlib")


def modules():
    """(file, part of the package) of every module."""
    found = []
    for path in sorted(ROOT.glob("dlsuite/**/*.py")):
        part = path.relative_to(ROOT / "dlsuite").parts[0].removesuffix(".py")
        found.append(pytest.param(path, part, id=str(path.relative_to(ROOT))))
    for path in sorted(ROOT.glob("cli/**/*.py")):
        found.append(pytest.param(path, "cli", id=str(path.relative_to(ROOT))))
    return found


def imported(path):
    """The parts of dlsuite that a module imports anywhere in it, functions included."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            # `from dlsuite import api` names a part; `from dlsuite import __version__` doesn't
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "dlsuite" and rest.partition(".")[0] in RANK:
                parts.add(rest.partition(".")[0])
    return parts


@pytest.mark.parametrize(("path", "part"), modules())
def test_imports_go_one_way(path, part):
    if path == ROOT / "dlsuite" / "__init__.py":
        return  # the package's face hands out the api's names when they are asked for
    assert part in RANK, f"{part} has no place in the order: give it one"
    above = {other for other in imported(path) if RANK[other] > RANK[part]}
    assert not above, f"{path.name} of {part} imports from above: {above}"


def test_parts_of_one_tier_do_not_import_each_other_in_a_circle():
    uses = defaultdict(set)
    for parameter in modules():
        path, part = parameter.values
        if part in RANK:
            uses[part] |= {o for o in imported(path) if o != part and RANK[o] == RANK[part]}
    # repeatedly take away what uses nothing any more; a circle is what stays
    left = {part: set(others) for part, others in uses.items()}
    while free := [part for part, others in left.items() if not others & left.keys()]:
        for part in free:
            del left[part]
    assert not left, f"circular: {left}"


@pytest.mark.parametrize(("path", "part"), modules())
def test_only_the_cli_prints(path, part):
    if part == "cli":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            # runtime hands TensorFlow's own warnings on to stderr
            printing = name in ("print", "sys.stdout.write", "sys.stderr.write")
            assert part == "runtime" or not printing, f"{path}:{node.lineno} prints"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            packages = {str(name).partition(".")[0] for name in names}
            assert not packages & {"click", "rich"}, f"{path}:{node.lineno} draws for a terminal"


@pytest.mark.parametrize(
    "statement",
    [
        "import dlsuite",
        "import dlsuite.api",
        *(
            f"from dlsuite.cli.main import cli; cli({words!r}.split(), standalone_mode=False)"
            for words in (
                "--help",
                "--version",
                "train --help",
                "evaluate --help",
                "predict --help",
                "visualize-filters --help",
                "models",
                "datasets",
                "optimizers",
                "recipes",
                "recipes show mnist-cnn",
                "runs",
                "doctor --help",
                "check-data --help",
                "compare-optimizers --help",
                "loss-landscape --help",
                "benchmark --help",
                "profile --help",
                "verify --help",
            )
        ),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_used(statement, tmp_path):
    report = f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    code = f"{statement}\nimport sys\n{report}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
