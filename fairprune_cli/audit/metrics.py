"""Figures per group derived from counts of group x label x prediction: rates, gaps, degradation, as JSON.

Every figure follows from the counts, so no two of them can disagree. The denominator of a rate (for instance
the images with one label), not the size of the group, decides whether it is defined and large enough. What
cannot be computed is null with `<name>_undefined` saying why; it is never zero.

For two classes the last one is the positive class. For more, a gap is the largest over all the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprune_cli.audit import intervals
from fairprune_cli.audit.options import FigureOptions

Counts = NDArray[np.int64]
Record = dict[str, Any]


@dataclass(frozen=True)
class Rate:
    """A rate of every group: `k` of `n` [G]; `name` and `of` say in words what is counted and out of what."""

    name: str
    of: str
    k: Counts
    n: Counts


def number(value: float) -> float | None:
    """A plain float for JSON; None for NaN."""
    return None if np.isnan(value) else float(value)


def judged_classes(classes: Sequence[str]) -> range:
    """Indices of the classes that are looked at: the last of two, the positive one, or all of more."""
    return range(1, 2) if len(classes) == 2 else range(len(classes))


def selection_rates(counts: Counts, classes: Sequence[str]) -> list[Rate]:
    """Share of a group's images that is predicted as a class. counts: [G, label, prediction]."""
    n = counts.sum((1, 2))
    return [Rate(f"predicted {classes[c]}", "images", counts[:, :, c].sum(1), n) for c in judged_classes(classes)]


def _given_label(counts: Counts, classes: Sequence[str], label: int, prediction: int) -> Rate:
    of = f"images labelled {classes[label]}"
    name = f"predicted {classes[prediction]} among {of}"
    return Rate(name, of, counts[:, label, prediction], counts[:, label].sum(1))


def recalls(counts: Counts, classes: Sequence[str]) -> list[Rate]:
    """Share of a group's images of a class that is predicted as such. counts: [G, label, prediction].

    For two classes this is the true positive rate; equal opportunity asks that it be equal (Hardt, Price and
    Srebro 2016, arXiv 1610.02413).
    """
    return [_given_label(counts, classes, c, c) for c in judged_classes(classes)]


def odds_rates(counts: Counts, classes: Sequence[str]) -> list[Rate]:
    """Share of each prediction among a group's images of each label. counts: [G, label, prediction].

    For two classes these are the true and the false positive rate. Equalized odds asks that all be equal: the
    prediction tells nothing about the group once the label is known (Hardt, Price and Srebro 2016). One class
    against all others would not do for more than two: groups with other mixes of labels would differ by that.
    """
    predictions = judged_classes(classes)
    return [_given_label(counts, classes, y, p) for y in reversed(range(len(classes))) for p in predictions]


def small(names: Sequence[str], n: ArrayLike, least: int) -> list[str]:
    """Names of the groups whose denominator is below `least`, or zero."""
    return [name for name, size in zip(names, np.asarray(n), strict=True) if size < max(least, 1)]


def _too_few(names: Sequence[str], n: ArrayLike, of: str, least: int) -> str:
    """Why a gap is undefined: which groups lack the images."""
    if len(names) < 2:
        return "a gap needs two groups"
    missing = [f"{name} {size}" for name, size in zip(names, np.asarray(n), strict=True) if size < max(least, 1)]
    return f"fewer than two groups have {max(least, 1)} {of} ({', '.join(missing)})"


def gap_metric(name: str, rates: Sequence[Rate], groups: Sequence[str], settings: FigureOptions) -> Record:
    """{name: {value, low, high, between, rate, small_groups}}, or {name: None, name_undefined: why}.

    `between` names the groups with the highest and the lowest rate, `rate` says which rate, and
    `small_groups` the groups that stayed out of at least one of the rates.
    """
    least = settings.min_group
    for rate in rates:
        if len(groups) - len(small(groups, rate.n, least)) < 2:
            return {name: None, f"{name}_undefined": _too_few(groups, rate.n, rate.of, least)}
    gap = intervals.joint([(rate.k, rate.n) for rate in rates], settings.confidence, settings.seed, least)
    assert gap is not None
    left_out = {group for rate in rates for group in small(groups, rate.n, least)}
    return {
        name: {
            "value": gap.value,
            "low": gap.low,
            "high": gap.high,
            "between": [groups[i] for i in gap.pair],
            "rate": rates[gap.rate].name,
            "small_groups": [group for group in groups if group in left_out],
        }
    }


