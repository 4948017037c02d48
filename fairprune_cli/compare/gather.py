"""compare.json: figures of every cell, spreads over seeds, paired differences, and what there is to say about them.

The document (schema_version 1; fractions throughout, an undefined value is null beside `<name>_undefined`):

    tool_version, data {name, sha256, split, classes}, model {path, per_seed, architecture}, confidence, attributes,
    seeds, methods, targets [{granularity, sparsity}], grid {key: values}, references,
    settings {key: value}    what all cells share and that is not at its default
    cells [{name, method, granularity, sparsity, grid, seed, status, reason, figures, dense}]    see measures.py;
        status done, failed or missing, and figures and dense are null unless it is done
    dense [{grid, seeds, figures}]    one per audit: grid holds only the keys that an audit depends on
    rows [{label, method, granularity, sparsity, grid, done, failed, figures}]    figures: spreads in place of values
        exemplars {seeds, changed, exemplars, attributes, images}    see exemplars.py
    comparisons [{label, against, method, granularity, sparsity, grid, accuracy, attributes}]    paired differences,
        each {n, mean, sd, low, high, statement}; per attribute also ratio, of the mean gaps of the notion
    comparisons_made    how many statements that are; notes, warnings    sentences
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairprune_cli import __version__
from fairprune_cli.compare import exemplars, grid, measures
from fairprune_cli.compare.cells import Cell, ComparisonPlan, Row
from fairprune_cli.compare.notes import notes, warnings
from fairprune_cli.compare.pairs import comparisons
from fairprune_cli.compare.statistics import seed_spread
from fairprune_cli.compare.status import BEGUN, DONE, MISSING, standing
from fairprune_cli.core.settings import values_of
from fairprune_cli.report.plain import plain
from fairprune_cli.report.read import read_report
from fairprune_cli.run.options import FIELDS

SCHEMA_VERSION = 1
AUDIT_KEYS = ("data", "attr", "split", "min_group", "notion")  # what the dense model's own figures depend on


def gather(plan: ComparisonPlan) -> dict[str, Any]:
    """The document of compare.json, out of the reports that are there."""
    confidence = plan.request.resolved.settings.confidence
    reports = {c.name: read_report(plan.path(c)) for c in plan.cells if standing(plan, c).state == DONE}
    cells = [_cell(plan, cell, reports.get(cell.name)) for cell in plan.cells]
    first = next(iter(reports.values()), {})
    attributes = list(dict.fromkeys(a for cell in cells for a in (cell["figures"] or {}).get("attributes", {})))
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION, "tool_version": __version__,
        "data": {key: first.get("data", {}).get(key) for key in ("name", "sha256", "split", "classes")},
        "model": {
            "path": plan.request.model, "per_seed": plan.per_seed,
            "architecture": first.get("model", {}).get("architecture"),
        },
        "confidence": confidence, "attributes": attributes, "seeds": sorted({cell.seed for cell in plan.cells}),
        "methods": list(plan.request.methods),
        "targets": [{"granularity": g, "sparsity": s} for g, s in plan.request.targets],
        "grid": {key: list(dict.fromkeys(dict(p)[key] for p in plan.points)) for key, _ in plan.points[0]},
        "references": list(plan.references), "settings": _shared(plan), "cells": cells,
        "dense": _dense(cells, plan.per_seed, confidence),
        "rows": [
            _row(row, [c for c in cells if _is_of(c, row)], confidence)
            | {"exemplars": _exemplars(plan, row, reports, confidence)}
            for row in plan.rows
        ],
    }  # fmt: skip
    document["comparisons"] = comparisons(plan, cells, confidence)
    document["comparisons_made"] = sum(
        made["n"] > 1 for comparison in document["comparisons"] for made in _statements(comparison)
    )
    document["notes"] = notes(plan, document)
    document["warnings"] = warnings(document)
    result = plain(document)
    assert isinstance(result, dict)
    return result


def _statements(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All paired differences of a comparison."""
    per_attribute = [v for entry in comparison["attributes"].values() for v in entry.values() if isinstance(v, dict)]
    return [comparison["accuracy"], *per_attribute]


