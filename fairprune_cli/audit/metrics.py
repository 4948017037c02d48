"""Figures per group derived from counts of group x label x prediction: rates, gaps, degradation.

Every figure follows from the counts, so no two of them can disagree. The denominator of a rate (for instance
the images with one label), not the size of the group, decides whether it is defined and large enough. What a gap
is a gap of is said by the notion alone.

For two classes the last one is the positive class. For more, a gap is the largest over all the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from fairprune_cli.audit import gap_changes, intervals, simultaneous
from fairprune_cli.audit.bias import bias_figures
from fairprune_cli.audit.evidence import Evidence
from fairprune_cli.audit.figures import (
    NO_DENSE,
    AttributeFigures,
    BinaryRates,
    CalibrationFigures,
    ChangeFigure,
    ClassRates,
    DegradationFigures,
    Estimate,
    GapFigure,
    GroupFigures,
    Judgement,
    ShareFigure,
    SmallGroup,
    WorstFigure,
)
from fairprune_cli.audit.outcomes import losses_of, shares_of
from fairprune_cli.audit.rates import Counts, Rate, rate_of, rates_of
from fairprune_cli.fairness import notions
from fairprune_cli.fairness.notion import Notion

AS_USUAL = Judgement()


def _defined(value: float) -> float | None:
    """A plain float; None for NaN."""
    return None if np.isnan(value) else float(value)


def small_groups(names: Sequence[str], n: ArrayLike, least: int) -> list[str]:
    """Names of the groups whose denominator is below `least`, or zero."""
    return [name for name, size in zip(names, np.asarray(n), strict=True) if size < max(least, 1)]


def accuracy_figure(correct: int, n: int, confidence: float) -> Estimate:
    """Share of right answers."""
    if n == 0:
        return Estimate(why="no images")
    low, high = intervals.share_interval(correct, n, confidence)
    return Estimate(correct / n, float(low), float(high))


def rates_gap(
    notion: Notion, counts: Counts, groups: Sequence[str], classes: Sequence[str], judgement: Judgement
) -> GapFigure:
    """The gap of a notion that is not relative to the dense model, over all of its rates.

    Args:
        notion: for as many classes as there are.
        counts: [G, label, prediction].
    """
    rates = rates_of(notion, counts, classes)
    gap = simultaneous.joint([(rate.k, rate.n) for rate in rates], *judgement.how)
    shares = tuple(shares_of(rate.k, rate.n) for rate in rates)
    behind = Evidence("gap", shares, tuple(groups), counts.sum((1, 2)), *judgement.how)
    return _gap_figure(gap, rates, groups, judgement.min_group, notion, behind)


def losses_gap(tables: Counts, groups: Sequence[str], judgement: Judgement, notion: Notion) -> GapFigure:
    """The gap between the groups' losses of accuracy. tables: as for `degradation_figures`."""
    gap = simultaneous.paired(tables, *judgement.how)
    behind = Evidence("gap", (losses_of(tables),), tuple(groups), tables.sum((1, 2)), *judgement.how)
    lost = Rate("right before and wrong now", "images", tables[:, 1, 0], tables.sum((1, 2)))
    return _gap_figure(gap, [lost], groups, judgement.min_group, notion, behind)


def _gap_figure(
    gap: simultaneous.Gap | None, rates: Sequence[Rate], groups: Sequence[str], least: int, notion: Notion,
    behind: Evidence,
) -> GapFigure:  # fmt: skip
    left_out = _left_out(rates, groups, least)
    undefined = GapFigure(
        small=tuple(one.group for one in left_out), denominators=left_out, compares=notion.compares,
        against=notion.against, evidence=behind,
    )  # fmt: skip
    if gap is None:
        return replace(undefined, why=_too_few(rates, groups, least))
    between = tuple(groups[i] for i in gap.pair)
    return replace(undefined, value=gap.value, low=gap.low, high=gap.high, between=between, rate=rates[gap.rate].name)