def worst_group(counts: Counts, groups: Sequence[str], settings: FigureOptions) -> Record:
    """{worst_group: {value, low, high, group, small_groups}}: lowest accuracy of any large enough group."""
    correct, n = np.trace(counts, axis1=1, axis2=2), counts.sum((1, 2))
    lowest = intervals.lowest_rate(correct, n, settings.confidence, settings.min_group)
    if lowest is None:
        why = f"no group has {max(settings.min_group, 1)} images"
        return {"worst_group": None, "worst_group_undefined": why}
    return {
        "worst_group": {
            "value": lowest.value,
            "low": lowest.low,
            "high": lowest.high,
            "group": groups[lowest.group],
            "small_groups": small(groups, n, settings.min_group),
        }
    }


def group_metrics(counts: Counts, classes: Sequence[str], confidence: float) -> list[Record]:
    """Rates of each group on its own, one record per group. counts: [G, label, prediction].

    Two classes: selection_rate, tpr and fpr, each with NAME_low and NAME_high, and the denominators
    `positives` and `negatives`. More: `selection_rate` and `recall` by class, and `images` by label.
    """
    records: list[Record] = [{} for _ in counts]
    if len(classes) == 2:
        positive, negative = odds_rates(counts, classes)
        rates = {"selection_rate": selection_rates(counts, classes)[0], "tpr": positive, "fpr": negative}
        for name, rate in rates.items():
            low, high = intervals.wilson(rate.k, rate.n, confidence)
            for g, record in enumerate(records):
                record |= _share(name, rate, g)
                record |= {f"{name}_low": number(low[g]), f"{name}_high": number(high[g])}
        for g, record in enumerate(records):
            record |= {"positives": int(positive.n[g]), "negatives": int(negative.n[g])}
        return records
    for g, record in enumerate(records):
        for name, family in (
            ("selection_rate", selection_rates(counts, classes)),
            ("recall", recalls(counts, classes)),
        ):
            shares = [_share(c, rate, g) for c, rate in zip(classes, family, strict=True)]
            record[name] = {c: share[c] for c, share in zip(classes, shares, strict=True)}
            why = {c: f"no {rate.of}" for c, rate in zip(classes, family, strict=True) if not rate.n[g]}
            if why:
                record[f"{name}_undefined"] = why
        record["images"] = dict(zip(classes, counts[g].sum(1).tolist(), strict=True))
    return records


def _share(name: str, rate: Rate, group: int) -> Record:
    """{name: k / n of the group}, or null and why."""
    if not rate.n[group]:
        return {name: None, f"{name}_undefined": f"no {rate.of}"}
    return {name: int(rate.k[group]) / int(rate.n[group])}


def attribute_record(
    counts: Counts, groups: Sequence[str], classes: Sequence[str], ungrouped: int, settings: FigureOptions
) -> Record:
    """One attribute of one model in the form of report.json.

    Args:
        counts: [G, label, prediction].
        ungrouped: images that belong to none of the groups.

    Returns:
        groups {name: {n, correct, accuracy, low, high, metrics}}; gap, gap_low, gap_high, gap_between (best,
        worst group); small_groups, which stay out of the gap; ungrouped; metrics {parity, opportunity, odds,
        worst_group}. A group's own intervals hold one by one, a gap's over all pairs.
    """
    correct, n = np.trace(counts, axis1=1, axis2=2), counts.sum((1, 2))
    record: Record = {"groups": {}}
    for g, metrics in enumerate(group_metrics(counts, classes, settings.confidence)):
        entry: Record = {"n": int(n[g]), "correct": int(correct[g])}
        entry |= accuracy(int(correct[g]), int(n[g]), settings.confidence)
        record["groups"][groups[g]] = entry | {"metrics": metrics}
    record |= _flat_gap(
        intervals.pairwise(correct, n, settings.confidence, settings.seed, settings.min_group),
        groups,
        n,
        settings,
    )
    record["ungrouped"] = ungrouped
    record["metrics"] = (
        gap_metric("parity", selection_rates(counts, classes), groups, settings)
        | gap_metric("opportunity", recalls(counts, classes), groups, settings)
        | gap_metric("odds", odds_rates(counts, classes), groups, settings)
        | worst_group(counts, groups, settings)
    )
    return record


