"""A value with its interval, which every figure of an audit is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairprune_cli.audit.evidence import Evidence


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, or None and why it is undefined; of figures that gates judge, the counts behind it."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""
    evidence: Evidence | None = field(default=None, kw_only=True, repr=False, compare=False)


@dataclass(frozen=True)
class WorstFigure(Estimate):
    """The figure of the worst group, with an interval that holds whichever group that is; `small` stayed out."""

    group: str = ""
    small: tuple[str, ...] = ()
