"""The audit's parts of report.json: the one place where its figures and gates become dictionaries.

docs/report.schema.json describes what is written here, and a test holds the two together. An undefined value is null
with `<name>_undefined` saying why.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fairprune_cli.audit.doubt import Cause, ConstantAnswer
from fairprune_cli.audit.faithfulness_json import bias_record, faithfulness_record, nested_estimate
from fairprune_cli.audit.figures import (
    NO_DENSE,
    AttributeFigures,
    AuditFigures,
    BinaryRates,
    BinFigures,
    CalibrationFigures,
    ChangeFigure,
    DegradationFigures,
    Estimate,
    Examples,
    GapFigure,
    GroupFigures,
    ModelFigures,
    StorageCost,
    WorstFigure,
)
from fairprune_cli.audit.gates import INCONCLUSIVE, GateResult

PRUNED = "pruned"
Record = dict[str, Any]


def audit_record(figures: AuditFigures) -> Record:
    """The keys confidence, min_group, results and degradation; causes, where any were looked for.

    `degradation` is that of "pruned" (or of the only model beside the dense one), and null without a dense model; with
    more models `degradations` holds it for each.
    """
    document: Record = {
        "confidence": figures.judgement.confidence,
        "min_group": figures.judgement.min_group,
        "results": {name: model_record(found) for name, found in figures.models.items()},
    }
    answers = {name: found.constant_answer for name, found in figures.models.items()}
    if tried := {name: causes_record(one) for name, one in answers.items() if one is not None and one.tried}:
        document["causes"] = tried
    paired = {name: found for name, found in figures.models.items() if found.against_dense is not None}
    degradations = {name: degradation_record(found) for name, found in paired.items()}
    chosen = PRUNED if PRUNED in degradations else next(iter(degradations), None)
    if chosen is None:
        return document | {"degradation": None, "degradation_undefined": NO_DENSE}
    document["degradation"] = degradations[chosen]
    if len(degradations) > 1:
        document["degradations"] = degradations
    return document


def model_record(found: ModelFigures) -> Record:
    """A model's entry in `results`."""
    record = _accuracy(found.accuracy) | {"n": found.n, "correct": found.correct, "predicted": dict(found.predicted)}
    if found.against_dense is not None:
        record["against_dense"] = change_record(found.against_dense)
    if found.churn is not None:
        record["faithfulness"] = faithfulness_record(found.churn, found.faithfulness)
    record["attributes"] = {name: attribute_record(of) for name, of in found.attributes.items()}
    if found.calibration is not None:
        record["calibration"] = _calibration(found.calibration) | {"bins": [_bin(b) for b in found.bins]}
    if found.constant_answer is not None:
        record["constant_answer"] = constant_answer_record(found.constant_answer)
    return record


def constant_answer_record(found: ConstantAnswer) -> Record:
    """A model held against the same answer to every image."""
    return {
        "answer": found.answer, "share": found.share, "better": found.better, "accuracy": found.accuracy,
        "low": found.low, "high": found.high, "n": found.n, "present": found.present, "balanced": found.balanced,
        "tells_apart": found.tells_apart, "fits_better": list(found.fits_better),
    }  # fmt: skip


def causes_record(found: ConstantAnswer) -> Record:
    """A model's entry in `causes`."""
    return {"tried": found.tried, "tried_on": found.tried_on, "found": [_cause(one) for one in found.causes]}


def _cause(found: Cause) -> Record:
    record: Record = {
        "change": found.change, "mend": found.mend, "accuracy": found.accuracy, "low": found.low, "high": found.high,
        "n": found.n,
    }  # fmt: skip
    for key in ("mean", "std", "size", "classes"):
        if (values := getattr(found, key)) is not None:
            record[key] = list(values)
    return record


def attribute_record(found: AttributeFigures) -> Record:
    """An attribute's entry: groups, the gap of accuracies, and under `metrics` the gaps of all notions of rates."""
    record: Record = {"groups": {name: _group(of) for name, of in found.groups.items()}}
    record |= _flat_gap(found.gap) | {"ungrouped": found.ungrouped, "metrics": {}}
    for name, gap in found.gaps.items():
        if gap.compares == "rates":
            record["metrics"] |= nested_figure(metric_key(name), gap)
    record["metrics"] |= nested_figure("worst_group", found.worst_group)
    return record if found.bias is None else record | {"bias": bias_record(found.bias)}


def metric_key(notion: str) -> str:
    """The key under `metrics` of a notion of rates."""
    return notion.replace("-", "_")


def degradation_record(found: ModelFigures) -> Record:
    """A model's losses by attribute."""
    return {name: attribute_degradation_record(of) for name, of in found.degradation.items()}


def attribute_degradation_record(found: DegradationFigures) -> Record:
    """One attribute's losses: a group's `change` is accuracy pruned minus dense, so a loss is negative."""
    record: Record = {"groups": {name: change_record(of) for name, of in found.groups.items()}}
    record |= _flat_gap(found.gap)
    largest = nested_figure("largest", found.largest)
    if largest["largest"] is not None:
        del largest["largest"]["small_groups"]  # they stand beside the gap already
    for name, change in (("gap_change", found.gap_change), ("worst_change", found.worst_change)):
        record |= _estimate(name, change, f"{name}_low", f"{name}_high")
    return record | largest