def _left_out(rates: Sequence[Rate], groups: Sequence[str], least: int) -> tuple[SmallGroup, ...]:
    """The groups that stay out of at least one rate, each with its smallest denominator."""
    smallest = [min(((int(rate.n[g]), rate.of) for rate in rates), default=(0, "images")) for g in range(len(groups))]
    return tuple(SmallGroup(group, n, of) for group, (n, of) in zip(groups, smallest, strict=True) if n < max(least, 1))


def _too_few(rates: Sequence[Rate], groups: Sequence[str], least: int) -> str:
    """Why a gap is undefined: which groups lack the images of the first rate that has too few."""
    if len(groups) < 2:
        return "a gap needs two groups"
    rate = next(rate for rate in rates if len(groups) - len(small_groups(groups, rate.n, least)) < 2)
    missing = [f"{name} {size}" for name, size in zip(groups, rate.n, strict=True) if size < max(least, 1)]
    return f"fewer than two groups have {max(least, 1)} {rate.of} ({', '.join(missing)})"


def gaps_by_notion(
    counts: Counts, accuracies: GapFigure, losses: GapFigure, groups: Sequence[str], classes: Sequence[str],
    judgement: Judgement,
) -> dict[str, GapFigure]:  # fmt: skip
    """The gap of every listed notion, and of those that the judgement names, by name.

    Args:
        counts: [G, label, prediction].
        accuracies, losses: the gaps of these, which several notions share.
    """
    found: dict[str, GapFigure] = {}
    for name in dict.fromkeys((*notions.names(), *judgement.notions)):
        notion = notions.get(name, len(classes))
        if notion.compares == "rates" and notion.relative:
            why = "the audit pairs right and wrong answers with the dense model's, and the notion asks for more"
            found[name] = GapFigure(why=why, against=notion.against)
        elif notion.compares == "rates":
            found[name] = rates_gap(notion, counts, groups, classes, judgement)
        else:
            found[name] = replace(losses if notion.relative else accuracies, against=notion.against)
    return found


def worst_group(counts: Counts, groups: Sequence[str], judgement: Judgement) -> WorstFigure:
    """The lowest accuracy of any large enough group; counts: [G, label, prediction]."""
    correct, n = np.trace(counts, axis1=1, axis2=2), counts.sum((1, 2))
    behind = Evidence("lowest", (shares_of(correct, n),), tuple(groups), n, *judgement.how)
    return worst_figure(intervals.lowest_rate(correct, n, *judgement.how), behind)


def worst_figure(found: intervals.Extreme | None, behind: Evidence) -> WorstFigure:
    """The group that stands out, by its name, with those that were too small to."""
    small = tuple(small_groups(behind.groups, behind.images, behind.least))
    if found is None:
        return WorstFigure(why=f"no group has {max(behind.least, 1)} images", small=small, evidence=behind)
    return WorstFigure(found.value, found.low, found.high, "", behind.groups[found.group], small, evidence=behind)


def rates_by_group(counts: Counts, classes: Sequence[str], confidence: float) -> Sequence[BinaryRates | ClassRates]:
    """Rates of each group on its own. counts: [G, label, prediction]."""
    k = len(classes)
    right, everyone = np.eye(k, dtype=bool), np.ones(k, dtype=bool)
    predicted = [np.broadcast_to(right[c], (k, k)) for c in range(k)]
    selection = [_shares(rate_of(p, everyone, counts, classes), confidence) for p in predicted]
    recall = [_shares(rate_of(p, right[c], counts, classes), confidence) for c, p in enumerate(predicted)]
    if k == 2:
        alarms = _shares(rate_of(predicted[1], right[0], counts, classes), confidence)
        return [BinaryRates(*shares) for shares in zip(selection[1], recall[1], alarms, strict=True)]
    return [
        ClassRates(
            {c: of[g] for c, of in zip(classes, selection, strict=True)},
            {c: of[g] for c, of in zip(classes, recall, strict=True)},
            dict(zip(classes, counts[g].sum(1).tolist(), strict=True)),
        )
        for g in range(len(counts))
    ]


