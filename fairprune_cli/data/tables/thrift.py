"""Structs in Thrift's compact protocol, as Parquet writes its metadata and the headers of its pages.

Only what a struct holds is read, by the numbers of its fields; nothing is allocated but what the bytes themselves hold.
"""

from __future__ import annotations

from mmap import mmap
from typing import Any

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_DEPTH = 12  # Parquet's deepest struct has 7


def read_struct(data: bytes | mmap, at: int, depth: int = _DEPTH) -> tuple[dict[int, Any], int]:
    """The fields of the struct that begins at a place, by number, and where it ends.

    Whole numbers, truth values, bytes, lists and structs are read; of other values only that they are there (None).

    Raises:
        ValueError: what lies there is no such struct.
    """
    if not depth:
        raise ValueError("nested too deeply")
    found: dict[int, Any] = {}
    field = 0
    try:
        while head := data[at]:
            at += 1
            if head >> 4:
                field += head >> 4
            else:
                field, at = _whole(data, at)
            kind = head & 15
            if kind in (_TRUE, _FALSE):
                found[field] = kind == _TRUE
            else:
                found[field], at = _value(data, at, kind, depth)
    except IndexError:
        raise ValueError("cut short") from None
    return found, at + 1


def _value(data: bytes | mmap, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_I16, _I32, _I64):
        return _whole(data, at)
    if kind == _STRUCT:
        return read_struct(data, at, depth - 1)
    if kind == _BINARY:
        length, at = _varint(data, at)
        if length > len(data) - at:
            raise ValueError("cut short")
        return data[at : at + length], at + length
    if kind in (_LIST, _SET):
        return _list(data, at, depth)
    if kind in (_BYTE, _TRUE, _FALSE):
        return data[at], at + 1
    if kind == _DOUBLE:
        return None, at + 8
    raise ValueError(f"a field of the kind {kind}")


def _list(data: bytes | mmap, at: int, depth: int) -> tuple[list[Any], int]:
    head = data[at]
    at += 1
    length = head >> 4
    if length == 15:
        length, at = _varint(data, at)
    if length > len(data) - at:
        raise ValueError("cut short")  # each value takes a byte at least
    values = []
    for _ in range(length):
        value, at = _value(data, at, head & 15, depth - 1)
        values.append(value)
    return values, at


def _whole(data: bytes | mmap, at: int) -> tuple[int, int]:
    number, at = _varint(data, at)
    return number >> 1 ^ -(number & 1), at


def _varint(data: bytes | mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
