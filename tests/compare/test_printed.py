"""What a comparison prints: every row with its spread, every pair with both intervals, readable at eighty columns."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from fairprune_cli.compare import printed
from fairprune_cli.compare.gather import gather
from fairprune_cli.core.terminal import Terminal
from tests.support.comparisons import drawn, finish, layout
from tests.support.screens import Screen

METHODS = ("magnitude", "random", "bifp")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_every_row_and_every_pair_with_its_intervals(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    plan = layout(tmp_path, METHODS, references=("magnitude", "random"), attr=("gender", "age"))
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, 0.03 if cell.row.method == "bifp" else 0.09, ("gender", "age")))
    document = gather(plan)
    screen, pipe = Screen(), io.StringIO()
    for out in (screen, pipe):
        printed.print_comparison(document, plan, Terminal(out, io.StringIO(), {"TERM": "xterm", "NO_COLOR": "1"}))
    shown = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()]
    assert max(len(line) for line in shown if str(tmp_path) not in line) <= columns
    lines = pipe.getvalue().splitlines()
    pairs = [line for line in lines if " against " in line]
    assert [line.split(":")[0] for line in pairs] == 2 * [
        "random against magnitude", "bifp against magnitude", "bifp against random"
    ]  # fmt: skip
    for line, record in zip(pairs, 2 * document["comparisons"], strict=True):
        assert len(re.findall(r"[-+]\d+\.\d \[[-+]\d+\.\d, [-+]\d+\.\d\], \w", line)) == 2
        assert f"{100 * record['accuracy']['low']:+.1f}" in line
    assert "better" in pairs[1]
    # What a pipe gets on one line is all there on the terminal's lines.
    words = " ".join(shown).split()
    assert set(" ".join(pairs).split()) <= set(words)
    assert sum(line.startswith(("magnitude  ", " magnitude  ")) for line in lines) == 2


def test_a_pair_is_told_once_for_each_attribute_it_was_compared_in(tmp_path: Path) -> None:
    plan = layout(tmp_path, ("magnitude", "bifp"), attr=("gender", "age"))
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, 0.05, ("gender", "age")))
    document = gather(plan)
    (pair,) = document["comparisons"]
    del pair["attributes"]["age"]  # as where an attribute lacks a seed that both have
    pair["attributes"]["gender"]["gap"] = pair["attributes"]["gender"].pop(
        "notion_gap"
    )  # as where the two hold different notions equal
    out = io.StringIO()
    printed.print_comparison(document, plan, Terminal(out, io.StringIO(), {}))
    (line,) = [line for line in out.getvalue().splitlines() if " against " in line]
    assert "; gap " in line
