"""Statistics over seeds: mean with standard deviation and interval, paired differences and what they say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

BETTER, WORSE, OPEN = "better", "worse", "not distinguishable"
ONE_SEED = "not decided (one seed)"
NO_SEED = "not computed"


def seed_spread(
    values: Sequence[float | None], confidence: float, why: str = "", most: float | None = None
) -> dict[str, Any]:
    """{n, mean, sd, low, high} of one figure over the seeds.

    Args:
        values: one per seed; None where the figure is undefined, and such a seed is left out.
        confidence: of the t interval of the mean, 0..1.
        why: the reason to give where no seed has a value.
        most: of a figure that lies in 0..most, such as a share: its interval does not leave that either. It is
            Student's on the scale of log(x / (most - x)), where the standard error is that of the mean times the slope
            (the delta method).

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
    low, high = (mean - half, mean + half) if most is None else _inside(mean, half, most)
    return {"n": len(known), "mean": mean, "sd": sd, "low": low, "high": high}


def _inside(mean: float, half: float, most: float) -> tuple[float, float]:
    """The interval around a mean in 0..most, of half a width that is Student's."""
    share = mean / most
    if half == 0.0 or not 0.0 < share < 1.0:  # at an end all seeds are the same
        return mean, mean
    centre, reach = math.log(share / (1.0 - share)), half / most / (share * (1.0 - share))
    low, high = (most * (0.5 + 0.5 * math.tanh(0.5 * at)) for at in (centre - reach, centre + reach))
    return min(low, mean), max(high, mean)


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
        {n, mean, sd, low, high, statement}, the interval cut where differences of shares end, at -1 and 1; the
        statement is better or worse where the whole interval lies on one side of zero.
    """
    both = [
        None if a is None or b is None else a - b  # a seed counts only with both of its models
        for a, b in zip(values, reference, strict=True)
    ]
    record = seed_spread(both, confidence)
    if record["n"] > 1:
        record |= {"low": max(record["low"], -1.0), "high": min(record["high"], 1.0)}
    return record | {"statement": _statement(record, higher_is_better)}


def _statement(record: dict[str, Any], higher_is_better: bool) -> str:
    if record["n"] < 2:
        return ONE_SEED if record["n"] else NO_SEED
    if record["low"] <= 0.0 <= record["high"]:
        return OPEN
    return BETTER if (record["mean"] > 0.0) == higher_is_better else WORSE
