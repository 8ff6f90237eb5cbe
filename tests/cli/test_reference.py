from pathlib import Path

from dlsuite.cli.main import COMMANDS, cli
from dlsuite.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_reference_in_the_docs_is_what_help_says():
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "docs/cli.md is stale: run python -m dlsuite.cli.reference > docs/cli.md"
    )


def test_each_verb_has_one_line_of_help_and_an_example():
    for name, line in COMMANDS.items():
        command = cli.get_command(None, name)
        assert command.help.splitlines()[0] == line
        assert f"dlsuite {name}" in command.help
