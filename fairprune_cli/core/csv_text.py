"""Tables of text as CSV that no spreadsheet takes for formulas, and read back as they were.

Names of images, groups and classes come from whoever made the data. A cell that begins with `=`, `+`, `-` or `@`, with
a tab or a line end, is run as a formula by spreadsheets, and can call other programs; it gets an apostrophe in front,
by which they know text. Numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import read_plain

_TEXT = "'"
_RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# What parts the cells of a row where the system writes numbers with commas.
_OTHER_MARKS = (";", "\t")


def as_text(cell: object) -> str:
    """A cell as it is written. None is nothing; a text that begins with apostrophes and such a sign gets one more."""
    text = "" if cell is None else str(cell)
    return f"{_TEXT}{text}" if _would_run(text.lstrip(_TEXT)) else text


def from_text(cell: str) -> str:
    """What `as_text` was given."""
    return cell[1:] if cell.startswith(_TEXT) and _would_run(cell.lstrip(_TEXT)) else cell


def _would_run(text: str) -> bool:
    if not text.startswith(_RUN):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def written_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any] | Sequence[Any]]) -> str:
    """A table with a header. Rows are cells in the order of the columns, or by their names, "" for those without."""
    stream = io.StringIO()
    plain, quoted = (csv.writer(stream, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    for row in (columns, *rows):
        found = [row.get(name, "") for name in columns] if isinstance(row, Mapping) else row
        cells = list(map(as_text, found))
        # A formula must not begin behind another mark either.
        (quoted if any(mark in cell for cell in cells for mark in _OTHER_MARKS) else plain).writerow(cells)
    return stream.getvalue()


def read_csv(path: Path, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a file that `written_csv` has made, by column.

    Raises:
        FairpruneError: it cannot be read, or lacks a column or a cell.
    """
    try:
        lines = csv.reader(io.StringIO(read_plain(path, "written_bytes").decode("utf-8"), newline=""), strict=True)
        header = list(map(from_text, next(lines, [])))
        if lacking := [name for name in needed if name not in header]:
            raise ValueError(f"no column {lacking[0]!r}")
        for cells in lines:
            yield dict(zip(header, map(from_text, cells), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FairpruneError(f"is not the table that was written: {reason}", where=str(path)) from error
