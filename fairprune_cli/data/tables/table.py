"""Tables of text, out of CSV and Parquet files.

Nothing here raises for a fault in the data: each fault is put in words, with its row, into a `Problems`,
so that all of them are shown at once.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import Problem, Problems, nearest

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
SPLITS = ("train", "val", "test")
MISSING = frozenset({"", "na", "n/a", "nan", "null"})
SHOWN = 6


@dataclass(frozen=True, eq=False)
class TextTable:
    """A table as text: `columns[name][i]` is the stripped cell of record i, `rows[i]` its line (from 1).

    `header` names every column of the file, also those that were not read.
    """

    name: str
    header: tuple[str, ...]
    columns: Mapping[str, list[str]]
    rows: np.ndarray
    sha256: str
    tables: tuple[str, ...] = ()  # that of each record, where several tables were joined

    def column(self, name: str, purpose: str, problems: Problems) -> list[str] | None:
        """The cells of a column, or None after noting that there is no such column."""
        if name in self.columns:
            return self.columns[name]
        text = f"{self.name}: no column {name!r} ({purpose}); {nearest(name, self.header)}"
        if any(header.lower().endswith(IMAGE_SUFFIXES) for header in self.header):
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
    if path.suffix.lower() in (".parquet", ".pq") or data[:4] == b"PAR1":
        return _read_parquet(path, data, digest, problems, wanted)
    return _read_csv(path, data, digest, problems)


def _bytes(path: Path, problems: Problems) -> bytes | None:
    try:
        return path.read_bytes()
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
    first = text.split("\n", 1)[0]
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    # `a, "b"`, as people write it, is `b` without its quotes.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    records: list[list[str]] = []
    lines: list[int] = []
    last = 0
    try:
        for record in reader:
            if record:
                records.append(record)
                lines.append(last + 1)
            last = reader.line_num
    except csv.Error as error:
        text = f"{path.name} row {last + 1}: not valid CSV: {error} (is a quote left open or doubled?)"
        problems.add(text, "bad-quoting", path.name, last + 1)
        return None
    if not records:
        problems.add(f"{path.name} is empty: it needs a header and a row per image", "bad-table", path.name)
        return None
    header = [name.strip() for name in records.pop(0)]
    del lines[0]
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        text = f"{path.name}: column names stand twice in the header: {', '.join(map(repr, doubled))}"
        problems.add(text, "bad-table", path.name, 1)
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
    if ragged:
        return None
    cells = zip(*records, strict=True)
    columns = {name: [cell.strip() for cell in column] for name, column in zip(header, cells, strict=True)}
    return TextTable(path.name, tuple(header), columns, np.array(lines, dtype=np.int64), digest)


def _read_parquet(
    path: Path, data: bytes, digest: str, problems: Problems, wanted: Sequence[str] | None
) -> TextTable | None:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        text = f"{path.name} is Parquet, which needs `pip install pyarrow`; or save it as CSV"
        problems.add(text, "bad-table", path.name)
        return None
    try:
        source = parquet.ParquetFile(arrow.BufferReader(data))
        known = source.schema_arrow.names
        names = [name for name in known if wanted is None or name in wanted]
        if doubled := sorted({name for name in names if known.count(name) > 1}):
            text = f"{path.name}: column names stand twice: {', '.join(map(repr, doubled))}"
            problems.add(text, "bad-table", path.name)
            return None
        content = source.read(columns=names).to_pydict()
        columns = {name: [_cell(value) for value in content[name]] for name in names}
        count = source.metadata.num_rows
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        text = f"{path.name} is not a readable Parquet file: {str(error).splitlines()[0]}"
        problems.add(text, "bad-table", path.name)
        return None
    if not count:
        problems.add(f"{path.name} has no rows", "bad-table", path.name)
        return None
    return TextTable(path.name, tuple(known), columns, np.arange(1, count + 1, dtype=np.int64), digest)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers become floats where a column has gaps
    return str(value).strip()
