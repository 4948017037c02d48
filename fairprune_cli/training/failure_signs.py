"""Failure signs of a run, read from its epoch records: what goes wrong, and which setting to turn.

A sign is judged on the records so far and holds as of the last of them. So it can be told while the run goes on; one
that was found stays until later records refute it. A field that a record lacks leaves the signs that need it unjudged.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
AT_CAP = 0.99  # share of the cap
CLOSING = 0.9  # a gap that is at most this share of the earlier one is closing
FALL = 0.10  # of accuracy, after the mask is fixed
CHANCE = 0.02  # accuracy above the most frequent label's share that could still be luck
WORSE = 0.05  # accuracy below the dense model's that a constant answer must cost before it is called a collapse
PUSHING = 0.5  # a multiplier from which on the constraint turns a step: the loss itself weighs 1
FLIPPING = 0.2  # share of the kept units that a move brings back
EXPLODED = 10.0  # times the usual gradient norm
BASELINE = 3  # records that make a usual norm
CLIPPED = 0.9  # share of the steps
# Standard errors: the running rates lag behind, and are those of the network in training mode on augmented images.
FAR = 3.0
# Channels come in lumps, so the sparsity that was reached can miss the target by this much.
LUMP = 0.02


@dataclass(frozen=True)
class Limits:
    """What the records are held against.

    Attributes:
        tolerance: allowed gap, 0..1, of a record that does not say what its own is.
        multiplier_cap: largest multiplier.
        sparsity: target, 0..1.
        epochs: records of a whole run; some signs are judged only at its end.
        constrained: the objective has the fairness term at some level.
        moves_mask_by_gradient: the method's mask follows gradients and is meant to change its mind.
        dense_accuracy: of the dense model on images of the run, 0..1; None if unknown.
        majority_share: share of the most frequent label among these images, 0..1; None if unknown.
        memory: images that the running rates look back on, `multiplier_memory`.
    """

    tolerance: float
    multiplier_cap: float
    sparsity: float
    epochs: int
    constrained: bool
    moves_mask_by_gradient: bool
    dense_accuracy: float | None = None
    majority_share: float | None = None
    memory: float = 2000.0


@dataclass(frozen=True)
class Sign:
    """One failure sign: `code` for machines, what is seen and what to do about it, each a sentence without a stop."""

    code: str
    text: str
    advice: str


def find_signs(records: Sequence[Record], limits: Limits) -> list[Sign]:
    """The failure signs that hold as of the last record, gravest first; codes are unique.

    Args:
        records: epoch records in the form of report.json, oldest first (`history.EpochRecord`). Missing and odd
            values are no error.
        limits: settings of the run and what is known about its data.
    """
    records = [record for record in records if isinstance(record, Mapping)]
    rules = (_collapsed, _exploding, _at_cap, _mask, _not_converging)
    found = [rule(records, limits) for rule in rules] if records else []
    return [sign for sign in found if sign is not None]


def _at_cap(records: Sequence[Record], limits: Limits) -> Sign | None:
    """A multiplier has been at its cap for two records or more, and the gap does not close."""
    if not limits.constrained or limits.multiplier_cap <= 0:
        return None
    worst: tuple[float, str, str, int] | None = None
    for attribute, groups in _mapping(records[-1].get("multipliers")).items():
        for group in _mapping(groups):
            since = len(records)
            while since and _multiplier(records[since - 1], attribute, group) >= AT_CAP * limits.multiplier_cap:
                since -= 1
            if since > len(records) - 2:
                continue
            before, now = _gap(records[since], attribute), _gap(records[-1], attribute)
            allowed = _allowed(records[-1], attribute, limits)
            if before is not None and now is not None and now > max(allowed, CLOSING * before):
                worst = max(worst or (0.0, "", "", 0), (now, str(attribute), str(group), since))
    if worst is None:
        return None
    now, attribute, group, since = worst
    epoch = _number(records[since].get("epoch")) or since + 1
    return Sign(
        "multiplier-at-cap",
        f"{attribute}: the multiplier of {group} has been at its cap of {limits.multiplier_cap:g} since epoch "
        f"{epoch:g}, and the gap does not close: {100 * now:.1f} points, tolerance "
        f"{100 * _allowed(records[-1], attribute, limits):.1f}",
        "raise multiplier_cap, or ask for less: a larger --tolerance or a lower --sparsity",
    )


def _collapsed(records: Sequence[Record], limits: Limits) -> Sign | None:
    """With the mask fixed, accuracy has for two records been that of a constant answer, or far below what it was.

    Pruning itself lets accuracy dip and recover, so records in which the mask moved do not count. At the end of a run
    one record is enough.
    """
    settled = [record for record in records if _settled(record, limits)]
    least = 1 if len(records) >= limits.epochs else 2
    if len(settled) < least or settled[-1] is not records[-1]:
        return None
    course = _accuracies(settled)
    if len(course) < least:
        return None
    now, last = max(course[-2:]), course[-1]
    share, dense = _number(limits.majority_share), _number(limits.dense_accuracy)
    best = max(course[:-2], default=0.0)
    if share is not None and now < share + CHANCE and (dense is None or now < dense - WORSE):
        text = (
            f"accuracy has collapsed to {100 * last:.1f} %: always answering the most frequent label would reach "
            f"{100 * share:.1f} %"
        )
    elif now < best - FALL:
        text = f"accuracy has collapsed to {100 * last:.1f} % from {100 * best:.1f} % since the mask was fixed"
    else:
        return None
    attributes = _mapping(records[-1].get("multipliers"))
    pushing = [value for each in attributes if (value := _multiplier(records[-1], each)) >= PUSHING]
    if limits.constrained and pushing:
        text += f", while the constraint pushes with a multiplier of {max(pushing):.2g}"
        return Sign("accuracy-collapse", text, "the tolerance is too tight: raise --tolerance, or lower multiplier_cap")
    return Sign(
        "accuracy-collapse", text,
        "lower --lr or --sparsity, or raise --epochs; where the dense model was trained on images that were never "
        "shifted or mirrored, --set augment=false",
    )  # fmt: skip


def _settled(record: Record, limits: Limits) -> bool:
    sparsity = _number(record.get("sparsity"))
    moves = _number(record.get("mask_moves"))
    return sparsity is not None and sparsity >= limits.sparsity - LUMP and not moves


def _accuracies(records: Sequence[Record]) -> list[float]:
    """Accuracy of each record, all on upper images or, where some epoch has none, all on lower ones."""
    for key in ("upper_accuracy", "lower_accuracy"):
        values = [value for record in records if (value := _number(record.get(key))) is not None]
        if len(values) == len(records):
            return values
    return []


def _mask(records: Sequence[Record], limits: Limits) -> Sign | None:
    """Moves bring nothing back, so that the mask only loses what the ramp takes; or so much that it is noise."""
    moved = [record for record in records if _number(record.get("mask_moves"))]
    returns = [value for record in moved if (value := _number(record.get("mask_returns"))) is not None]
    if not limits.moves_mask_by_gradient or not returns:
        return None
    if len(returns) > 1 and not any(returns):
        return Sign(
            "mask-frozen",
            f"the mask has not taken back a unit in any of {len(returns)} epochs: its gradient decides nothing",
            "raise mask_lr (first-order) or rho (second-order), or lower upper_every",
        )
    if returns[-1] > FLIPPING:
        return Sign(
            "mask-flipping",
            f"of the units that a move of the mask keeps, {100 * returns[-1]:.0f} % were masked before it, so that "
            "hardly any is trained for long",
            "lower mask_lr (first-order), or lower rho and raise ema (second-order); a larger --batch-size calms both",
        )
    return None


def _exploding(records: Sequence[Record], limits: Limits) -> Sign | None:
    """Gradients are many times their usual size, or nearly every step is clipped."""
    advice = "lower --lr; with a constraint, also lower multiplier_rate"
    usual: list[float] = []  # ascending
    exploded: tuple[float, float] | None = None
    for record in records:
        norm, clipped = _number(record.get("gradient_norm")), _number(record.get("clipped"))
        exploded = None
        if norm is None:
            continue
        median = usual[len(usual) // 2] if len(usual) >= BASELINE else math.inf
        # A model at its optimum has next to no gradient, and pruning gives it one: that is no explosion unless it
        # is large enough to be clipped.
        if norm > EXPLODED * median and (clipped is None or clipped > 0):
            exploded = (norm, median)
        else:
            bisect.insort(usual, norm)
    if exploded is not None:
        text = f"gradients have grown to a norm of {exploded[0]:.3g}, from {exploded[1]:.3g} before"
        return Sign("gradient-explosion", text, advice)
    shares = [_number(record.get("clipped")) for record in records[-2:]]
    if len(shares) == 2 and all(share is not None and share >= CLIPPED for share in shares):
        text = f"{100 * (shares[-1] or 0.0):.0f} % of the gradients are larger than clip_norm and are cut down to it"
        return Sign("gradient-explosion", text, f"{advice}; if the loss falls all the same, raise clip_norm")
    return None


def _not_converging(records: Sequence[Record], limits: Limits) -> Sign | None:
    """The run is over, the gap is still above what its images can tell from the tolerance, and multipliers rise."""
    if not limits.constrained or len(records) < max(limits.epochs, 2):
        return None
    worst: tuple[float, str] | None = None
    for attribute, groups in _mapping(records[-1].get("multipliers")).items():
        before, now = (_multiplier(record, attribute) for record in records[-2:])
        gap = _gap(records[-1], attribute)
        if gap is None or not before < now < AT_CAP * limits.multiplier_cap:
            continue
        # One standard error of a difference of two shares at its largest, with groups of even size: two at an
        # accuracy of 0.93.
        error = math.sqrt(0.5 * max(len(_mapping(groups)), 2) / max(limits.memory, 1.0))
        if gap > _allowed(records[-1], attribute, limits) + FAR * error:
            worst = max(worst or (0.0, ""), (gap, str(attribute)))
    if worst is None:
        return None
    gap, attribute = worst
    return Sign(
        "not-converging",
        f"{attribute}: the run ended before its gap closed: {100 * gap:.1f} points in training, tolerance "
        f"{100 * _allowed(records[-1], attribute, limits):.1f}, with the multipliers still rising",
        "raise --epochs or multiplier_rate",
    )


def _allowed(record: Record, attribute: Any, limits: Limits) -> float:
    """The gap that is left alone: the tolerance, or what the dense model had."""
    own = _number(_mapping(record.get("allowed_gap")).get(attribute))
    return limits.tolerance if own is None else own


def _gap(record: Record, attribute: Any) -> float | None:
    return _number(_mapping(record.get("exact_gap")).get(attribute))


def _multiplier(record: Record, attribute: Any, group: Any = None) -> float:
    """That of a group, or the largest of the attribute; NaN, with which every comparison fails, if unknown."""
    values = _mapping(_mapping(record.get("multipliers")).get(attribute))
    asked = values.values() if group is None else [values.get(group)]
    return max((value for each in asked if (value := _number(each)) is not None), default=math.nan)


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    """A finite float, or None for whatever is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
