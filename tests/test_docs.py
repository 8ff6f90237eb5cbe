"""What the documentation shows is run."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def modules_with_examples():
    for path in sorted(ROOT.glob("dlsuite/**/*.py")):
        if ">>>" in path.read_text(encoding="utf-8"):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples_in_docstrings_run(name):
    tried = doctest.testmod(importlib.import_module(name))
    assert tried.attempted and not tried.failed


def test_every_link_between_pages_leads_somewhere():
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_no_page_holds_a_place_to_be_filled_in():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        assert "@@" not in page.read_text(encoding="utf-8"), page