def _cell(plan: ComparisonPlan, cell: Cell, report: Mapping[str, Any] | None) -> dict[str, Any]:
    found = standing(plan, cell)
    state = MISSING if found.state == BEGUN or (report is None and found.state == DONE) else found.state
    return {
        "name": cell.name, "method": cell.row.method, "granularity": cell.row.granularity,
        "sparsity": cell.row.sparsity, "grid": dict(cell.row.point), "seed": cell.seed,
        "notion": cell.settings.notion, "status": state, "reason": "" if state == DONE else found.reason,
        "figures": None if report is None else measures.of_report(report),
        "dense": None if report is None else measures.of_dense(report),
    }  # fmt: skip


def _is_of(cell: Mapping[str, Any], row: Row) -> bool:
    where = (cell["method"], cell["granularity"], cell["sparsity"], cell["grid"])
    return where == (row.method, row.granularity, row.sparsity, dict(row.point))


def _exemplars(
    plan: ComparisonPlan, row: Row, reports: Mapping[str, Mapping[str, Any]], confidence: float
) -> dict[str, Any]:
    """The images that the row's seeds change most often; see exemplars.py."""
    done = [cell for cell in plan.cells if cell.row == row and cell.name in reports]
    found = [reports[cell.name] for cell in done]
    return exemplars.of_row([plan.path(cell) for cell in done], found, plan.per_seed, confidence)


def _row(row: Row, cells: Sequence[Mapping[str, Any]], confidence: float) -> dict[str, Any]:
    done = [cell["figures"] for cell in cells if cell["status"] == DONE]
    return {
        "label": " ".join(filter(None, [row.method, grid.label(row.point)])), "method": row.method,
        "granularity": row.granularity, "sparsity": row.sparsity, "grid": dict(row.point),
        "notion": cells[0]["notion"], "done": len(done),
        "failed": [{"seed": c["seed"], "reason": c["reason"]} for c in cells if c["status"] not in (DONE, MISSING)],
        "missing": [c["seed"] for c in cells if c["status"] == MISSING],
        "figures": spreads(done, measures.OVERALL, confidence, cells[0]["notion"]) if done else None,
    }  # fmt: skip


def spreads(
    records: Sequence[Mapping[str, Any]], overall: Sequence[str], confidence: float, notion: str
) -> dict[str, Any]:
    """Records of several seeds as one of the same form, a spread in place of each value."""
    result: dict[str, Any] = {
        key: seed_spread([record[key] for record in records], confidence, most=measures.largest_possible(key, notion))
        for key in overall
    }
    result["attributes"] = {}
    for name in records[0]["attributes"]:
        entries = [record["attributes"][name] for record in records]
        first = entries[0]
        keys = [key for key in measures.PER_ATTRIBUTE if key in first]
        result["attributes"][name] = {
            key: seed_spread(
                [e[key] for e in entries],
                confidence,
                str(first.get(f"{key}_undefined", "")),
                measures.largest_possible(key, notion),
            )
            for key in keys
        }
        result["attributes"][name]["groups"] = {
            group: seed_spread([e["groups"].get(group) for e in entries], confidence, most=1.0)
            for group in first["groups"]
        }
    return result


def _dense(cells: Sequence[Mapping[str, Any]], per_seed: bool, confidence: float) -> list[dict[str, Any]]:
    """The dense models, once per seed; a shared one counts once, or its spread of zero would mean something."""
    by_audit: dict[str, dict[str, Any]] = {}
    for cell in cells:
        if cell["dense"] is None:
            continue
        own = {key: value for key, value in cell["grid"].items() if key in AUDIT_KEYS}
        entry = by_audit.setdefault(repr(own), {"grid": own, "notion": cell["notion"], "by_seed": {}})
        entry["by_seed"].setdefault(cell["seed"], cell["dense"])
    result = []
    for entry in by_audit.values():
        records = list(entry["by_seed"].values())
        distinct = records if per_seed else records[:1]
        result.append({
            "grid": entry["grid"], "seeds": len(distinct),
            "figures": spreads(
                distinct, ("accuracy", "dense_bytes", "dense_macs"), confidence, entry["notion"]
            ),
        })  # fmt: skip
    return result


def _shared(plan: ComparisonPlan) -> dict[str, Any]:
    """What all cells share and that is not at its default."""
    own = {"method", "granularity", "sparsity", "seed", "data", *dict(plan.points[0])}
    settings = values_of(plan.request.resolved.settings)
    return {key: value for key, value in settings.items() if key not in own and value != FIELDS[key].default}
