"""Whether the models exaggerate what goes together in the labels, and give the rarer class too rarely."""

from __future__ import annotations

from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Heading, Section, Table
from fairprune_cli.report.values import Measure, measure, number
from fairprune_cli.report.view import View

ORDER = 53
BY_TASK = True


def build(view: View) -> Section | None:
    blocks: list[Block] = []
    for attribute in view.attributes:
        records = [view.mapping("results", model, "attributes", attribute, "bias") for model in view.models]
        if any(records):
            blocks += [Heading(attribute), _table(view, attribute, records)]
    if not blocks:
        return None
    lead = [
        "Bias amplification is how much further the predictions lean towards a group than the labels do, in points; "
        "above zero the model exaggerates. The directional one is the mean over groups and classes.",
        "Threshold calibration bias is the share of a group's images that are predicted as the rarer class, less the "
        "share that are; below zero the model gives it too rarely. The ratio of the two shares stands behind it.",
    ]
    return Section("bias", "Bias amplification", lead, blocks, folded=True)


def _table(view: View, attribute: str, records: list[dict[str, Any]]) -> Table:
    rows, named = [], []
    for key, title in (("amplification", "Amplification"), ("directional_amplification", "Directional amplification")):
        found = [measure(record, key) for record in records]
        entries = (record[key] for record in records if isinstance(record.get(key), dict))
        towards = next((f", towards {entry['towards']}" for entry in entries if "towards" in entry), "")
        rows.append([f"{title}{towards}", *(words.estimate(m, sign=True) for m in found)])
        named.append((title.lower(), next((m for m in found if m.value is None), Measure(None))))
    thresholds = [_thresholds(record) for record in records]
    rare = next((str(of.get("class")) for of in thresholds if of), "")
    groups = {str(group) for of in filter(None, thresholds) for group in of["groups"]}
    for group in view.order_groups(attribute, groups):
        cells = [_threshold(of["groups"].get(group)) if of else words.NOTHING for of in thresholds]
        rows.append([f"{rare} predicted for {group}", *cells])
    why = next((str(record.get("threshold_calibration_undefined") or "") for record in records), "")
    named.append(("threshold calibration bias", Measure(None, why=why if not groups else "")))
    columns = [Column("Measure"), *(Column(view.title(model), "number") for model in view.models)]
    return Table(f"Bias by {attribute}", columns, rows, words.reasons(named))


def _thresholds(record: dict[str, Any]) -> dict[str, Any]:
    found = record.get("threshold_calibration")
    return found if isinstance(found, dict) and isinstance(found.get("groups"), dict) else {}


def _threshold(cell: object) -> str:
    """The difference in points with its interval, and the ratio."""
    if not isinstance(cell, dict):
        return words.NOTHING
    ratio = number(cell.get("ratio"))
    text = words.estimate(measure(cell, "value"), sign=True)
    return text if ratio is None else f"{text}; ×{words.fixed(ratio, 2)}"
