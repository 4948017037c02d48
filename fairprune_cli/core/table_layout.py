"""Where the cells of a table stand on a line of so many columns; figures and words are never broken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

_BETWEEN = 2  # columns of the line from one column of a table to the next
_HANGING = 2  # by how much what is broken stands further to the right than its first line
# An interval is one, and so is a standard deviation, each with its per cent.
_WORD = re.compile(r"(?:\[[-+\d., ]+\]\S*|± \S+|\S+)(?: %(?!\S*\w)\S*)?")

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Part:
    """A table as it is drawn: its head and its rows, the width of each of its columns, and whether it has edges."""

    rows: list[list[str]]
    widths: list[int]
    edges: bool

    @property
    def width(self) -> int:
        """Columns of its lines."""
        return sum(self.widths) + _BETWEEN * (len(self.widths) - (not self.edges))


def in_columns(text: str, width: int) -> list[str]:
    """A line of text in lines of at most `width` columns, broken at spaces alone; those after the first are indented.

    A word that is longer than a line stays whole.
    """
    if cell_len(text) <= width:
        return [text]
    indent = len(text) - len(text.lstrip())
    return _broken(text.strip(), width, " " * indent, " " * (indent + _HANGING))


def _broken(text: str, width: int, first: str = "", others: str = "") -> list[str]:
    """Lines of whole words, each after its indent."""
    lines: list[str] = []
    line = ""
    for word in _WORD.findall(text):
        start = others if lines else first
        if line and cell_len(start) + cell_len(line) + 1 + cell_len(word) > width:
            lines.append(start + line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, (others if lines else first) + line]


def fits(table: Rows, line: int) -> bool:
    """Whether a table stands on lines of so many columns as it is."""
    wanted = _widest(table)
    return sum(wanted) + _BETWEEN * len(wanted) <= line


def arranged(table: Rows, line: int, several: bool) -> list[Part]:
    """A table, the first row its head and the first column its names, as it fits lines of so many columns.

    As it is, if that fits. Else names are broken between words, so that a figure stands beside its interval; then
    intervals and deviations stand below their figures; then all cells are broken between words. What still does not
    fit is drawn as several tables below each other where `several` is set, each with the names; else lines are longer.
    """
    whole = [list(row) for row in table]
    wanted = _widest(whole)
    if fits(whole, line):
        return [Part(whole, wanted, True)]
    for broken in (whole, [[row[0], *map(_spread_below, row[1:])] for row in whole]):
        widths = _widest(broken)
        widths[0] = line - sum(widths[1:]) - _BETWEEN * (len(widths) - 1)
        if widths[0] >= _narrowest_names(whole):
            return [_drawn(broken, [min(widths[0], wanted[0]), *widths[1:]])]
    widths = [_narrowest_names(whole), *map(_longest_word, list(zip(*whole, strict=True))[1:])]
    parts = _cut(widths, line) if several else [range(1, len(widths))]
    if len(parts) > 1:
        return [part for columns in parts for part in arranged([[row[0], *(row[i] for i in columns)] for row in whole],
                                                               line, False)]  # fmt: skip
    for _ in range(line - sum(widths) - _BETWEEN * (len(widths) - 1)):
        lacking = [want - width for want, width in zip(wanted, widths, strict=True)]
        widths[lacking.index(max(lacking))] += 1
    return [_drawn(whole, widths)]


def _drawn(rows: list[list[str]], widths: list[int]) -> Part:
    """Rows whose cells are broken so that they fit the widths."""
    shown = [
        ["\n".join(in_columns(row[0], widths[0])),
         *("\n".join(part for line in cell.split("\n") for part in _broken(line, width))
           for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]  # fmt: skip
    return Part(shown, widths, False)


def _spread_below(cell: str) -> str:
    return cell.replace(" [", "\n[").replace(" ±", "\n±")


def _widest(rows: Rows) -> list[int]:
    """Columns that each column of a table takes."""
    return [max(cell_len(part) for cell in column for part in cell.split("\n")) for column in zip(*rows, strict=True)]


def _longest_word(column: Sequence[str]) -> int:
    return max((cell_len(word) for cell in column for word in _WORD.findall(cell)), default=1)


def _narrowest_names(rows: Rows) -> int:
    """Columns that the first column takes at least: each of its words, with what it is indented by."""
    found = 1
    for name, *_ in rows:
        indent = len(name) - len(name.lstrip())
        first, *others = _WORD.findall(name) or [""]
        found = max(found, indent + cell_len(first), *(indent + _HANGING + cell_len(word) for word in others))
    return found


def _cut(widths: Sequence[int], line: int) -> list[range]:
    """Columns that fit a line together beside the names, one after another; at least one each."""
    parts, start, taken = [], 1, widths[0]
    for i in range(1, len(widths)):
        taken += _BETWEEN + widths[i]
        if taken > line and i > start:
            parts.append(range(start, i))
            start, taken = i, widths[0] + _BETWEEN + widths[i]
    return [*parts, range(start, len(widths))]
