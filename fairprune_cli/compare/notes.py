"""What a reader of the tables has to know: what the spread is of, what is missing, what was not equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.compare import grid
from fairprune_cli.compare.cells import ComparisonPlan

PASSES_TOLERANCE = 0.02


def notes(plan: ComparisonPlan, document: Mapping[str, Any]) -> list[str]:
    """Sentences that hold for the whole comparison."""
    seeds = len(document["seeds"])
    texts = list(plan.notes)
    if not plan.per_seed:
        texts.insert(
            0,
            "All seeds prune the same dense model, so the spread is that of the pruning alone; with {seed} in the "
            "model's name each seed would have a dense model of its own.",
        )
    if len(plan.request.methods) > 1:
        texts += [
            f"{' and '.join(plan.references)} {'is' if len(plan.references) == 1 else 'are'} not there by {kind}, so "
            "nothing is compared there."
            for kind in dict.fromkeys(row.granularity for row in plan.rows)
            if not any(row.granularity == kind and row.method in plan.references for row in plan.rows)
        ]
    if seeds == 1:
        texts.append("One seed has no spread, so nothing is decided between methods.")
    elif document["comparisons_made"]:
        texts.append(
            f"{document['comparisons_made']} comparisons were made. Their {100 * document['confidence']:g} % intervals "
            "are not adjusted for that number: if nothing differed, about "
            f"{(1 - document['confidence']) * document['comparisons_made']:.1f} of them would seem to, by chance."
        )
    return texts


def warnings(document: Mapping[str, Any]) -> list[str]:
    """Sentences about cells that failed or are missing, and about passes that differ."""
    texts = [f"{c['name']} failed: {_one_line(c['reason'])}" for c in document["cells"] if c["status"] == "failed"]
    missing = [c["name"] for c in document["cells"] if c["status"] == "missing"]
    if missing:
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        texts.append(f"{len(missing)} of {len(document['cells'])} cells are missing: {shown}.")
    return texts + _unequal_passes(document)


def _unequal_passes(document: Mapping[str, Any]) -> list[str]:
    passes: dict[tuple[str, float, str], dict[str, float]] = {}
    for cell in document["cells"]:
        if cell["figures"] is not None:
            key = (cell["granularity"], cell["sparsity"], grid.label(cell["grid"]))
            passes.setdefault(key, {})[cell["name"]] = cell["figures"]["passes"]
    texts = []
    for (granularity, sparsity, point), found in passes.items():
        least, most = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
        if found[most] > (1 + PASSES_TOLERANCE) * found[least]:
            where = " ".join(filter(None, [granularity, f"{sparsity:g}", point]))
            texts.append(f"Passes are not equal at {where}: {least} made {found[least]:.0f}, {most} {found[most]:.0f}.")
    return texts


def _one_line(text: str) -> str:
    return " ".join(text.split())
