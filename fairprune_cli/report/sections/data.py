"""What the figures rest on: images per split, label and group."""

from __future__ import annotations

from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Heading, Note, Section, Table
from fairprune_cli.report.values import natural, number, ordered
from fairprune_cli.report.view import View

ORDER = 90
BY_TASK = True
_ORDER_OF_SPLITS = {"train": 0, "val": 1, "test": 2}
_MOST_LABELS = 12  # wider tables than this say nothing to a reader; their least label does


def build(view: View) -> Section | None:
    counts = view.mapping("data", "counts")
    splits = sorted(ordered(counts), key=lambda name: (_ORDER_OF_SPLITS.get(name, 3), natural(name)))
    splits = [split for split in splits if isinstance(counts[split], dict)]
    blocks: list[Block] = []
    if text := _source(view):
        blocks.append(Note(text, "aside"))
    if splits:
        blocks.append(_table(view, "All images", "Split", [(split, "", counts[split]) for split in splits]))
    attributes = {a for split in splits for a in ordered(_mapping(counts[split], "attributes"))}
    for attribute in view.order_attributes(attributes):
        rows = []
        for split in splits:
            groups = _mapping(counts[split], "attributes", attribute)
            rows += [(group, split, groups[group]) for group in view.order_groups(attribute, groups)]
        blocks += [Heading(attribute), _table(view, f"Images by {attribute}", "Group", rows)]
    lead = [
        "How many images stand behind the figures. Labels that are unevenly spread over the groups limit "
        "what a "
        "difference in accuracy can mean.",
    ]
    return Section("data", "Data", lead, blocks, folded=True) if blocks else None


def _mapping(value: Any, *path: str) -> dict[str, Any]:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _source(view: View) -> str:
    manifest, name = view.text("data", "manifest"), view.text("data", "name")
    text = " ".join(part for part in (name, f"({manifest})" if name and manifest else manifest) if part)
    return f"Described by {text}." if text else ""


def _table(view: View, title: str, first: str, rows: list[tuple[str, str, Any]]) -> Table:
    """Rows of (name, split, {"n", "labels"}); a column per label unless there are too many."""
    labels = view.order_classes(label for _, _, cell in rows for label in _mapping(cell, "labels"))
    wide = len(labels) <= _MOST_LABELS
    with_split = any(split for _, split, _ in rows)
    columns = [Column(first), *([Column("Split")] if with_split else []), Column("Images", "number")]
    columns += [Column(label, "number") for label in labels] if wide else [Column("Least label", "number")]
    cells = []
    for name, split, cell in rows:
        known = _mapping(cell, "labels")
        row = [name, *([split] if with_split else []), words.whole_number(number(_mapping(cell).get("n")))]
        if wide:
            row += [words.whole_number(number(known.get(label))) for label in labels]
        else:
            least = min(((number(n) or 0.0, label) for label, n in known.items()), default=None)
            row.append(f"{least[1]}: {words.whole_number(least[0])}" if least else words.NOTHING)
        cells.append(row)
    return Table(title, columns, cells)
