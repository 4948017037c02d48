"""How large the pages of a Parquet file say that they are, before anything is unpacked.

A page of a few hundred bytes may unfold to two billion, and a reader takes that memory as soon as it meets its header.
The file's metadata and the pages' headers are read here and not by pyarrow, whose Python objects for a part's columns
end the process where the metadata is damaged. Numbers of fields are those of parquet.thrift in apache/parquet-format.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from mmap import mmap
from typing import Any

from fairprune_cli.data.tables.thrift import read_struct

Stored = bytes | mmap
_TAIL = 8  # bytes: the length of the metadata, and PAR1


def page_sizes(data: Stored, wanted: Collection[str]) -> Iterator[tuple[str, int]]:
    """Column and bytes unpacked of each page of the wanted columns.

    Args:
        data: the file's bytes.
        wanted: names of columns that hold no lists or structs.

    Raises:
        ValueError: the metadata or a page's header is damaged.
    """
    for name, start, end in _chunks(data):
        if name in wanted:
            while start < end:
                header, at = read_struct(data, start)
                unpacked, stored = _number(header, 2), _number(header, 3)
                yield name, unpacked
                start = at + stored


def _chunks(data: Stored) -> Iterator[tuple[str, int, int]]:
    """Column, begin and end in the file of each part's pages."""
    length = int.from_bytes(data[-_TAIL:-4], "little")
    if length > len(data) - _TAIL:
        raise ValueError("the metadata is cut short")
    metadata, _ = read_struct(data, len(data) - _TAIL - length)
    for group in _structs(metadata.get(4)):
        for column in _structs(group.get(1)):
            (chunk,) = _structs([column.get(3)])
            path = chunk.get(3)
            if not isinstance(path, list) or not all(isinstance(part, bytes) for part in path):
                raise ValueError("a column has no name")
            start, first = _number(chunk, 9), chunk.get(11)
            if isinstance(first, int) and 0 < first < start:  # a dictionary comes before the other pages
                start = first
            yield b".".join(path).decode("utf-8", "replace"), start, start + _number(chunk, 7)


def _structs(values: Any) -> list[dict[int, Any]]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ValueError("the metadata lacks its columns")
    return values


def _number(struct: dict[int, Any], field: int) -> int:
    value = struct.get(field)
    if not isinstance(value, int) or value < 0:
        raise ValueError("a size or place is missing")
    return value
