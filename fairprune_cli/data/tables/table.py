"""Tables of text, out of CSV and Parquet files.

Nothing here raises for a fault in the data: each fault is put in words, with its row, into a `Problems`,
so that all of them are shown at once.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import io
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import FairpruneError, Problem, Problems, nearest
from fairprune_cli.core.files import read_plain
from fairprune_cli.core.limits import refusal
from fairprune_cli.core.printable import is_printable, tidy
from fairprune_cli.data.tables.image_names import is_image_name
from fairprune_cli.data.tables.parquet import parquet_cells

SPLITS = ("train", "val", "test")
# What numpy, pandas and spreadsheets write where there is nothing, in lower case.
MISSING = frozenset({
    "", "na", "n/a", "<na>", "#n/a", "#na", "#n/a n/a", "nan", "-nan", "nat", "null", "none",
    "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
})  # fmt: skip
SHOWN = 6
_SEPARATOR = re.compile(r"(?i)sep=(.)\r?\n")
# `a, "b"`, as people write it, is `b` without its quotes.
_records = functools.partial(csv.reader, strict=True, skipinitialspace=True)
_PARQUET = (".parquet", ".pq")
TABLE_SUFFIXES = (".csv", ".tsv", *_PARQUET)


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.lower() in MISSING


def plain_name(column: str) -> str:
    """A column's name in lower case, with underscores for spaces and hyphens."""
    return "_".join(column.lower().replace("-", " ").replace("_", " ").split())


@dataclass(frozen=True, eq=False)
class TextTable:
    """A table as text: `columns[name][i]` is the cell of record i, `rows[i]` its line (from 1).

    Cells and names are trimmed and composed (`printable.tidy`); names can be printed.

    `header` names every column of the file, also those that were not read.
    """

    name: str
    header: tuple[str, ...]
    columns: Mapping[str, Sequence[str]]
    rows: np.ndarray
    sha256: str
    tables: tuple[str, ...] = ()  # that of each record, where several tables were joined

    def column(self, name: str, purpose: str, problems: Problems) -> Sequence[str] | None:
        """The cells of a column, or None after noting that there is no such column."""
        if name in self.columns:
            return self.columns[name]
        text = f"{self.name}: no column {name!r} ({purpose}); {nearest(name, self.header)}"
        if any(map(is_image_name, self.header)):
            text += " (the first line looks like data: is the header missing?)"
        if text not in problems.texts:
            problems.add(text, "unknown-column", self.name, 1)
        return None


def read_table(path: Path, problems: Problems, wanted: Sequence[str] | None = None) -> TextTable | None:
    """Read a CSV (UTF-8, with or without BOM, any line ends; comma, semicolon or tab) or a Parquet file.

    Args:
        wanted: columns to read from a Parquet file, all when None; a CSV is always read whole.
    """
    data = _bytes(path, problems)
    if data is None:
        return None
    digest = hashlib.sha256(data).hexdigest()
    if path.suffix.lower() in _PARQUET or data[:4] == b"PAR1":
        found = parquet_cells(path.name, data, problems, wanted)
        if found is None or not _sound_header(path.name, found[0], problems, doubled=False):
            return None
        header, columns, count = found
        if not count:
            problems.add(f"{path.name} has no rows", "bad-table", path.name)
            return None
        return TextTable(path.name, header, columns, np.arange(1, count + 1, dtype=np.int64), digest)
    return _read_csv(path, data, digest, problems)


def _sound_header(name: str, header: Sequence[str], problems: Problems, doubled: bool = True) -> bool:
    """Whether the names of the columns can be read; what is wrong is noted."""
    before = len(problems.found)
    if over := refusal(len(header), "table_columns", name):
        problems.add(over, "bad-table", name, 1)
        return False
    if odd := [column for column in header if not is_printable(column)]:
        text = f"{name}: names of columns cannot be printed: {', '.join(repr(column[:60]) for column in odd[:SHOWN])}"
        problems.add(text, "unprintable", name, 1)
    if doubled and (twice := sorted(column for column, times in Counter(header).items() if times > 1)):
        text = f"{name}: column names stand twice in the header: {', '.join(map(repr, twice))}"
        problems.add(text, "bad-table", name, 1)
    return len(problems.found) == before


def _bytes(path: Path, problems: Problems) -> bytes | None:
    try:
        return read_plain(path, "table_bytes")
    except FairpruneError as error:
        problems.add(f"the table {str(path)!r}: {error.what}; {error.hint}", "bad-table", path.name)
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problems.add(f"the table {str(path)!r} cannot be read: {reason}", "missing-table", path.name)
        return None


def decoded(path: Path, problems: Problems) -> tuple[str | None, str]:
    """A file's text (UTF-8, with or without BOM), None after noting what is wrong with it, and its SHA-256."""
    data = _bytes(path, problems)
    if data is None:
        return None, ""
    return _text(path.name, data, problems), hashlib.sha256(data).hexdigest()


