"""The neutral blocks that every section is made of and every writer reads: heading, note, table, plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["plain", "aside", "pass", "fail", "inconclusive", "none", "notice", "warning"]
Kind = Literal["text", "number", "code", "verdict"]
Unit = Literal["percent", "points", "number"]


@dataclass(frozen=True)
class Heading:
    """A heading inside a section, such as the attribute that the next blocks speak of."""

    text: str
    block: str = field(default="heading", init=False)


@dataclass(frozen=True)
class Note:
    """A paragraph. The tone says what it is for: a verdict, a notice, or a quiet aside."""

    text: str
    tone: Tone = "plain"
    block: str = field(default="note", init=False)


@dataclass(frozen=True)
class Column:
    """A column of a table: its title and what its cells hold."""

    title: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Table:
    """Rows of text under titled columns; the first column names the row.

    `folded` says that it stands behind what is shown, so that a page opens it only where asked.

    Raises:
        ValueError: a row that has not as many cells as there are columns.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    note: str = ""
    folded: bool = False
    block: str = field(default="table", init=False)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(row)} cells under {len(self.columns)} columns")


@dataclass(frozen=True)
class BoundLine:
    """A line across a plot: a bound, a target or a tolerance, in the unit of the plot's values."""

    value: float
    label: str


@dataclass(frozen=True)
class Dot:
    """One estimate with its interval; all three as fractions. `series` picks colour and shape."""

    series: int
    value: float
    low: float | None
    high: float | None
    hint: str


@dataclass(frozen=True)
class DotRow:
    """A labelled row of estimates, such as a group with `detail` n 795; `missing` says why there is none."""

    label: str
    text: str
    dots: Sequence[Dot]
    missing: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Dots:
    """Dot-and-whisker figure: one row per group, one dot per model; `beside` is a second panel of the same rows."""

    rows: Sequence[DotRow]
    series: Sequence[str]
    unit: Unit
    rules: Sequence[BoundLine] = ()
    from_zero: bool = False
    axis: str = ""
    beside: Dots | None = None


@dataclass(frozen=True)
class Line:
    """One curve; a None in `ys` breaks it. `style` picks the colour, `dashed` the stroke."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    style: int
    dashed: bool = False


@dataclass(frozen=True)
class Lines:
    """Curves over a common horizontal axis."""

    lines: Sequence[Line]
    unit: Unit
    x_label: str
    rules: Sequence[BoundLine] = ()
    from_zero: bool = True


@dataclass(frozen=True)
class Bar:
    """A bar of length `share` (0 to 1, or above where something grew) with its figures as text."""

    label: str
    share: float
    text: str


@dataclass(frozen=True)
class Bars:
    """Horizontal bars on an axis of percent; `rules` marks a target."""

    bars: Sequence[Bar]
    rules: Sequence[BoundLine] = ()
    axis: str = ""


@dataclass(frozen=True)
class Point:
    """An estimate of two figures with the interval of each, (low, high) or None; all as fractions.

    `series` picks colour and shape, `text` is written beside it where there is room, `hint` is shown on pointing at it.
    """

    series: int
    x: float
    y: float
    x_span: tuple[float, float] | None
    y_span: tuple[float, float] | None
    text: str
    hint: str


@dataclass(frozen=True)
class Scatter:
    """Points in a plane of two shares; series 0 is what the others are held against.

    `front` holds the positions of the points that no other one is better than in both, the first to the left.
    """

    points: Sequence[Point]
    series: Sequence[str]
    x_label: str
    y_label: str
    front: Sequence[int] = ()


@dataclass(frozen=True)
class Plot:
    """A figure with its title and the plain sentence that says what to see in it.

    `reading` says how the picture is to be read, which a format without pictures leaves out; `folded` as of a table.
    """

    title: str
    sentence: str
    figure: Dots | Lines | Bars | Scatter
    reading: str = ""
    folded: bool = False
    block: str = field(default="plot", init=False)


@dataclass(frozen=True)
class Picture:
    """A small picture (`source` is a data URI, "" where it is not at hand), what it shows, and which file it is."""

    source: str
    text: str
    file: str


@dataclass(frozen=True)
class Gallery:
    """Small pictures in rows under a title."""

    title: str
    pictures: Sequence[Picture]
    block: str = field(default="gallery", init=False)


Block = Heading | Note | Table | Plot | Gallery


@dataclass(frozen=True)
class Section:
    """A part of the report: what it is called, why one reads it, and its blocks.

    `task` is the number of the task it speaks of, where there are several; 1 for the first. `folded` says that a page
    opens it only where asked: the verdict, what changed for whom and what it rests on are for everybody.
    """

    name: str
    title: str
    lead: Sequence[str]
    blocks: Sequence[Block]
    task: int = 0
    folded: bool = False

    @property
    def anchor(self) -> str:
        """What links go to; no two sections of a report have the same."""
        return f"{self.name}-{self.task}" if self.task > 1 else self.name


@dataclass(frozen=True)
class Document:
    """A whole report. `facts` are short lines under the title: data, model, date."""

    title: str
    facts: Sequence[str]
    verdict: str
    sections: Sequence[Section]
    footer: str