def _shares(rate: Rate, confidence: float) -> list[ShareFigure]:
    """The rate of each group."""
    return [
        ShareFigure(int(k) / int(n), float(low), float(high), n=int(n)) if n else ShareFigure(why=f"no {rate.of}")
        for k, n, low, high in zip(rate.k, rate.n, *intervals.share_interval(rate.k, rate.n, confidence), strict=True)
    ]


def attribute_figures(
    counts: Counts,
    groups: Sequence[str],
    classes: Sequence[str],
    ungrouped: int = 0,
    judgement: Judgement = AS_USUAL,
    degradation: DegradationFigures | None = None,
    calibration: Sequence[CalibrationFigures | None] | None = None,
) -> AttributeFigures:
    """One attribute of one model. A group's own intervals hold one by one, a gap's over all pairs.

    Args:
        counts: [G, label, prediction].
        ungrouped: images that belong to none of the groups.
        degradation: of the same model and attribute; None without a dense model.
        calibration: of each group, where it was looked at.
    """
    correct, n = np.trace(counts, axis1=1, axis2=2).tolist(), counts.sum((1, 2)).tolist()
    rates = rates_by_group(counts, classes, judgement.confidence)
    gap = rates_gap(notions.get("accuracy", len(classes)), counts, groups, classes, judgement)
    losses = GapFigure(why=NO_DENSE, compares="losses") if degradation is None else degradation.gap
    return AttributeFigures(
        {
            group: GroupFigures(m, c, accuracy_figure(c, m, judgement.confidence), of, sure)
            for group, c, m, of, sure in zip(
                groups, correct, n, rates, calibration or [None] * len(groups), strict=True
            )
        },
        gap,
        gaps_by_notion(counts, gap, losses, groups, classes, judgement),
        worst_group(counts, groups, judgement),
        ungrouped,
        bias_figures(counts, groups, classes, judgement),
    )


def change_figures(tables: Counts, confidence: float) -> list[ChangeFigure]:
    """Accuracy of the pruned model minus the dense one's, per group; tables as for `degradation_figures`."""
    share = intervals.share_interval(tables[:, 1, 0], tables.sum((1, 2)), confidence)
    return [
        ChangeFigure(
            _defined(change), _defined(low), _defined(high), "no images" if np.isnan(change) else "",
            int(table.sum()), int(table[1, 0]), int(table[0, 1]), _defined(least), _defined(most),
        )
        for table, change, low, high, least, most in zip(
            tables, *intervals.changes(tables, confidence), *share, strict=True
        )
    ]  # fmt: skip


def degradation_figures(
    tables: Counts, groups: Sequence[str], judgement: Judgement = AS_USUAL, classes: int = 2
) -> DegradationFigures:
    """What the groups of one attribute lost, from pairs of predictions on the same images.

    Args:
        tables: images by group, [dense right?, pruned right?], [G, 2, 2].
        classes: how many there are.
    """
    how = (judgement.confidence, judgement.min_group)
    losses = losses_gap(tables, groups, judgement, notions.get("degradation", classes))
    behind = Evidence("largest", (losses_of(tables),), tuple(groups), tables.sum((1, 2)), *judgement.how)
    largest = worst_figure(intervals.largest_loss(tables, *judgement.how), behind)
    return DegradationFigures(
        dict(zip(groups, change_figures(tables, judgement.confidence), strict=True)),
        losses,
        largest,
        # Undefined for the reasons of the figures themselves: the same groups are large enough.
        _change_figure(gap_changes.gap_change(tables, *how), losses.why),
        _change_figure(gap_changes.worst_change(tables, *how), largest.why),
    )


def _change_figure(found: gap_changes.Change | None, why: str) -> Estimate:
    return Estimate(why=why) if found is None else Estimate(found.value, found.low, found.high)
