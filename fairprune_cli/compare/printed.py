"""What `fairprune compare` prints: a table per target and attribute, and a line per pair of methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.compare import page
from fairprune_cli.compare.cells import ComparisonPlan
from fairprune_cli.compare.pairs import gap_title
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report import words
from fairprune_cli.report.figure_cells import percents


def print_comparison(document: Mapping[str, Any], plan: ComparisonPlan, terminal: Terminal) -> None:
    """Per target and attribute: accuracy, groups, gap, and how each row stands against its references."""
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
    rows = [row for row in document["rows"] if page.is_at(row, target)]
    shown = [row for row in rows if row["figures"] and attribute in row["figures"]["attributes"]]
    if not shown:
        return
    groups = list(shown[0]["figures"]["attributes"][attribute]["groups"])
    gap = gap_title(row["notion"] for row in shown)
    columns = ["%", "accuracy", *groups, gap]
    lines = [[label, *_figures(found, attribute, groups)] for label, found in page.dense_rows(document, attribute)]
    lines += [[row["label"], *_figures(row["figures"], attribute, groups)] for row in shown]
    title = f"{target['granularity']} {target['sparsity']:g}, {attribute}: mean ± standard deviation over seeds"
    terminal.table(title, columns, lines)
    for one in document["comparisons"]:
        if page.is_at(one, target) and attribute in one["attributes"]:
            terminal.result(_pair(one, attribute, gap))


def _pair(one: Mapping[str, Any], attribute: str, gap: str) -> str:
    """A row against its reference: each difference with its interval, and what may be said of it."""
    gaps = one["attributes"][attribute]
    # Gaps of two notions cannot be compared; then the gap of accuracies was.
    made = (gap, gaps["notion_gap"]) if gaps.get("notion_gap") else ("gap", gaps["gap"])
    told = [f"{title} {_difference(record)}" for title, record in (("accuracy", one["accuracy"]), made)]
    return f"{one['label']} against {one['against']}: {'; '.join(told)}"


def _difference(record: Mapping[str, Any]) -> str:
    """In points, such as `-3.2 [-5.8, -0.7], better`."""
    figure = percents(record["mean"], record["low"], record["high"], signed=True)
    return str(record["statement"]) if record["mean"] is None else f"{figure}, {record['statement']}"


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
