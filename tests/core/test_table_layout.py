"""Tables on lines of any length: figures beside or above their intervals, names broken between words, nothing cut."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len

from fairprune_cli.core.table_layout import arranged, in_columns
from fairprune_cli.core.terminal import Terminal
from tests.support.screens import Screen

FIGURES = ["95.1 [94.5, 95.7]", "95.3 [94.7, 95.9]", "-0.4 [-1.0, +0.1]"]
WIDE = ["100.0 [98.5, 100.0]", "80.3 [70.7, 89.9]", "-19.7 [-29.1, -10.1]"]
NAMES = ["all", "gender", "  female", "  degradation gap", "  native Hawaiian or other Pacific Islander", "  中文组"]


def table_of(figures: list[str], names: list[str]) -> list[list[str]]:
    return [["%", "dense", "pruned", "change", "images"], *([name, *figures, "5,000"] for name in names)]


def printed(table: list[list[str]], columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Screen()
    Terminal(out, io.StringIO(), {"TERM": "xterm", "NO_COLOR": "1"}).table("title", table[0], table[1:])
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()]


@pytest.mark.parametrize("columns", [50, 60, 72, 80, 100, 120])
@pytest.mark.parametrize("figures", [FIGURES, WIDE])
def test_no_line_is_longer_and_no_word_and_no_figure_is_broken(
    columns: int, figures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(table_of(figures, NAMES), columns, monkeypatch)
    assert max(map(cell_len, lines)) <= columns
    words = re.findall(r"\[.*?\]|\S+", "\n".join(lines))
    for cell in figures:
        value, interval = cell.split(" ", 1)
        assert words.count(value) == words.count(interval) == len(NAMES)
    for name in NAMES:
        assert set(name.split()) <= set(words)


def test_at_eighty_columns_figures_stand_beside_their_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(table_of(FIGURES, NAMES[:4]), 80, monkeypatch)
    assert sum("  ".join(FIGURES) in line for line in lines) == 4
    at = next(i for i, line in enumerate(lines) if line.startswith("  degradation "))
    assert lines[at + 1] == "    gap"  # a name goes on further to the right than where it began
    assert lines[-1].strip()


def test_what_fits_has_edges_and_is_not_broken() -> None:
    table = table_of(FIGURES, NAMES[:4])
    (whole,) = arranged(table, 110, several=True)
    assert whole.edges
    assert whole.rows == table
    assert whole.width <= 110


def test_intervals_stand_below_where_the_line_is_too_short_for_both() -> None:
    (part,) = arranged(table_of(WIDE, NAMES[:4]), 72, several=True)
    assert part.rows[1][1:4] == ["100.0\n[98.5, 100.0]", "80.3\n[70.7, 89.9]", "-19.7\n[-29.1, -10.1]"]
    assert part.width <= 72


def test_many_columns_are_tables_below_each_other_on_a_terminal_and_long_lines_in_a_pipe() -> None:
    models = [f"runs/model-bifp-channel-0.{i}" for i in range(1, 8)]
    table = [["%", *models], *([name, *[f"{i}.5 [{i}.0, {i}.9]" for i in range(7)]] for name in NAMES)]
    parts = arranged(table, 80, several=True)
    assert [name for part in parts for name in part.rows[0][1:]] == models
    for part in parts:
        assert part.width <= 80
        assert len(part.rows) == len(table)
        assert part.rows[1][0] == "all"
    (whole,) = arranged(table, 80, several=False)
    assert len(whole.rows[0]) == 8
    assert whole.width > 80


def test_a_word_that_is_longer_than_the_line_stays_whole() -> None:
    word = "a" * 100
    assert in_columns(f"  one {word} two", 40) == ["  one", f"    {word}", "    two"]
    assert in_columns("it is 6.7 [4.2, 9.2] points", 14) == ["it is 6.7", "  [4.2, 9.2]", "  points"]
    assert in_columns("neutral are 50 %, of all", 14) == ["neutral are", "  50 %, of all"]
    assert in_columns("  as it  is", 40) == ["  as it  is"]
    (part,) = arranged([["", "n"], [word, "1"]], 40, several=True)
    assert part.rows[1] == [word, "1"]
