"""Outputs that no task uses: how far they moved from the dense model's."""

from __future__ import annotations

from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Heading, Section, Table
from fairprune_cli.report.values import number
from fairprune_cli.report.view import View

ORDER = 58


def build(view: View) -> Section | None:
    by_model = view.mapping("other_outputs")
    blocks: list[Block] = []
    for model, moves in by_model.items():
        rows = [_row(move) for move in moves if isinstance(move, dict)] if isinstance(moves, list) else []
        if rows:
            columns = [
                Column("Output"), Column("Correlation", "number"), Column("Change (standard deviations)", "number"),
                Column("Another sign (%)", "number"),
            ]  # fmt: skip
            blocks += [*([Heading(model)] if len(by_model) > 1 else []), Table("Other outputs", columns, rows)]
    if not blocks:
        return None
    weight = number(view.setting("hold_outputs"))
    held = weight is not None and weight > 0 and view.mapping("sparsity")
    lead = [
        "The network gives more than its tasks need. Each of the other outputs stands here against the dense model's "
        "on the same images: how closely it follows it (1 is in step), how far it is from it on average, and how often "
        "its sign is another one.",
        f"While training they were held to the dense model's, with the weight {weight:g}."
        if held
        else "Nothing held them to the dense model's.",
    ]
    return Section("other-outputs", "Other outputs", lead, blocks, folded=True)


def _row(move: dict[str, Any]) -> list[str]:
    correlation, change = number(move.get("correlation")), number(move.get("change"))
    signs = number(move.get("sign_changes"))
    return [
        str(move.get("name")),
        words.UNDEFINED if correlation is None else words.fixed(correlation, 3),
        words.UNDEFINED if change is None else words.fixed(change, 2),
        words.UNDEFINED if signs is None else words.fixed(100 * signs),
    ]
