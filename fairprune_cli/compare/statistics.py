"""Statistics over seeds: mean with standard deviation and interval, paired differences and what they say."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

BETTER, WORSE, OPEN = "better", "worse", "not distinguishable"
ONE_SEED = "not decided (one seed)"
NO_SEED = "not computed"


def seed_spread(values: Sequence[float | None], confidence: float, why: str = "") -> dict[str, Any]:
    """{n, mean, sd, low, high} of one figure over the seeds.

    Args:
        values: one per seed; None where the figure is undefined, and such a seed is left out.
        confidence: of the t interval of the mean, 0..1.
        why: the reason to give where no seed has a value.

    Returns:
        sd is that of a sample (n - 1). What cannot be had from so few seeds is null, with `<name>_undefined`.
    """
    known = [value for value in values if value is not None]
    if not known:
        why = why or "no seed has a value"
        return {"n": 0, "mean": None, "mean_undefined": why, "sd": None, "sd_undefined": why, **_open_interval(why)}
    mean = statistics.fmean(known)
    if len(known) == 1:
        return {"n": 1, "mean": mean, "sd": None, "sd_undefined": "one seed", **_open_interval("one seed")}
    sd = statistics.stdev(known)
    # What scipy.stats.t.ppf calls, for a third of the import's time.
    from scipy.special import stdtrit

    half = float(stdtrit(len(known) - 1, 0.5 + confidence / 2.0)) * sd / len(known) ** 0.5
    return {"n": len(known), "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}


def _open_interval(why: str) -> dict[str, Any]:
    return {"low": None, "low_undefined": why, "high": None, "high_undefined": why}


def paired_difference(
    values: Sequence[float | None], reference: Sequence[float | None], confidence: float, higher_is_better: bool
) -> dict[str, Any]:
    """The mean of value - reference over the seeds that have both, its t interval, and a statement in words.

    Args:
        values, reference: one per seed, the same seeds in the same order.
        confidence: of the interval, 0..1.
        higher_is_better: accuracy, say; for a gap lower is better.

    Returns:
        {n, mean, sd, low, high, statement}; the statement is better or worse where the whole interval lies on one
        side of zero.
    """
    both = [
        None if a is None or b is None else a - b  # a seed counts only with both of its models
        for a, b in zip(values, reference, strict=True)
    ]
    record = seed_spread(both, confidence)
    return record | {"statement": _statement(record, higher_is_better)}


def _statement(record: dict[str, Any], higher_is_better: bool) -> str:
    if record["n"] < 2:
        return ONE_SEED if record["n"] else NO_SEED
    if record["low"] <= 0.0 <= record["high"]:
        return OPEN
    return BETTER if (record["mean"] > 0.0) == higher_is_better else WORSE