def accuracy(correct: int, n: int, confidence: float) -> Record:
    """{accuracy, low, high}, or nulls and why where there is no image."""
    if n == 0:
        return {"accuracy": None, "low": None, "high": None, "accuracy_undefined": "no images"}
    low, high = intervals.wilson(correct, n, confidence)
    return {"accuracy": correct / n, "low": float(low), "high": float(high)}


def _flat_gap(gap: intervals.Gap | None, groups: Sequence[str], n: Counts, settings: FigureOptions) -> Record:
    record: Record
    if gap is None:
        record = {"gap": None, "gap_low": None, "gap_high": None}
        record["gap_undefined"] = _too_few(groups, n, "images", settings.min_group)
    else:
        record = {"gap": gap.value, "gap_low": gap.low, "gap_high": gap.high}
        record["gap_between"] = [groups[i] for i in gap.pair]
    return record | {"small_groups": small(groups, n, settings.min_group)}


def change_records(tables: Counts, confidence: float) -> list[Record]:
    """{change, low, high, n, lost, gained} per group: accuracy pruned minus dense on the same images.

    `lost_low` and `lost_high` are Wilson's interval of the share lost / n.

    Args:
        tables: images by group, [dense right?, pruned right?], [G, 2, 2].
    """
    records: list[Record] = []
    share = intervals.wilson(tables[:, 1, 0], tables.sum((1, 2)), confidence)
    for table, change, low, high, least, most in zip(
        tables, *intervals.changes(tables, confidence), *share, strict=True
    ):
        record: Record = {"change": number(change), "low": number(low), "high": number(high)}
        if record["change"] is None:
            record["change_undefined"] = "no images"
        counts = {"n": int(table.sum()), "lost": int(table[1, 0]), "gained": int(table[0, 1])}
        records.append(record | counts | {"lost_low": number(least), "lost_high": number(most)})
    return records


def degradation_record(tables: Counts, groups: Sequence[str], settings: FigureOptions) -> Record:
    """One attribute of `degradation` in report.json, from pairs of predictions on the same images.

    A group's `change` is accuracy pruned minus dense, so a loss is negative; `lost` counts the images that
    were right before and wrong after, `gained` the opposite. The degradation of a group is R = dense minus
    pruned = -change; `gap` is the largest R minus the smallest, between the groups of `gap_between` (most
    degraded first), and `largest` is the largest R, the extra loss that a gate on degradation judges.

    Args:
        tables: images by group, [dense right?, pruned right?], [G, 2, 2].
    """
    n = tables.sum((1, 2))
    changes = change_records(tables, settings.confidence)
    record: Record = {"groups": dict(zip(groups, changes, strict=True))}
    gap = intervals.paired(tables, settings.confidence, settings.seed, settings.min_group)
    record |= _flat_gap(gap, groups, n, settings)
    worst = intervals.largest_loss(tables, settings.confidence, settings.min_group)
    if worst is None:
        why = f"no group has {max(settings.min_group, 1)} images"
        return record | {"largest": None, "largest_undefined": why}
    record["largest"] = {
        "value": worst.value,
        "low": worst.low,
        "high": worst.high,
        "group": groups[worst.group],
    }
    return record
