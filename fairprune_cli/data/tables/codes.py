"""Columns of text as integer arrays: labels, groups, splits; what cannot be mapped is put in words, with its rows."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from fairprune_cli.core.errors import Problem, Problems, nearest
from fairprune_cli.data.tables.coded_cells import CodedCells, distinct
from fairprune_cli.data.tables.table import SHOWN, is_missing

_ADVISED = 50
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


class TableRow(int):
    """A line that knows its table, where the rows of several tables stand below one another."""

    table: str

    def __new__(cls, line: int, table: str) -> TableRow:
        row = super().__new__(cls, line)
        row.table = table
        return row


def table_of(table: str, row: int) -> str:
    """The table that a row stands in: its own, or the only one."""
    return row.table if isinstance(row, TableRow) else table


def some_rows(table: str, rows: Sequence[int]) -> str:
    """`table.csv row 4`, `table.csv rows 4, 9 and 120 more`, or without rows (all 0) `faces, 7 images`."""
    tables = list(dict.fromkeys(table_of(table, row) for row in rows))
    if len(tables) > 1:
        return " and ".join(some_rows(one, [int(r) for r in rows if table_of(table, r) == one]) for one in tables)
    table = tables[0] if tables else table
    if not any(rows):
        return f"{table}, {len(rows):,} image{'s' if len(rows) > 1 else ''}"
    shown = ", ".join(str(row) for row in rows[:SHOWN])
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return f"{table} row{'s' if len(rows) > 1 else ''} {shown}{more}"


def encode(
    cells: Sequence[str],
    known: Sequence[str],
    what: str,
    table: str,
    rows: Sequence[int],
    problems: Problems,
    *,
    missing: int | None = None,
    codes: Mapping[str, int] | None = None,
) -> np.ndarray:
    """Positions of the cells in `known`, int64 [N]; every other value is a problem that names its rows,
    and -1.

    Args:
        what: what the values are, and the table they stand in, for messages.
        missing: code of a cell without a value (`is_missing`); None makes it a problem like any unknown value.
        codes: spellings beyond `known`, lower case, as for splits.
    """
    if isinstance(cells, CodedCells):
        return _of_distinct(cells, rows, lambda found, at: encode(
            found, known, what, table, at, problems, missing=missing, codes=codes
        ))  # fmt: skip
    code_of = {value: code for code, value in enumerate(known)}
    unknown: dict[str, list[int]] = {}
    result = np.full(len(cells), -1, dtype=np.int64)
    for i, cell in enumerate(cells):
        code = code_of.get(cell)
        if code is None:
            if missing is not None and is_missing(cell):
                code = missing
            elif codes is not None and cell.lower() in codes:
                code = codes[cell.lower()]
            else:
                unknown.setdefault(cell, []).append(rows[i])
                continue
            code_of[cell] = code
        result[i] = code
    found: list[Problem] = []
    for value, at in unknown.items():
        shown = value if len(value) <= 60 else value[:57] + "..."
        # Looking for the nearest of many costs time, and helps for the first few.
        hint = f"; {nearest(value, known)}" if len(found) < _ADVISED else ""
        if value and is_missing(value):
            hint = ": it says that there is no value; where it is a name, list it with the others"
        text = f"{some_rows(table, at)}: {what} {shown!r} is unknown{hint}"
        found.append(Problem(text, "unknown-value", table_of(table, at[0]), at[0]))
    problems.add_some(found, SHOWN, "unknown values", f"{table}: {what}: ")
    return result


def occurring(cells: Sequence[str]) -> tuple[str, ...]:
    """The values that occur without the missing ones: in the order of numbers where all are numbers, else of text."""
    return in_order(value for value in distinct(cells) if not is_missing(value))


def in_order(values: Iterable[str]) -> tuple[str, ...]:
    """Values as `int(label)` orders them where all of them are numbers, else as text."""
    found = sorted(values)
    return tuple(sorted(found, key=float)) if all(_NUMBER.fullmatch(value) for value in found) else tuple(found)


def missing_words(cells: Sequence[str], index: np.ndarray) -> str:
    """What stands in the cells without a value, counted, as " (None 3, nan 2)"; "" where they are empty.

    Args:
        index: int64 [N], below 0 for no value.
    """
    words = Counter(cells[i] for i in np.flatnonzero(index < 0).tolist())
    named = [f"{word} {n:,}" for word, n in words.most_common() if word]
    return f" ({', '.join(named)})" if named else ""


def bin_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Names of the bins between edges: (0, 30, 60) gives ("0-30", "30-60")."""
    return tuple(f"{a:g}-{b:g}" for a, b in itertools.pairwise(edges))


def encode_bins(
    cells: Sequence[str],
    edges: Sequence[float],
    what: str,
    table: str,
    rows: Sequence[int],
    problems: Problems,
) -> np.ndarray:
    """Bin of each number, int64 [N]: bins are [a, b), the last one [a, b]; -1 where the cell is empty."""
    if isinstance(cells, CodedCells):
        return _of_distinct(cells, rows, lambda found, at: encode_bins(found, edges, what, table, at, problems))
    codes: dict[str, int] = {}
    faults: dict[str, list[int]] = {}
    result = np.empty(len(cells), dtype=np.int64)
    for i, cell in enumerate(cells):
        code = codes.get(cell)
        if code is None:
            code = codes[cell] = _bin(cell, edges)
        if code == -2:
            faults.setdefault(cell, []).append(rows[i])
        result[i] = code
    bounds = f"from {edges[0]:g} to {edges[-1]:g}"
    found = [
        Problem(
            f"{some_rows(table, at)}: {what} {cell[:60]!r} is not a number {bounds}",
            "unknown-value", table_of(table, at[0]), at[0],
        )
        for cell, at in faults.items()
    ]  # fmt: skip
    problems.add_some(found, SHOWN, "values outside the bins", f"{table}: {what}: ")
    return result


def _of_distinct(
    cells: CodedCells, rows: Sequence[int], coded: Callable[[Sequence[str], Sequence[int]], np.ndarray]
) -> np.ndarray:
    """What `coded` makes of the distinct values, for every cell; messages name the first row of each value."""
    used, first = np.unique(cells.codes, return_index=True)
    found = np.full(len(cells.values), -1, dtype=np.int64)
    found[used] = coded([cells.values[i] for i in used.tolist()], [rows[i] for i in first.tolist()])
    return found[cells.codes]


def _bin(cell: str, edges: Sequence[float]) -> int:
    if is_missing(cell):
        return -1
    try:
        number = float(cell)
    except ValueError:
        return -2
    if not math.isfinite(number) or not edges[0] <= number <= edges[-1]:
        return -2
    return min(int(np.searchsorted(edges, number, side="right")) - 1, len(edges) - 2)
