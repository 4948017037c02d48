"""Faithfulness and bias as dictionaries, for to_json.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fairprune_cli.audit.estimates import Estimate
from fairprune_cli.audit.faithfulness_figures import (
    BiasFigures,
    ChurnFigures,
    Exemplars,
    FaithfulnessFigures,
    PairedTestFigure,
    PartFigure,
    ShiftFigure,
    ThresholdFigure,
)

Record = dict[str, Any]


def faithfulness_record(churn: ChurnFigures, by_attribute: Mapping[str, FaithfulnessFigures]) -> Record:
    """The key `faithfulness` of a model: over all images, and by attribute."""
    return {"all": _churn(churn), "attributes": {name: _attribute(found) for name, found in by_attribute.items()}}


def exemplars_record(found: Exemplars, table: str | None) -> Record:
    """The key `exemplars`; table: name of the file beside the report that holds all of them."""
    changed: Record = {}
    for (model, attribute, group), images in found.changed.items():
        changed.setdefault(model, {}).setdefault(attribute, {})[group] = [asdict(image) for image in images]
    record: Record = {"per_group": found.per_group, "table": table, "changed": changed}
    return record if table is not None else record | {"table_undefined": "--list-changed was not given"}


def bias_record(found: BiasFigures) -> Record:
    """The key `bias` of an attribute of a model."""
    record = nested_estimate("amplification", found.amplification)
    if found.amplification.value is not None:
        record["amplification"]["towards"] = found.towards
    record |= nested_estimate("directional_amplification", found.directional)
    if not found.rare:
        why = "it is defined for two classes"
        return record | {"threshold_calibration": None, "threshold_calibration_undefined": why}
    groups = {name: _threshold(of) for name, of in found.thresholds.items()}
    return record | {"threshold_calibration": {"class": found.rare, "groups": groups}}


def _attribute(found: FaithfulnessFigures) -> Record:
    record: Record = {"groups": {name: _churn(of) for name, of in found.groups.items()}}
    record |= nested_estimate("largest", found.largest)
    if found.largest.value is not None:
        record["largest"]["group"] = found.largest.group
    return record | {"small_groups": list(found.largest.small)}


def _churn(found: ChurnFigures) -> Record:
    record: Record = {"n": found.churn.n}
    for name in ("churn", "lost", "gained", "otherwise", "among_changed"):
        part: PartFigure = getattr(found, name)
        record |= nested_estimate(name, part)
        if part.value is not None:
            record[name] |= {"images": part.images, "of": part.n}
    record |= nested_estimate("representation", found.representation)
    return record | _test("mcnemar", found.mcnemar) | _test("shift", found.shift)


def _test(name: str, found: PairedTestFigure) -> Record:
    if found.p is None:
        return {name: None, f"{name}_undefined": "no images"}
    record: Record = {"p": found.p, "adjusted": found.adjusted}
    if isinstance(found, ShiftFigure):
        record |= {"statistic": found.statistic, "df": found.df, "exact": found.exact}
    return {name: record}


def _threshold(found: ThresholdFigure) -> Record:
    record: Record = {"value": found.value, "low": found.low, "high": found.high, "ratio": found.ratio}
    if found.value is None:
        record["value_undefined"] = found.why
    if found.ratio is None:
        record["ratio_undefined"] = found.ratio_why
    return record | {"n": found.n, "predicted": found.predicted, "labelled": found.labelled}


def nested_estimate(name: str, found: Estimate) -> Record:
    """A figure with its interval under a name; null with the reason where there is none."""
    if found.value is None:
        return {name: None, f"{name}_undefined": found.why}
    return {name: {"value": found.value, "low": found.low, "high": found.high}}
