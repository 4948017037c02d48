"""The pages name files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "benchmarks" / "README.md", *(ROOT / "docs").rglob("*.md")])
# Where a path on a page may begin.
STARTS = (ROOT, ROOT / "fairprune_cli", ROOT / "benchmarks", ROOT / "docs")


def named(text: str) -> set[str]:
    """Files of code that a page names; not those in fenced examples and those called `my_...`, which a reader makes."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M)
    return set(re.findall(r"(?<![\w./-])(?:[a-z_0-9]+/)*(?!my_)[a-z_0-9]+\.py\b", prose))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_are_there(page: Path) -> None:
    missing = [name for name in named(page.read_text("utf-8")) if not any((s / name).is_file() for s in STARTS)]
    assert sorted(missing) == []


def test_a_file_that_is_not_there_is_found() -> None:
    assert named("See gate.py and (audit/gates.py).\n```python\n# made/up.py\n```\n") == {"gate.py", "audit/gates.py"}
