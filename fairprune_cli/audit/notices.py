"""Sentences that tell a reader of an audit what its figures alone do not say, levelling down above all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def notices(document: Mapping[str, Any]) -> list[str]:
    """Plain sentences on what a reader of the figures could miss.

    Args:
        document: with `results` and `degradation` as `to_document` makes them.

    Returns:
        One sentence or two per remark: a model that predicts one class only, groups too small to take part
        in a gap, images in no group, and for dense against pruned whether and through whom a gap moved,
        levelling down by name.
    """
    results: Mapping[str, Any] = document["results"]
    found: list[str] = []
    for model, result in results.items():
        predicted = [name for name, times in result.get("predicted", {}).items() if times]
        if len(predicted) == 1:
            found.append(
                f"The {model} model predicts {predicted[0]} for every image: its gaps only show how often "
                "that label occurs in each group."
            )
    if not results:
        return found
    for attribute, record in next(iter(results.values()))["attributes"].items():
        if record["small_groups"]:
            sizes = ", ".join(f"{g} ({record['groups'][g]['n']})" for g in record["small_groups"])
            found.append(
                f"{attribute}: too few images to judge these groups, so they are in no gap: {sizes}; "
                f"{document['min_group']} are asked for."
            )
        if record["ungrouped"]:
            found.append(f"{attribute}: {record['ungrouped']} images are in none of its groups.")
    for model, degradation in _degradations(document).items():
        for attribute, change in degradation.items():
            dense, other = (results[m]["attributes"][attribute] for m in ("dense", model))
            if dense["gap"] is not None and other["gap"] is not None:
                name = attribute if model == "pruned" else f"{model}, {attribute}"
                found += _moved(name, dense, other, change)
    return found


def _degradations(document: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Degradation by model; without a dense model there is none."""
    results = document["results"]
    if "dense" not in results or not document.get("degradation"):
        return {}
    others = [name for name in results if name != "dense"]
    several: Mapping[str, Any] = document.get("degradations") or {}
    return several or dict.fromkeys(others[:1], document["degradation"])


def _moved(
    attribute: str, dense: Mapping[str, Any], pruned: Mapping[str, Any], degradation: Mapping[str, Any]
) -> list[str]:
    shift = pruned["gap"] - dense["gap"]
    if abs(shift) < 0.0005:  # not visible at the precision of the report
        return []
    # The groups that made the gap that was larger are the ones whose move changed it.
    best, worst = (dense if shift < 0 else pruned)["gap_between"]
    fall = -degradation["groups"][best]["change"]
    rise = degradation["groups"][worst]["change"]
    how = f"{_told(best, -fall)}, {_told(worst, rise)}"
    from_to = f"from {100 * dense['gap']:.1f} to {100 * pruned['gap']:.1f} points"
    noise = "" if degradation["gap_low"] > 0 else " Sampling alone could move it as much."
    if shift > 0:
        return [f"{attribute}: pruning widened the gap {from_to}: {how}.{noise}"]
    if fall > max(rise, 0):
        share = "mostly" if rise > 0 else "only"
        return [
            f"{attribute}: levelling down: the gap shrank {from_to}, {share} because the better group got "
            f"worse: {how}.{noise}"
        ]
    return [f"{attribute}: the gap shrank {from_to}: {how}.{noise}"]


def _told(group: str, change: float) -> str:
    if abs(change) < 0.0005:
        return f"{group} stayed where it was"
    return f"{group} {'gained' if change > 0 else 'lost'} {100 * abs(change):.1f} points"
