"""What `fairprune compare` prints: a compact table per target on the terminal or in a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.compare import page
from fairprune_cli.compare.cells import ComparisonPlan
from fairprune_cli.compare.pairs import gap_title
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report import words
from fairprune_cli.report.values import ordered


def print_comparison(document: Mapping[str, Any], plan: ComparisonPlan, terminal: Terminal) -> None:
    """Per target and attribute: accuracy, groups, gap, and how the gap stands against the reference."""
    for target in document["targets"]:
        for attribute in document["attributes"]:
            _table(document, target, attribute, terminal)
    for text in document["notes"]:
        terminal.result(f"note: {text}")
    for cell in document["cells"]:
        if cell["status"] == "failed":
            terminal.result(f"failed: {cell['name']}: {cell['reason'].splitlines()[0]}")
    terminal.result(f"written: {plan.folder} (open {plan.folder / 'compare.html'} in a browser)")


def _table(document: Mapping[str, Any], target: Mapping[str, Any], attribute: str, terminal: Terminal) -> None:
    rows = [
        row for row in document["rows"]
        if (row["granularity"], row["sparsity"]) == (target["granularity"], target["sparsity"])
    ]  # fmt: skip
    shown = [row for row in rows if row["figures"] and attribute in row["figures"]["attributes"]]
    if not shown:
        return
    groups = ordered(shown[0]["figures"]["attributes"][attribute]["groups"])
    gap = gap_title(row["notion"] for row in shown)
    columns = ["%", "accuracy", *groups, gap, "compared with", "accuracy is", f"{gap} is"]
    dense = page.dense_rows(document, attribute)
    lines = [[label, *_figures(found, attribute, groups), "", "", ""] for label, found in dense]
    for row in shown:
        against = [
            c for c in document["comparisons"]
            if all(c[k] == row[k] for k in ("method", "granularity", "sparsity", "grid"))
            and attribute in c["attributes"]
        ]  # fmt: skip
        first = against[0] if against else None
        said = ["", "", ""]
        if first is not None:
            made = first["attributes"][attribute]
            gaps = made.get("notion_gap") or made["gap"]
            said = [first["against"], first["accuracy"]["statement"], gaps["statement"]]
        lines.append([row["label"], *_figures(row["figures"], attribute, groups), *said])
    title = f"{target['granularity']} {target['sparsity']:g}, {attribute}: mean ± standard deviation over seeds"
    terminal.table(title, columns, lines)


def _figures(figures: Mapping[str, Any], attribute: str, groups: list[str]) -> list[str]:
    entry = figures["attributes"][attribute]
    spreads = [figures["accuracy"], *(entry["groups"][group] for group in groups), entry["notion_gap"]]
    return [page.mean_text(spread).replace(words.SPACE, " ") for spread in spreads]


def print_dry(document: Mapping[str, Any], terminal: Terminal) -> None:
    """The cells and how far each is."""
    for cell in document["cells"]:
        told = cell["status"] in ("failed", "made otherwise")
        reason = f" ({' '.join(cell['reason'].split())})" if told else ""
        terminal.result(f"{cell['name']}: {cell['status']}{reason}")
    left = sum(cell["status"] != "done" for cell in document["cells"])
    terminal.result(
        f"dry run: {left} of {len(document['cells'])} cells are left to compute into {document['folder']}; "
        "nothing was decoded, trained or written"
    )
