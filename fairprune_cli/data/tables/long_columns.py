"""The columns of a manifest's long table in few bytes for each row: words as numbers, and paths as keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.core.files import sha256_file
from fairprune_cli.core.printable import tidy
from fairprune_cli.data.tables.coded_cells import CodedCells
from fairprune_cli.data.tables.columnar import LongTable, open_long_table
from fairprune_cli.data.tables.path_keys import KeyTable, path_keys
from fairprune_cli.data.tables.table import TextTable


class LongPaths(Sequence[str]):
    """Paths of which the keys are held; the texts are read again where they are asked for.

    Attributes:
        keys: uint64 [N, 2], as `path_keys`.
    """

    def __init__(self, table: LongTable, column: str, keys: np.ndarray, rows: np.ndarray | None = None) -> None:
        self._table, self._column, self.keys = table, column, keys
        self._rows = np.arange(len(keys)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[str]: ...
    def __getitem__(self, i: int | slice) -> str | Sequence[str]:
        return self.some(range(len(self))[i]) if isinstance(i, slice) else self.some([i])[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.some(range(len(self))))

    @cached_property
    def places(self) -> KeyTable:
        """Where each key stands."""
        return KeyTable(self.keys)

    def at(self, positions: Sequence[int]) -> LongPaths:
        """Some of them."""
        chosen = np.asarray(positions, np.int64)
        return LongPaths(self._table, self._column, self.keys[chosen], self._rows[chosen])

    def some(self, positions: Iterable[int]) -> list[str]:
        """Their texts, in one pass over the table."""
        wanted = [int(self._rows[i]) for i in positions]
        left, found, start = set(wanted), {}, 0
        for rows in self._table.rows([self._column], [], []):
            texts = rows.texts[self._column]
            for row in [row for row in left if start <= row < start + len(texts)]:
                found[row] = tidy(texts.text(row - start))
                left.discard(row)
            start += len(texts)
            if not left:
                break
        return [found[row] for row in wanted]


def texts_of(column: Sequence[str], rows: Sequence[int]) -> list[str]:
    """The texts at some rows, of a column whether it is held or read again."""
    return column.some(rows) if isinstance(column, LongPaths) else [column[row] for row in rows]


def read_long_table(path: Path, problems: Problems, image: str, wanted: Sequence[str]) -> TextTable | None:
    """`read_table` for a table of any length, of which the images are known by keys.

    Args:
        image: the column of the images' paths; wanted: the other columns, of those that there are.
    """
    try:
        table = open_long_table(path)
        digest = sha256_file(path)
        others = [name for name in dict.fromkeys(wanted) if name in table.header and name != image]
        texts = [image] if image in table.header else []
        keys, gathered, count = [np.empty((0, 2), np.uint64)], {name: _Gathered() for name in others}, 0
        for rows in table.rows(texts, others, []):
            keys += [path_keys(rows.texts[name]) for name in texts]
            for name, column in rows.coded.items():
                gathered[name].add(column.values, column.codes)
            count += len(rows)
    except FairpruneError as error:
        problems.add(f"{path.name}: {error.what}", "bad-table", path.name)
        return None
    except OSError as error:
        problems.add(f"the table {str(path)!r} cannot be read: {error.strerror or error}", "missing-table", path.name)
        return None
    if not count:
        problems.add(f"{path.name} has no rows", "bad-table", path.name)
        return None
    columns: dict[str, Sequence[str]] = {name: one.cells() for name, one in gathered.items()}
    columns |= {name: LongPaths(table, name, np.concatenate(keys)) for name in texts}
    first = 1 if table.parquet else 2 + table.above
    return TextTable(path.name, table.header, columns, np.arange(first, first + count, dtype=np.int64), digest)


class _Gathered:
    """A column of words, part by part."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._parts: list[np.ndarray] = []

    def add(self, values: Sequence[str], codes: np.ndarray) -> None:
        number: Callable[[str], int] = lambda value: self._known.setdefault(value, len(self._known))  # noqa: E731
        used = np.unique(codes)
        place = np.zeros(len(values), np.int32)
        place[used] = [number(values[i]) for i in used.tolist()]
        self._parts.append(place[codes])

    def cells(self) -> CodedCells:
        return CodedCells(list(self._known), np.concatenate(self._parts))
