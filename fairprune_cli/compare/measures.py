"""What is compared, out of one run's report.json: figures of the pruned and the dense model, per attribute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.audit.to_json import metric_key
from fairprune_cli.fairness import notions
from fairprune_cli.report.view import View

# name -> (title, whether higher is better); the order is that of the tables.
COMPARED = {
    "accuracy": ("accuracy", True),
    "gap": ("accuracy gap", False),
    "notion_gap": ("gap of the notion", False),
    "worst_group": ("worst group", True),
    "odds_gap": ("odds gap", False),
    "degradation_gap": ("degradation gap", False),
}
PER_ATTRIBUTE = (
    "gap", "notion_gap", "odds_gap", "worst_group", "degradation_gap", "exact_gap", "surrogate_gap", "multiplier",
)  # fmt: skip
OVERALL = (
    "accuracy", "achieved_sparsity", "passes", "seconds", "file_bytes", "dense_bytes", "macs", "dense_macs",
)  # fmt: skip


_SHARES = ("accuracy", "achieved_sparsity", "gap", "odds_gap", "worst_group")


def largest_possible(key: str, notion: str) -> float | None:
    """Where a figure that begins at 0 ends: a share and a difference of two at 1; None for one without an end.

    A gap of losses ends at 2: one group may lose all and another gain all.
    """
    if key in ("notion_gap", "exact_gap"):
        return 2.0 if what_is_compared(notion) == "losses" else 1.0
    return 1.0 if key in _SHARES else 2.0 if key == "degradation_gap" else None


def what_is_compared(notion: str) -> str:
    """What a gap of the notion is a difference of: "accuracies", "losses" or (so of all not listed) "rates"."""
    return notions.get(notion, 2).compares if notion in notions.names() else "rates"


def of_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of the pruned model; shares and gaps as fractions, undefined ones null with `<name>_undefined`.

    Returns:
        The keys of `OVERALL`, and `attributes`: by name the keys of `PER_ATTRIBUTE` and `groups`: accuracy by group.
        exact_gap, surrogate_gap and multiplier (the largest of any group) are of the last epoch of the pruning.
    """
    pruned, size, cost = report["results"]["pruned"], report["size"], report["cost"]
    view = View(report)
    found = {
        "accuracy": pruned["accuracy"], "achieved_sparsity": report["sparsity"]["achieved"],
        "passes": cost["passes"], "seconds": cost["seconds"], "file_bytes": size["file_bytes"],
        "dense_bytes": size["dense_bytes"], "macs": size["macs"], "dense_macs": size["dense_macs"],
    }  # fmt: skip
    last = report["training"][-1] if report["training"] else {}
    attributes = {}
    for name in view.order_attributes(pruned["attributes"]):
        record = _attribute(view, "pruned", name, report["degradation"].get(name))
        multipliers = (last.get("multipliers") or {}).get(name)
        record["exact_gap"] = (last.get("exact_gap") or {}).get(name)
        record["surrogate_gap"] = (last.get("surrogate_gap") or {}).get(name)
        record["multiplier"] = max(multipliers.values()) if multipliers else None
        for key in ("exact_gap", "surrogate_gap", "multiplier"):
            if record[key] is None:
                record[f"{key}_undefined"] = "the last epoch recorded none"
        attributes[name] = record
    return found | {"attributes": attributes}


def of_dense(report: Mapping[str, Any]) -> dict[str, Any]:
    """The same of the dense model, as far as it has them: accuracy, bytes, MACs and its own gaps."""
    dense, size, view = report["results"]["dense"], report["size"], View(report)
    return {
        "accuracy": dense["accuracy"], "dense_bytes": size["dense_bytes"], "dense_macs": size["dense_macs"],
        "attributes": {
            name: _attribute(view, "dense", name, None) for name in view.order_attributes(dense["attributes"])
        },
    }  # fmt: skip


def _attribute(view: View, model: str, name: str, degradation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Figures of an attribute of a model, its groups in the manifest's order; `degradation` of a pruned one."""
    entry, notion = view.attribute(model, name), view.text("notion")
    groups = {group: entry["groups"][group]["accuracy"] for group in view.order_groups(name, entry["groups"])}
    record: dict[str, Any] = {"groups": groups}
    _put(record, "gap", entry.get("gap"), entry.get("gap_undefined"))
    metrics = entry["metrics"]
    for key, metric in (("odds_gap", "odds"), ("worst_group", "worst_group")):
        _put(record, key, _value(metrics.get(metric)), metrics.get(f"{metric}_undefined"))
    if degradation is None:
        _put(record, "degradation_gap", None, "the dense model is what it is measured against")
    else:
        _put(record, "degradation_gap", degradation.get("gap"), degradation.get("gap_undefined"))
    compared = what_is_compared(notion)
    if compared == "accuracies":
        source: tuple[Any, Any] = (record["gap"], record.get("gap_undefined"))
    elif compared == "losses":
        source = (record["degradation_gap"], record.get("degradation_gap_undefined"))
    else:
        key = metric_key(notion)
        source = (_value(metrics.get(key)), metrics.get(f"{key}_undefined"))
    _put(record, "notion_gap", *source)
    return record


def _put(record: dict[str, Any], key: str, value: float | None, why: str | None) -> None:
    record[key] = value
    if value is None:
        record[f"{key}_undefined"] = why or "not in the report"


def _value(metric: Any) -> float | None:
    return metric["value"] if isinstance(metric, Mapping) else None
