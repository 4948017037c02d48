"""Sentences that tell a reader of an audit what its figures alone do not say, levelling down above all."""

from __future__ import annotations

from fairprune_cli.audit.figures import AttributeFigures, AuditFigures, DegradationFigures


def notices(figures: AuditFigures) -> list[str]:
    """Plain sentences on what a reader of the figures could miss.

    Returns:
        One sentence or two per remark: a model that predicts one class only, groups too small to take part
        in a gap, images in no group, and for dense against pruned whether and through whom a gap moved,
        levelling down by name.
    """
    models = figures.models
    found: list[str] = []
    for name, model in models.items():
        predicted = [label for label, times in model.predicted.items() if times]
        if len(predicted) == 1:
            found.append(
                f"The {name} model predicts {predicted[0]} for every image: its gaps only show how often "
                "that label occurs in each group."
            )
    if not models:
        return found
    for attribute, record in next(iter(models.values())).attributes.items():
        if record.gap.small:
            sizes = ", ".join(f"{g} ({record.groups[g].n})" for g in record.gap.small)
            found.append(
                f"{attribute}: too few images to judge these groups, so they are in no gap: {sizes}; "
                f"{figures.judgement.min_group} are asked for."
            )
        if record.ungrouped:
            found.append(f"{attribute}: {record.ungrouped} images are in none of its groups.")
    for name, model in models.items():
        for attribute, change in model.degradation.items():
            dense, other = models["dense"].attributes[attribute], model.attributes[attribute]
            found += _moved(attribute if name == "pruned" else f"{name}, {attribute}", dense, other, change)
    return found


def _moved(
    attribute: str, dense: AttributeFigures, pruned: AttributeFigures, degradation: DegradationFigures
) -> list[str]:
    before, now = dense.gap.value, pruned.gap.value
    if before is None or now is None:
        return []
    shift = now - before
    if abs(shift) < 0.0005:  # not visible at the precision of the report
        return []
    # The groups that made the gap that was larger are the ones whose move changed it.
    best, worst = (dense if shift < 0 else pruned).gap.between
    fall = -(degradation.groups[best].value or 0.0)
    rise = degradation.groups[worst].value or 0.0
    how = f"{_told(best, -fall)}, {_told(worst, rise)}"
    from_to = f"from {100 * before:.1f} to {100 * now:.1f} points"
    change = degradation.gap_change
    sure = change.low is not None and change.high is not None and not change.low <= 0 <= change.high
    noise = "" if sure else " Sampling alone could move it as much."
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
