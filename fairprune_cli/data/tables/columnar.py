"""Columns of a long table, some rows at a time: by Arrow where it is installed, else by Python's own CSV reader.

For tables with a row per image of which only a few numbers per row are kept. Memory does not grow with the rows.
Nothing here raises for a fault in the data but `FairpruneError`, which names the file and the row.
"""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from fairprune_cli.core.errors import FairpruneError, Problems, said_by
from fairprune_cli.core.files import open_plain, refuse_large
from fairprune_cli.core.printable import tidy
from fairprune_cli.data.tables.parquet import (
    cell_text,
    opened_parquet,
    shortest_decimals,
    too_many_columns,
    unfolds_too_far,
)
from fairprune_cli.data.tables.table import form_of_csv

_ROWS = 1 << 18  # at a time
_BYTES = 1 << 24
_LONGEST_HEADER = 16 << 20


@dataclass(frozen=True, eq=False)
class Coded:
    """A column of text: `codes` int64 [n] are positions in `values`, which are distinct."""

    values: Sequence[str]
    codes: np.ndarray


@dataclass(frozen=True, eq=False)
class Utf8:
    """A column of n texts, one behind the other: text i is bytes `offsets[i]` to `offsets[i + 1]` of `data` (uint8)."""

    data: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def text(self, i: int) -> str:
        """One of them."""
        return self.data[self.offsets[i] : self.offsets[i + 1]].tobytes().decode()

    @classmethod
    def of(cls, texts: Sequence[str]) -> Utf8:
        """From texts."""
        encoded = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls(np.frombuffer(b"".join(encoded), np.uint8), np.concatenate([[0], np.cumsum(lengths)]))


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a table.

    Attributes:
        first: the line of the first one, from 1 for a file's first row below its header in Parquet, from 2 in CSV.
        texts, coded, numbers: the columns by name, as they were asked for; numbers are float64 [n], NaN where empty.
    """

    first: int
    texts: Mapping[str, Utf8]
    coded: Mapping[str, Coded]
    numbers: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return max([
            0, *map(len, self.texts.values()), *(len(one.codes) for one in self.coded.values()),
            *map(len, self.numbers.values()),
        ])  # fmt: skip


@dataclass(frozen=True)
class LongTable:
    """A CSV or Parquet file, whose columns are read as they are asked for."""

    path: Path
    header: tuple[str, ...]
    parquet: bool
    delimiter: str = ","
    above: int = 0  # lines before the header

    def rows(self, texts: Sequence[str], coded: Sequence[str], numbers: Sequence[str]) -> Iterator[Rows]:
        """The whole table, in the order of its rows.

        Args:
            texts: columns wanted as `Utf8`; coded: as `Coded`; numbers: as float64.

        Raises:
            FairpruneError: damaged, or a cell of a column of numbers is none.
        """
        wanted = (texts, coded, numbers)
        if self.parquet or importlib.util.find_spec("pyarrow") is not None:
            return self._by_arrow(*wanted)
        return self._by_python(*wanted)

    def _by_arrow(self, texts: Sequence[str], coded: Sequence[str], numbers: Sequence[str]) -> Iterator[Rows]:
        import pyarrow as arrow

        first = 1 if self.parquet else 2 + self.above
        raw = self._raw_names()
        try:
            for batch in self._batches([raw[name] for name in dict.fromkeys((*texts, *coded, *numbers))], numbers):
                if self.parquet:
                    batch.validate(full=True)  # a damaged file may hold places that there are not, and bytes for text
                columns = {tidy(name): column for name, column in zip(batch.schema.names, batch.columns, strict=True)}
                yield Rows(
                    first, {name: _utf8(columns[name]) for name in texts},
                    {name: _coded(columns[name]) for name in coded},
                    {name: _floats(columns[name]) for name in numbers},
                )  # fmt: skip
                first += batch.num_rows
        except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise FairpruneError(
                f"not readable from row {first} on: {said_by(error)}", where=str(self.path),
                hint="a row has as many cells as the header, and scores are numbers",
            ) from error  # fmt: skip

    def _raw_names(self) -> dict[str, str]:
        if not self.parquet:
            return {name: name for name in self.header}
        return {tidy(name): name for name in opened_parquet(self.path).schema_arrow.names}

    def _batches(self, wanted: Sequence[str], numbers: Sequence[str]) -> Iterator[Any]:
        import pyarrow as arrow

        if self.parquet:
            source = opened_parquet(self.path)
            with open_plain(self.path) as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
                if fault := unfolds_too_far(source.metadata.num_rows, set(wanted), data, whole=False):
                    raise FairpruneError(fault, where=str(self.path))
            yield from source.iter_batches(_ROWS, columns=list(wanted), use_threads=False)
            return
        import pyarrow.csv

        kinds = {name: arrow.float64() if name in numbers else arrow.string() for name in wanted}
        reader = pyarrow.csv.open_csv(
            self.path,
            pyarrow.csv.ReadOptions(
                use_threads=False, block_size=_BYTES, column_names=list(self.header), skip_rows=self.above + 1
            ),
            pyarrow.csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                column_types=kinds, include_columns=list(wanted), null_values=[""], strings_can_be_null=False
            ),
        )
        yield from reader

    def _by_python(self, texts: Sequence[str], coded: Sequence[str], numbers: Sequence[str]) -> Iterator[Rows]:
        place = {name: i for i, name in enumerate(self.header)}
        with open(self.path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=self.delimiter, strict=True, skipinitialspace=True)
            held: list[list[str]] = []
            first = row = self.above + 2
            try:
                for _ in range(self.above + 1):
                    next(reader)
                for record in reader:
                    if record:
                        if len(record) != len(self.header):
                            raise ValueError(f"{len(record)} cells where the header has {len(self.header)}")
                        held.append(record)
                        row += 1
                    if len(held) == _ROWS:
                        yield _of_records(held, first, place, texts, coded, numbers)
                        held, first = [], row
                if held:
                    yield _of_records(held, first, place, texts, coded, numbers)
            except (csv.Error, ValueError) as error:
                raise FairpruneError(
                    f"row {row}: {said_by(error)}", where=str(self.path),
                    hint="a row has as many cells as the header, and scores are numbers",
                ) from error  # fmt: skip


def open_long_table(path: Path) -> LongTable:
    """Look at a file's header.

    Raises:
        FairpruneError: it cannot be read, is no table, or names a column twice.
    """
    try:
        with open_plain(path) as stream:
            refuse_large(stream, path, "predictions_bytes")
            start = stream.read(1 << 16)
            while b"\n" not in start and len(start) <= _LONGEST_HEADER and (more := stream.read(1 << 16)):
                start += more
    except OSError as error:
        raise FairpruneError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    if start[:4] == b"PAR1" or path.suffix.lower() in (".parquet", ".pq"):
        table = LongTable(path, _parquet_header(path), True)
    else:
        found, problems = Problems(""), Problems(str(path))
        form = form_of_csv(path.name, start, found)
        # Each names the file, as several tables of a manifest need it; here it is named once.
        problems.extend(text.removeprefix(path.name).lstrip(": ") for text in found.texts)
        problems.raise_if_any()
        assert form is not None
        table = LongTable(path, form.header, False, form.delimiter, form.above)
    twice = sorted(name for name, times in Counter(table.header).items() if times > 1)
    if twice:
        raise FairpruneError(f"names columns twice: {', '.join(map(repr, twice))}", where=str(path),
                             hint="give each column a name of its own")  # fmt: skip
    return table


def _parquet_header(path: Path) -> tuple[str, ...]:
    try:
        import pyarrow as arrow
    except ImportError as error:
        raise FairpruneError("is Parquet, which needs pyarrow", where=str(path),
                             hint="`pip install pyarrow`, or save it as CSV") from error  # fmt: skip
    try:
        return tuple(tidy(name) for name in opened_parquet(path).schema_arrow.names)
    except (arrow.ArrowException, OSError, ValueError) as error:
        said = said_by(error)
        text = too_many_columns() if "Exceeded size limit" in said else f"is not a readable Parquet file: {said}"
        raise FairpruneError(text, where=str(path)) from error


def _utf8(column: Any) -> Utf8:
    import pyarrow as arrow

    column = column.dictionary_decode() if arrow.types.is_dictionary(column.type) else column
    texts = column.cast(arrow.large_string()).fill_null("")
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    buffer = texts.buffers()[2]
    return Utf8(np.frombuffer(buffer if buffer is not None else b"", np.uint8), offsets)


def _coded(column: Any) -> Coded:
    import pyarrow as arrow

    coded = column if arrow.types.is_dictionary(column.type) else column.dictionary_encode()
    values = [cell_text(value) for value in shortest_decimals(coded.dictionary.to_pylist(), coded.type)]
    codes = coded.indices.cast(arrow.int64()).fill_null(len(values)).to_numpy(zero_copy_only=False)
    return Coded([*values, ""], codes)


def _floats(column: Any) -> np.ndarray:
    import pyarrow as arrow

    column = column.dictionary_decode() if arrow.types.is_dictionary(column.type) else column
    numbers: np.ndarray = column.cast(arrow.float64()).to_numpy(zero_copy_only=False)
    return numbers


def _of_records(
    records: list[list[str]], first: int, place: Mapping[str, int], texts: Sequence[str], coded: Sequence[str],
    numbers: Sequence[str],
) -> Rows:  # fmt: skip
    def cells(name: str) -> list[str]:
        return [record[place[name]] for record in records]

    def codes(name: str) -> Coded:
        known: dict[str, int] = {}
        found = np.fromiter((known.setdefault(tidy(cell), len(known)) for cell in cells(name)), np.int64, len(records))
        return Coded(list(known), found)

    def floats(name: str) -> np.ndarray:
        return np.array([float(cell) if cell.strip() else np.nan for cell in cells(name)])

    return Rows(
        first, {name: Utf8.of(cells(name)) for name in texts}, {name: codes(name) for name in coded},
        {name: floats(name) for name in numbers},
    )  # fmt: skip
