"""What thresholds of groups do, as report.json has it under `group_thresholds`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.audit.faithfulness_json import nested_estimate
from fairprune_cli.audit.group_counts import DENSE
from fairprune_cli.audit.points_in_use import BothPoints, PointsFigures, RateAtPoints
from fairprune_cli.audit.to_json import change_record, metric_key, nested_figure

Record = dict[str, Any]


def points_record(found: PointsFigures) -> Record:
    """One model's entry under `group_thresholds`."""
    points = found.points
    fitted = {
        name: {"images": points.images[name], "biases": dict(zip(points.classes, biases, strict=True))}
        for name, biases in points.biases.items()
    }
    return {
        "attribute": points.attribute, "judged": found.judged, "fitted": fitted, "fitted_notion": points.notion,
        "fitted_tolerance": points.tolerance, "notion": found.notion,
        "accuracy": _both(found.accuracy), "change": change_record(found.change),
        "groups": {
            name: {"n": one.n, "accuracy": _both(one.accuracy), "change": change_record(one.change)}
            for name, one in found.groups.items()
        },
        "gaps": {
            metric_key(name): nested_figure("common", common) | nested_figure("own", own)
            for name, (common, own) in found.gaps.items()
        },
        "rates": [_rate(one) for one in found.rates],
    }  # fmt: skip


def _both(found: BothPoints) -> Record:
    return nested_estimate("common", found.common) | nested_estimate("own", found.own)


def _rate(found: RateAtPoints) -> Record:
    return {
        "rate": found.rate, "of": found.of, "groups": {name: _both(both) for name, both in found.groups.items()}
    }  # fmt: skip


def used_points(found: Mapping[str, PointsFigures]) -> list[str]:
    """A sentence for each model whose predictions were made with thresholds of groups."""
    return [
        f"{'The model' if name == DENSE else name} was audited with thresholds of their own for groups of "
        f"{one.points.attribute}, which need the group of each image at use."
        for name, one in found.items()
        if one.judged
    ]
