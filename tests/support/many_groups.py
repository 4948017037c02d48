"""A report of a run with three attributes, the last with 21 groups, examples, and curves for every group."""

from __future__ import annotations

import itertools
from typing import Any

from tests.support import reports

GENDERS = ("woman", "man", "non-binary person")
AGES = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-69", "70-120")


def _rates(place: int, n: int) -> tuple[int, float | None, float | None]:
    return n, 0.95 - 0.004 * (place % 9), 0.94 - 0.006 * (place % 9)


ATTRIBUTES: dict[str, reports.Groups] = {
    "gender": {name: _rates(3 * i, 700) for i, name in enumerate(GENDERS)},
    "age group": {name: _rates(i, 300) for i, name in enumerate(AGES)},
    "gender*age group": {
        f"{gender}*{age}": _rates(i, 60 + 9 * i) for i, (gender, age) in enumerate(itertools.product(GENDERS, AGES))
    },
}


def many_groups() -> dict[str, Any]:
    """As a run leaves it that was asked for examples."""
    report = reports.full()
    report["data"] |= {"attributes": reports.listed(ATTRIBUTES), "counts": reports.counts_record(ATTRIBUTES)}
    for number, model in enumerate(("dense", "pruned")):
        report["results"][model]["attributes"] = {
            name: reports.attribute_record(name, groups, number) for name, groups in ATTRIBUTES.items()
        }
    report["results"]["pruned"]["faithfulness"] = reports.faithfulness_record(ATTRIBUTES)
    report["degradation"] = {name: reports.degradation_record(groups) for name, groups in ATTRIBUTES.items()}
    for i, record in enumerate(report["training"]):
        for key in ("exact_gap", "surrogate_gap"):
            record[key] = dict.fromkeys(ATTRIBUTES, 0.06 / (1 + 0.1 * i))
        record["multipliers"] = {
            name: {group: 0.02 * i * (place % 5) for place, group in enumerate(groups)}
            for name, groups in ATTRIBUTES.items()
        }
        record["group_accuracy"] = {
            name: {group: 0.9 + 0.002 * i - 0.003 * (place % 7) for place, group in enumerate(groups)}
            for name, groups in ATTRIBUTES.items()
        }
    report["examples"] = _examples()
    report["gates"] = [gate | {"name": gate["name"].replace("age", "age group")} for gate in report["gates"]]
    return report


def _examples() -> dict[str, Any]:
    fall = {"label": "smiling", "predicted": "neutral", "before": 0.9, "after": 0.2}
    lost = {
        name: {group: [fall | {"file": f"faces/{place}.jpg"} for place in range(6)] for group in groups}
        for name, groups in ATTRIBUTES.items()
    }
    return {
        "per_group": 6, "root": "/data/faces", "lost": {"pruned": lost},
        "pictures": {f"faces/{place}.jpg": reports.PIXEL for place in range(6)},
    }  # fmt: skip
