from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.checkpoint.inert import Global, Inert, PickleError
from fairprune_cli.models.checkpoint.unpickle import read_pickle

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(-(2**63), 2**64 - 1), inner)
        | st.tuples(inner, inner)
        | st.sets(st.text())
        | st.frozensets(st.integers(-9, 9))
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(plain, st.integers(0, 5))
def test_plain_values_read_as_pickle_reads_them(value: Any, protocol: int) -> None:
    assert read_pickle(io.BytesIO(pickle.dumps(value, protocol))) == value


@pytest.mark.parametrize("value", [b"", b"ab", bytes(300), bytearray(b"x")])
def test_bytes_read_as_bytes(value: bytes) -> None:
    assert read_pickle(io.BytesIO(pickle.dumps(value, 5))) == value


def test_shared_and_ordered_containers() -> None:
    shared = [1]
    value = collections.OrderedDict(a=shared, b=shared)
    read = read_pickle(io.BytesIO(pickle.dumps(value)))
    assert read == {"a": [1], "b": [1]}
    assert read["a"] is read["b"]


def test_several_pickles_in_one_stream() -> None:
    stream = io.BytesIO(pickle.dumps(1) + pickle.dumps("two"))
    assert [read_pickle(stream), read_pickle(stream)] == [1, "two"]


class Settings:
    def __init__(self) -> None:
        self.rate = 0.1


class Table(dict):  # type: ignore[type-arg]
    pass


class Items(list):  # type: ignore[type-arg]
    pass


@pytest.mark.parametrize("protocol", range(6))
def test_objects_of_any_class_become_inert_records(protocol: int) -> None:
    def read(value: Any) -> Any:
        return read_pickle(io.BytesIO(pickle.dumps(value, protocol)))

    assert read(Settings).name == "Settings"
    one = read(Settings())
    assert isinstance(one, Inert)
    assert one.state == {"rate": 0.1}
    assert "a" in str(read(Table(a=1)).items) + str(read(Table(a=1)).args)
    if protocol >= 2:
        assert read(Table(a=1)).items == {"a": 1}
        assert read(Items([1, 2])).elements == [1, 2]


class Bomb:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_call_in_the_file_is_recorded_not_made(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    data = pickle.dumps(Bomb(f"touch {canary}"))
    read = read_pickle(io.BytesIO(data))
    assert not canary.exists()
    assert read.origin == Global(os.system.__module__, "system")
    pickle.loads(data)
    assert canary.exists()  # the bomb is real


def test_no_setstate_no_getattr_no_builtins() -> None:
    for data in (
        b"cbuiltins\neval\n(S'1/0'\ntR.",
        b"(S'x'\ni__main__\nThing\n.",
        b"(cposix\nsystem\nS'x'\no.",
    ):
        assert isinstance(read_pickle(io.BytesIO(data)), Inert)
    # BUILD on a class would change it for everybody, were it real.
    assert read_pickle(io.BytesIO(b"cbuiltins\nlist\n}(S'x'\nK\x01ub.")) == Global("builtins", "list")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"K\x01",
        b"0.",
        b"t.",
        b"\x81.",
        b"h\x05.",
        b"}(K\x01u.",
        b"K\x01K\x02a.",
        b"\x82\x01.",
        b"Pid\n.",
        b"K\x01Q.",
        b"\x97.",
        b"X\xff\xff\xff\x7fabc.",
        b"\x8e" + b"\xff" * 8 + b".",
        b"\x8a\xff\x00.",
        b"I" + b"9" * 9000 + b"\n.",
        b"garbage",
        b"\xff\xfe\x00",
        b"}]K\x01s.",
        b"}" + b")" + b"\x85" * 30 + b"K\x01s.",
        b"cbuiltins\nset\nK\x01\x85R.",
        b"ctorch._utils\n_rebuild_tensor\n(K\x01K\x00))tR.",
    ],
)
def test_damaged_pickles_raise_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(PickleError):
        read_pickle(io.BytesIO(data))


def test_memo_indices_cost_nothing() -> None:
    assert read_pickle(io.BytesIO(b"K\x07r\xff\xff\xff\xff0j\xff\xff\xff\xff.")) == 7


def test_nesting_without_end_does_no_harm() -> None:
    deep = read_pickle(io.BytesIO(b")" + b"\x85" * 100_000 + b"."))
    assert isinstance(deep, tuple)
    del deep
    with pytest.raises(PickleError, match="nested 4 deep"):
        read_pickle(io.BytesIO(b"})" + b"\x85" * 100_000 + b"K\x01s."))


def test_copies_of_copies_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "pickle_instructions=1000")
    data = pickle.dumps(list(range(100)), 2)[:-1] + b"q\x66" + b"0cbuiltins\nlist\nh\x66\x85R" * 20 + b"."
    with pytest.raises(FairpruneError, match="copies values as if it has"):
        read_pickle(io.BytesIO(data))


def test_instructions_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "pickle_instructions=50")
    with pytest.raises(FairpruneError, match="at most 50 are read") as caught:
        read_pickle(io.BytesIO(b"N0" * 100 + b"N."))
    assert "FAIRPRUNE_LIMITS=pickle_instructions=100 " in caught.value.hint
    with pytest.raises(PickleError, match="more than 20"):
        read_pickle(io.BytesIO(b"N0" * 100 + b"N."), most=20)


def doubled(kind: bytes, times: int) -> bytes:
    """A value that holds the one before it twice, and so on: 2^times values by name."""
    return b"K\x01" + b"".join(b"q%c0(h%ch%c%s" % (k, k, k, kind) for k in range(1, times))


@pytest.mark.parametrize("data", [
    b"}" + doubled(b"t", 60) + b"Ns.",
    b"}(" + doubled(b"\x91", 60) + b"K\x02\x86Nu.",
    b"\x8f(" + doubled(b"t", 60) + b"\x90.",
    b"cbuiltins\nfrozenset\n](" + doubled(b"t", 60) + b"e\x85R.",
    b"}" + b"\x8a\x09\x01\x00\x00\x00\x00\x00\x00\x00\x01Ns.",
], ids=["tuples", "frozensets", "set", "call", "number"])  # fmt: skip
def test_keys_that_would_be_hashed_or_compared_without_end_are_refused(data: bytes) -> None:
    with pytest.raises(PickleError, match="keys"):
        read_pickle(io.BytesIO(data))


def test_thousands_of_keys_of_one_hash_are_refused() -> None:
    keys = b"".join(
        b"(" + b"".join(b"J\xff\xff\xff\xff" if k >> bit & 1 else b"J\xfe\xff\xff\xff" for bit in range(14)) + b"tN"
        for k in range(6000)
    )
    with pytest.raises(PickleError, match="more than 5000 keys"):
        read_pickle(io.BytesIO(b"}(" + keys + b"u."))
    assert len(read_pickle(io.BytesIO(b"}(" + keys[: len(keys) // 6000 * 50] + b"u."))) == 50


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_pickle_error(data: bytes) -> None:
    with contextlib.suppress(PickleError):  # any other error fails the test
        read_pickle(io.BytesIO(b"\x80\x02" + data))


def test_numbers_that_no_message_could_say_are_refused() -> None:
    with pytest.raises(PickleError, match="more than 1024 bits"):
        read_pickle(io.BytesIO(pickle.dumps({"kernel_size": 1 << 800_000}, 2)))
    assert read_pickle(io.BytesIO(pickle.dumps([1 << 1000, -(1 << 1000)], 2))) == [1 << 1000, -(1 << 1000)]
