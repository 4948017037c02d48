"""What rounding the stored weights to 16 bits costs, over all and per group."""

from __future__ import annotations

from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Heading, Note, Section, Table
from fairprune_cli.report.values import number
from fairprune_cli.report.view import View

ORDER = 82


def build(view: View) -> Section | None:
    kind = view.text("storage", "format")
    if not kind:
        return None
    before, after = view.number("storage", "accuracy_before"), view.number("storage", "accuracy")
    changed = view.number("storage", "predictions_changed")
    blocks: list[Block] = []
    if before is not None and after is not None:
        text = f"Accuracy {words.percent(before, 2)} in 32 bits, {words.percent(after, 2)} as stored"
        text += f"; {words.percent(changed, 2)} of the images are classified otherwise" if changed is not None else ""
        blocks.append(Note(f"{text}."))
    for attribute, entry in view.mapping("storage", "degradation").items():
        groups = entry.get("groups", {}) if isinstance(entry, dict) else {}
        rows = [[str(name), *_change(cell)] for name, cell in groups.items() if isinstance(cell, dict)]
        if rows:
            columns = [Column("Group"), Column("Change in accuracy (points)", "number"), Column("Interval", "number")]
            blocks += [Heading(str(attribute)), Table(f"Cost of {kind} by {attribute}", columns, rows)]
    lead = [
        f"The weights are stored as {kind} and computed with in 32 bits. All other figures of this report are those of "
        "the stored model; here it stands against the same model before rounding, on the same images."
    ]
    return Section("storage", "Cost of rounding", lead, blocks, folded=True)


def _change(cell: dict[str, Any]) -> list[str]:
    change, low, high = (number(cell.get(key)) for key in ("change", "low", "high"))
    if change is None:
        return [words.NOTHING, words.NOTHING]
    interval = words.NOTHING if low is None or high is None else f"{100 * low:+.2f} to {100 * high:+.2f}"
    return [f"{100 * change:+.2f}", interval]
