"""A value with its interval, which every figure of an audit is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, or None and why it is undefined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""


@dataclass(frozen=True)
class WorstFigure(Estimate):
    """The figure of the worst group, with an interval that holds whichever group that is; `small` stayed out."""

    group: str = ""
    small: tuple[str, ...] = ()
