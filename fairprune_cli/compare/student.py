"""Quantiles of Student's t distribution, so that an interval over seeds needs no scipy."""

from __future__ import annotations

import math

_SMALLEST = 1e-300  # stands for zero where the continued fraction would divide by it


def t_quantile(p: float, df: int) -> float:
    """The value that a t-distributed number with `df` degrees of freedom stays below with probability p.

    Args:
        p: above 0, below 1.
        df: degrees of freedom, 1 or more.

    Raises:
        ValueError: p or df out of range.
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"a quantile is asked for a probability between 0 and 1, not {p}")
    if df < 1:
        raise ValueError(f"{df} degrees of freedom; at least 1 is needed")
    if p == 0.5:
        return 0.0
    if p < 0.5:
        return -t_quantile(1.0 - p, df)
    tail = 1.0 - p
    low, high = 0.0, 1.0
    while upper_tail(high, df) > tail:
        low, high = high, 2.0 * high
    while True:
        middle = (low + high) / 2.0
        if middle in (low, high):  # neighbours among floating-point numbers
            return middle
        if upper_tail(middle, df) > tail:
            low = middle
        else:
            high = middle


def upper_tail(t: float, df: int) -> float:
    """P(T > t) for t >= 0: half the regularised incomplete beta function at df / (df + t^2)."""
    return 0.5 * incomplete_beta(df / (df + t * t), 0.5 * df, 0.5)


def incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b), regularised, for 0 <= x <= 1 (Abramowitz and Stegun 26.5.8, by the method of Lentz)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # where the fraction converges slowly, its mirror image does not
        return 1.0 - incomplete_beta(1.0 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )
    return front * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function."""
    value, c, d = 1.0, 1.0, 0.0
    for i in range(1000):
        m = i // 2
        if i == 0:
            numerator = 1.0
        elif i % 2 == 0:
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / _away_from_zero(1.0 + numerator * d)
        c = _away_from_zero(1.0 + numerator / c)
        value *= c * d
        if abs(c * d - 1.0) < 1e-16:
            break
    return value - 1.0


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _SMALLEST else _SMALLEST