def _text(name: str, data: bytes, problems: Problems) -> str | None:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = f"{name} row 1: byte 0x{data[0]:02x} is not UTF-8: this is UTF-16; save it as UTF-8"
        problems.add(text, "not-utf-8", name, 1)
        return None
    try:
        text = data.decode("utf-8-sig")
        _note_form(name, data, problems)
        return text
    except UnicodeDecodeError:
        pass
    bad = []
    for row, line in enumerate(data.split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            found = f"{name} row {row}: byte 0x{line[error.start]:02x} is not UTF-8; save it as UTF-8"
            with contextlib.suppress(UnicodeDecodeError):
                found += f" (in Windows-1252 the line reads {line.decode('cp1252').strip()[:60]!r})"
            bad.append(Problem(found, "not-utf-8", name, row))
    problems.add_some(bad, SHOWN, "rows that are not UTF-8", f"{name}: ")
    return None


def _note_form(name: str, data: bytes, problems: Problems) -> None:
    if data[:3] == b"\xef\xbb\xbf":
        problems.notes.append(Problem(f"{name} begins with a byte order mark; it is passed over", "bom", name, 1))
    ends, windows = data.count(b"\n"), data.count(b"\r\n")
    if windows:
        kind = "Windows line ends (CRLF)" if windows == ends else f"mixed line ends ({windows:,} of {ends:,} are CRLF)"
        problems.notes.append(Problem(f"{name} has {kind}; rows are read alike", "line-ends", name))


def _read_csv(path: Path, data: bytes, digest: str, problems: Problems) -> TextTable | None:
    text = _text(path.name, data, problems)
    if text is None:
        return None
    named = _SEPARATOR.match(text)  # as spreadsheets begin a file whose cells other signs part
    above, text = (0, text) if named is None else (1, text[named.end() :])
    reader = _records(io.StringIO(text, newline=""), delimiter=_delimiter(text) if named is None else named[1])
    header: list[str] = []
    records: list[list[str]] = []
    lines: list[int] = []
    last = 0
    try:
        for record in reader:
            if record and not header:
                header = [tidy(name) for name in record]
                if not _sound_header(path.name, header, problems):
                    return None
            elif record:
                records.append(record)
                lines.append(above + last + 1)
            last = reader.line_num
    except csv.Error as error:
        row = above + last + 1
        text = f"{path.name} row {row}: not valid CSV: {error} (is a quote left open or doubled?)"
        problems.add(text, "bad-quoting", path.name, row)
        return None
    if not header:
        problems.add(f"{path.name} is empty: it needs a header and a row per image", "bad-table", path.name)
        return None
    if not records:
        problems.add(f"{path.name} has a header and no rows", "bad-table", path.name)
        return None
    width = len(header)
    ragged = [
        Problem(f"{path.name} row {line}: {len(record)} cells where the header has {width}", "bad-row", path.name, line)
        for line, record in zip(lines, records, strict=True) if len(record) != width
    ]  # fmt: skip
    problems.add_some(ragged, SHOWN, "rows have another number of cells", f"{path.name}: ")
    if ragged or ('"' in text and _odd_quotes(path.name, records, lines, problems)):
        return None
    cells = zip(*records, strict=True)
    kept = str.strip if text.isascii() else tidy
    columns = {name: [kept(cell) for cell in column] for name, column in zip(header, cells, strict=True)}
    return TextTable(path.name, tuple(header), columns, np.array(lines, dtype=np.int64), digest)


@dataclass(frozen=True)
class CsvForm:
    """The form of a CSV: its columns, the mark between cells, and how many lines stand above the header."""

    header: tuple[str, ...]
    delimiter: str
    above: int


def form_of_csv(name: str, start: bytes, problems: Problems) -> CsvForm | None:
    """The form of a CSV, as `read_table` sees it, by its first bytes; None after noting what is wrong with them."""
    whole = start[: start.rfind(b"\n") + 1] or start
    text = _text(name, whole, problems)
    if text is None:
        return None
    named = _SEPARATOR.match(text)
    above, text = (0, text) if named is None else (1, text[named.end() :])
    delimiter = _delimiter(text) if named is None else named[1]
    try:
        header = next(filter(None, _records(io.StringIO(text, newline=""), delimiter=delimiter)), [])
    except csv.Error as error:
        problems.add(f"{name} row {above + 1}: not valid CSV: {error}", "bad-quoting", name, above + 1)
        return None
    if not header:
        problems.add(f"{name} is empty: it needs a header and a row per image", "bad-table", name)
        return None
    names = tuple(tidy(column) for column in header)
    return CsvForm(names, delimiter, above) if _sound_header(name, names, problems) else None


def _delimiter(text: str) -> str:
    """What separates the cells: the first mark in the header, unless another makes more columns of it and of the row.

    So a comma may stand in the names of a table with semicolons, as in `file;age, in years;label`.
    """
    widths = {}
    for mark in ",;\t":
        with contextlib.suppress(csv.Error):
            records = filter(None, _records(io.StringIO(text, newline=""), delimiter=mark))
            widths[mark] = [len(record) for record in itertools.islice(records, 2)]
    best = next((mark for mark in ",;\t" if mark in text.split("\n", 1)[0]), ",")
    for mark, found in widths.items():
        if len(found) == 2 and found[0] == found[1] and best in widths and found[0] > widths[best][0]:
            best = mark
    return best


def _odd_quotes(name: str, records: Sequence[Sequence[str]], lines: Sequence[int], problems: Problems) -> bool:
    """Whether quotes were kept as a part of cells because a tab or the like stands before them; they are noted."""
    odd = [
        Problem(f"{name} row {line}: the quotes of {cell[:60]!r} stand after white space other than blanks",
                "bad-quoting", name, line)
        for line, record in zip(lines, records, strict=True)
        for cell in record if cell[:1].isspace() and cell.lstrip()[:1] == '"'
    ]  # fmt: skip
    problems.add_some(odd, SHOWN, "rows with such quotes", f"{name}: ")
    return bool(odd)
