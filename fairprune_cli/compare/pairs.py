"""Each row against its reference, paired over the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairprune_cli.compare import grid
from fairprune_cli.compare.cells import ComparisonPlan, Row
from fairprune_cli.compare.measures import COMPARED, what_is_compared
from fairprune_cli.compare.statistics import paired_difference

Cells = dict[int, Mapping[str, Any]]


def reference_rows(plan: ComparisonPlan, row: Row) -> list[Row]:
    """The rows that `row` is compared with: another method at the same target and grid point.

    With one method and a grid, the first grid point is the reference instead.
    """
    if len(plan.request.methods) == 1:
        first = Row(row.method, row.granularity, row.sparsity, plan.points[0])
        return [] if row == first else [first]
    there = set(plan.rows)
    names = plan.references
    if row.method in names:  # two references are compared once, not in both directions
        names = names[: names.index(row.method)]
    others = [Row(name, row.granularity, row.sparsity, row.point) for name in names]
    return [other for other in others if other in there]


def compared(notion: str, other: str) -> list[str]:
    """The figures per attribute that two models trained for these notions are compared by, each once.

    Gaps of two different notions cannot be compared; then the accuracy gap stands in for them.
    """
    if notion != other:
        return [name for name in COMPARED if name not in ("accuracy", "notion_gap")]
    doubled = "odds_gap" if notion == "odds" else {"losses": "degradation_gap"}.get(what_is_compared(notion))
    return [name for name in COMPARED if name not in ("accuracy", "gap", doubled)]


def comparisons(plan: ComparisonPlan, cells: Sequence[Mapping[str, Any]], confidence: float) -> list[dict[str, Any]]:
    """One record for each row and each of its references, in the order of the rows."""
    by_row: dict[Row, Cells] = {row: {} for row in plan.rows}
    for cell, record in zip(plan.cells, cells, strict=True):
        if record["figures"] is not None:
            by_row[cell.row][cell.seed] = record["figures"]
    notions = {cell.row: cell.settings.notion for cell in plan.cells}
    return [
        _compare(row, other, by_row, compared(notions[row], notions[other]), confidence)
        for row in plan.rows
        for other in reference_rows(plan, row)
    ]


def _compare(
    row: Row, other: Row, by_row: Mapping[Row, Cells], keys: Sequence[str], confidence: float
) -> dict[str, Any]:
    seeds = sorted(set(by_row[row]) & set(by_row[other]))
    mine, theirs = ([by_row[r][seed] for seed in seeds] for r in (row, other))
    against = other.method if other.point == row.point else grid.label(other.point)
    record: dict[str, Any] = {
        "label": " ".join(filter(None, [row.method, grid.label(row.point)])), "against": against,
        "method": row.method, "granularity": row.granularity, "sparsity": row.sparsity, "grid": dict(row.point),
        "seeds": seeds,
        "accuracy": paired_difference([m["accuracy"] for m in mine], [t["accuracy"] for t in theirs], confidence, True),
        "attributes": {},
    }  # fmt: skip
    both = [name for name in (mine[0]["attributes"] if mine else {}) if name in theirs[0]["attributes"]]
    for name in both:
        ours, others = ([f["attributes"][name] for f in figures] for figures in (mine, theirs))
        gap = "notion_gap" if "notion_gap" in keys else "gap"
        record["attributes"][name] = {
            key: paired_difference([o[key] for o in ours], [o[key] for o in others], confidence, COMPARED[key][1])
            for key in keys
        } | _ratio([o[gap] for o in ours], [o[gap] for o in others])
    return record


def _ratio(ours: Sequence[float | None], others: Sequence[float | None]) -> dict[str, Any]:
    """Mean gap of a row divided by that of its reference."""
    known = [(a, b) for a, b in zip(ours, others, strict=True) if a is not None and b is not None]
    if not known:
        return {"ratio": None, "ratio_undefined": "no seed has both gaps"}
    below = statistics.fmean(b for _, b in known)
    if below == 0.0:
        return {"ratio": None, "ratio_undefined": "the reference has no gap"}
    return {"ratio": statistics.fmean(a for a, _ in known) / below}


def gap_title(notions: Iterable[str]) -> str:
    """What the gap of the notion, or of several rows' notions, is called in a table."""
    titles = {"gap" if what_is_compared(notion) == "accuracies" else f"gap of {notion}" for notion in notions}
    return titles.pop() if len(titles) == 1 else "gap of the notion"