def gate_record(result: GateResult) -> Record:
    """One of `gates`."""
    record: Record = {"name": result.name, "metric": result.metric, "bound": result.bound}
    if result.attribute is not None:
        record["attribute"] = result.attribute
    for key in ("task", "model", "notion", "confidence", "min_group"):
        if getattr(result, key):
            record[key] = getattr(result, key)
    for key in ("point_estimate", "allow_small_groups"):
        if getattr(result, key):
            record[key] = True
    if result.small_groups:
        record["small_groups"] = [asdict(group) for group in result.small_groups]
    if result.ungrouped:
        record |= {"ungrouped": result.ungrouped, "ungrouped_dropped": result.ungrouped_dropped}
    record |= {"value": result.value, "low": result.low, "high": result.high}
    if result.value is None:
        record["value_undefined"] = result.reason
    record |= {"verdict": result.verdict, "reason": result.reason}
    if result.verdict == INCONCLUSIVE:
        record["needed"] = result.needed
        if result.needed is None:
            record["needed_undefined"] = result.reason
    return record


def storage_record(cost: StorageCost) -> Record:
    """The key `storage`."""
    return {
        "format": cost.format,
        "accuracy_before": cost.before.accuracy.value,
        "accuracy": cost.after.accuracy.value,
        "predictions_changed": cost.predictions_changed,
        "degradation": degradation_record(cost.after),
    }


def examples_record(found: Examples) -> Record:
    """The key `examples`."""
    lost: Record = {}
    for (name, of, group), images in found.lost.items():
        lost.setdefault(name, {}).setdefault(of, {})[group] = [
            {
                "file": image.file,
                "label": image.label,
                "predicted": image.predicted,
                "before": image.before,
                "after": image.after,
            }
            for image in images
        ]
    return {"per_group": found.per_group, "root": found.root, "lost": lost, "pictures": dict(found.pictures)}


def _estimate(name: str, found: Estimate, low: str, high: str) -> Record:
    record: Record = {name: found.value, low: found.low, high: found.high}
    return record if found.value is not None else record | {f"{name}_undefined": found.why}


def _accuracy(found: Estimate) -> Record:
    return _estimate("accuracy", found, "low", "high")


def _flat_gap(gap: GapFigure) -> Record:
    record = _estimate("gap", gap, "gap_low", "gap_high")
    if gap.value is not None:
        record["gap_between"] = list(gap.between)
    return record | {"small_groups": list(gap.small)}


def nested_figure(name: str, found: GapFigure | WorstFigure) -> Record:
    """A gap or the worst group's figure under a name."""
    record = nested_estimate(name, found)
    if found.value is not None:
        if isinstance(found, GapFigure):
            record[name] |= {"between": list(found.between), "rate": found.rate}
        else:
            record[name]["group"] = found.group
        record[name]["small_groups"] = list(found.small)
    return record


def change_record(found: ChangeFigure) -> Record:
    """A change of accuracy on the same images."""
    record = _estimate("change", found, "low", "high")
    record |= {"n": found.n, "lost": found.lost, "gained": found.gained}
    return record | {"lost_low": found.lost_low, "lost_high": found.lost_high}


def _group(found: GroupFigures) -> Record:
    record: Record = {"n": found.n, "correct": found.correct} | _accuracy(found.accuracy)
    record["metrics"] = _rates(found)
    if found.calibration is not None:
        record["calibration"] = _calibration(found.calibration)
    return record


def _rates(found: GroupFigures) -> Record:
    """Two classes: selection_rate, tpr and fpr with their bounds. More: selection_rate and recall by class."""
    rates, record = found.rates, Record()
    if isinstance(rates, BinaryRates):
        for name, share in (("selection_rate", rates.selection_rate), ("tpr", rates.tpr), ("fpr", rates.fpr)):
            record |= _estimate(name, share, f"{name}_low", f"{name}_high")
        return record | {"positives": rates.tpr.n, "negatives": rates.fpr.n}
    for name, family in (("selection_rate", rates.selection_rate), ("recall", rates.recall)):
        record[name] = {c: share.value for c, share in family.items()}
        why = {c: share.why for c, share in family.items() if share.value is None}
        if why:
            record[f"{name}_undefined"] = why
    return record | {"images": dict(rates.images)}


def _calibration(found: CalibrationFigures) -> Record:
    over = found.overconfidence
    record: Record = {"n": found.n, "confidence": found.confidence, "overconfidence": over.value}
    if over.value is None:
        record |= {"confidence_undefined": over.why, "overconfidence_undefined": over.why}
    else:
        record |= {"overconfidence_low": over.low, "overconfidence_high": over.high}
    record["ece"] = found.ece
    if found.ece is None:
        return record | {"ece_undefined": found.ece_why}
    return record | {"ece_chance": found.ece_chance, "ece_chance_high": found.ece_chance_high}


def _bin(found: BinFigures) -> Record:
    return {
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "confidence": found.confidence,
        "accuracy": found.accuracy,
    }
