"""How large the pages of a Parquet file say that they are, from their headers, before anything is unpacked.

A page of a few hundred bytes may unfold to two billion, and a reader takes that memory as soon as it meets the header.
A header is a struct in Thrift's compact protocol (parquet.thrift, PageHeader: field 2 is the size unpacked, 3 the size
in the file); the rest of it is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_UNPACKED, _STORED = 2, 3
_DEPTH = 8


def page_sizes(data: bytes, start: int, end: int) -> Iterator[int]:
    """Bytes that each page of a column chunk takes unpacked.

    Args:
        data: the file; start, end: where the chunk's pages lie in it.

    Raises:
        ValueError: what lies there is no row of pages.
    """
    while start < end:
        fields, at = _header(data, start)
        unpacked, stored = fields.get(_UNPACKED, -1), fields.get(_STORED, -1)
        if unpacked < 0 or stored < 0:
            raise ValueError("a page without its size")
        yield unpacked
        start = at + stored


def _header(data: bytes, at: int) -> tuple[dict[int, int], int]:
    """The whole numbers among the fields of the struct that begins at a place, and where it ends."""
    found: dict[int, int] = {}
    try:
        field = 0
        while kind_byte := data[at]:
            at += 1
            if kind_byte >> 4:
                field += kind_byte >> 4
            else:
                number, at = _varint(data, at)
                field = number >> 1 ^ -(number & 1)
            kind = kind_byte & 15
            if kind in (_I16, _I32, _I64):
                number, at = _varint(data, at)
                found[field] = number >> 1 ^ -(number & 1)
            else:
                at = _passed(data, at, kind, _DEPTH)
    except IndexError:
        raise ValueError("a page header that is cut short") from None
    return found, at + 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits in a page header")


def _passed(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value of a kind ends that begins at a place."""
    if kind in (_TRUE, _FALSE):
        return at
    if kind == _BYTE:
        return at + 1
    if kind in (_I16, _I32, _I64):
        return _varint(data, at)[1]
    if kind == _DOUBLE:
        return at + 8
    if kind == _BINARY:
        length, at = _varint(data, at)
        return at + length
    if kind != _STRUCT or not depth:
        raise ValueError("a page header with fields that none has")  # lists, sets and maps among them
    while byte := data[at]:
        at += 1
        if not byte >> 4:
            at = _varint(data, at)[1]
        at = _passed(data, at, byte & 15, depth - 1)
    return at + 1
