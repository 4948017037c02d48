"""Tables of text, and the mapping of their columns to integer arrays: labels, groups, splits.

Nothing here raises for a fault in the data: each fault is put in words, with its row, into a `Problems`,
so that all of them are shown at once.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import Problem, Problems, nearest

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
MISSING = frozenset({"", "na", "n/a", "nan", "null"})
SHOWN = 6
_ADVISED = 50


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
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
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


def some_rows(table: str, rows: Sequence[int]) -> str:
    """`table.csv row 4`, `table.csv rows 4, 9 and 120 more`, or without rows (all 0) `faces, 7 images`."""
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
        missing: code of an empty cell (or NA, NaN, null); None makes it a problem like any unknown value.
        codes: spellings beyond `known`, lower case, as for splits.
    """
    code_of = {value: code for code, value in enumerate(known)}
    unknown: dict[str, list[int]] = {}
    result = np.full(len(cells), -1, dtype=np.int64)
    for i, cell in enumerate(cells):
        code = code_of.get(cell)
        if code is None:
            if missing is not None and cell.lower() in MISSING:
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
        text = f"{some_rows(table, at)}: {what} {shown!r} is unknown{hint}"
        found.append(Problem(text, "unknown-value", table, at[0]))
    problems.add_some(found, SHOWN, "unknown values", f"{table}: {what}: ")
    return result


def occurring(cells: Sequence[str]) -> tuple[str, ...]:
    """The values that occur, sorted, without the missing ones."""
    return tuple(sorted(value for value in set(cells) if value.lower() not in MISSING))


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
        Problem(f"{some_rows(table, at)}: {what} {cell[:60]!r} is not a number {bounds}", "unknown-value", table, at[0])
        for cell, at in faults.items()
    ]
    problems.add_some(found, SHOWN, "values outside the bins", f"{table}: {what}: ")
    return result


def _bin(cell: str, edges: Sequence[float]) -> int:
    if cell.lower() in MISSING:
        return -1
    try:
        number = float(cell)
    except ValueError:
        return -2
    if not math.isfinite(number) or not edges[0] <= number <= edges[-1]:
        return -2
    return min(int(np.searchsorted(edges, number, side="right")) - 1, len(edges) - 2)


def random_keys(names: Sequence[str], seed: int) -> np.ndarray:
    """A pseudo-random uint64 per name, [N], that depends on name and seed alone: not on order or machine."""
    prefix = f"{seed}:".encode()
    digests = b"".join(hashlib.blake2b(prefix + name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def cells_of(columns: Sequence[np.ndarray]) -> np.ndarray:
    """One number per distinct combination of the columns' codes (each int64 [N]); int64 [N]."""
    combined = columns[0]
    for column in columns[1:]:
        combined = np.unique(combined, return_inverse=True)[1] * (column.max(initial=0) + 2) + column + 1
    return np.unique(combined, return_inverse=True)[1].astype(np.int64)


def assign_parts(
    cells: np.ndarray, persons: np.ndarray | None, shares: Sequence[float], keys: np.ndarray
) -> np.ndarray:
    """Divide rows into parts so that every part has its share of every cell; int64 [N], the part of each row.

    Without persons each cell gives each part its share to within one row (systematic sampling of the rows
    in random order). With persons, whole persons are placed, largest first, each where the sum over parts p
    and cells c of (n_pc - share_p n_c)^2 / (share_p n_c) falls most.

    Args:
        cells: int64 [N], 0..C-1: what is to be kept alike, as label x group.
        persons: int64 [N] or None; rows with one number stay together.
        shares: of each part, summing to 1.
        keys: uint64 [N], the random order, from `random_keys`.
    """
    if persons is not None:
        return _assign_persons(cells, persons, shares, keys)
    result = np.zeros(len(cells), dtype=np.int64)
    left = np.lexsort((keys, cells))
    remaining = 1.0
    for part in range(len(shares) - 1, 0, -1):
        share = min(shares[part] / remaining, 1.0) if remaining > 0 else 0.0
        steps = np.floor(np.arange(len(left) + 1) * share + 0.5 + 1e-9)
        taken = np.diff(steps) > 0
        result[left[taken]] = part
        left = left[~taken]
        remaining -= shares[part]
    return result


def _assign_persons(cells: np.ndarray, persons: np.ndarray, shares: Sequence[float], keys: np.ndarray) -> np.ndarray:
    count = int(cells.max(initial=-1)) + 1
    numbers, person = np.unique(persons, return_inverse=True)
    pairs, sizes = np.unique(person * count + cells, return_counts=True)
    held: list[list[tuple[int, int]]] = [[] for _ in numbers]
    for pair, size in zip(pairs.tolist(), sizes.tolist(), strict=True):
        held[pair // count].append((pair % count, size))
    own_key = np.full(len(numbers), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(own_key, person, keys)
    order = np.lexsort((own_key, -np.bincount(person, minlength=len(numbers))))
    # The last cell stands for the part's whole size, so that parts also keep their share of all rows.
    totals = [*np.bincount(cells, minlength=count).tolist(), len(cells)]
    open_parts = [part for part, share in enumerate(shares) if share > 0]
    target = {part: [shares[part] * total for total in totals] for part in open_parts}
    have = {part: [0] * (count + 1) for part in open_parts}
    chosen = np.zeros(len(numbers), dtype=np.int64)
    for number in order.tolist():
        items = held[number] + [(count, sum(size for _, size in held[number]))]
        best, best_gain = open_parts[0], -math.inf
        for part in open_parts:
            goal, now = target[part], have[part]
            gain = sum(size * (goal[cell] - now[cell] - size / 2) / goal[cell] for cell, size in items)
            if gain > best_gain:
                best, best_gain = part, gain
        for cell, size in items:
            have[best][cell] += size
        chosen[number] = best
    return chosen[person]
