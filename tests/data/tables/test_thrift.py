"""Structs in Thrift's compact protocol, written by hand after its specification."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.data.tables.thrift import read_struct


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"\x00", {}),
        (b"\x15\x03\x00", {1: -2}),  # a step of 1, i32, zigzag
        (b"\x15\xfe\xff\xff\xff\x0f\x00", {1: 2**31 - 1}),
        (b"\x11\x12\x00", {1: True, 2: False}),  # truth stands in the kind
        (b"\x38\x02ab\x00", {3: b"ab"}),
        (b"\x05\x28\x02\x15\x02\x00", {20: 1, 21: 1}),  # a step beyond 15 is written out
        (b"\x19\x25\x02\x04\x00", {1: [1, 2]}),
        (b"\x19\x22\x01\x02\x00", {1: [1, 2]}),  # truth values of a list take a byte each
        (b"\x1c\x15\x02\x00\x15\x04\x00", {1: {1: 1}, 2: 2}),
        (b"\x17" + bytes(8) + b"\x15\x02\x00", {1: None, 2: 1}),
        (b"\x19\x1c\x15\x02\x00\x00", {1: [{1: 1}]}),
    ],
)
def test_fields_by_their_numbers(data: bytes, fields: dict[int, object]) -> None:
    assert read_struct(data, 0) == (fields, len(data))
    assert read_struct(b"xx" + data + b"rest", 2) == (fields, len(data) + 2)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x15", b"\x15\xff", b"\x15" + b"\xff" * 11 + b"\x01\x00", b"\x18\x7fab\x00", b"\x19\xf5\xff\xff\xff\x7f",
        b"\x1c" * 50, b"\x1b\x00\x00", b"\x1d\x00",
    ],
)  # fmt: skip
def test_what_is_no_struct_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|64 bits|nested|kind"):
        read_struct(data, 0)


@given(st.binary(max_size=80))
def test_any_bytes_end_in_a_struct_or_in_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert read_struct(data, 0)[1] <= len(data) + 8
