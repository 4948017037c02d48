"""Parquet: every kind of column as text, without threads, and nothing unpacked beyond the bounds."""

from __future__ import annotations

import datetime
import io
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairprune_cli.core.errors import Problems
from fairprune_cli.data.tables.parquet import parquet_cells

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
written = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


def packed(table: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    written.write_table(table if isinstance(table, arrow.Table) else arrow.table(table), stream, **how)
    return stream.getvalue()


def read(data: bytes, wanted: tuple[str, ...] | None = None) -> tuple[Any, list[str]]:
    problems = Problems("t")
    return parquet_cells("t.parquet", data, problems, wanted), problems.texts


def test_every_kind_of_column_is_text() -> None:
    def two(values: list[Any], kind: Any) -> Any:
        return arrow.array(values * 3, kind)

    table = {
        "string": two(["a ", None], arrow.string()), "large": two(["a", None], arrow.large_string()),
        "view": two(["a", None], arrow.string_view()), "binary": two([b"a", None], arrow.binary()),
        "large_binary": two([b" a", None], arrow.large_binary()), "binary_view": two([b"a", None], arrow.binary_view()),
        "fixed": two([b"a", None], arrow.binary(1)), "category": two(["a", None], arrow.string()).dictionary_encode(),
    }  # fmt: skip
    found, faults = read(packed(table))
    assert faults == []
    assert found[2] == 6
    assert found[1] == dict.fromkeys(table, ["a", ""] * 3)


def test_numbers_dates_and_truth_are_written_as_a_csv_would_have_them() -> None:
    day = datetime.date(2024, 9, 3)
    found, _ = read(packed({
        "whole": [3, None], "gaps": [3.0, float("nan")], "part": [0.25, -1e-7], "yes": [True, None],
        "dec": [Decimal("1.50"), None], "day": [day, None], "code": np.array([1, -1], np.int8), "none": [None, None],
        "e\u0301": [b"e\xcc\x81", b"e"],
    }))  # fmt: skip
    assert found[1] == {
        "whole": ["3", ""], "gaps": ["3", "nan"], "part": ["0.25", "-1e-07"], "yes": ["True", ""], "dec": ["1.50", ""],
        "day": ["2024-09-03", ""], "code": ["1", "-1"], "none": ["", ""], "é": ["é", "e"],
    }  # fmt: skip


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("coded", [False, True])
def test_short_numbers_are_what_was_written(kind: Any, coded: bool) -> None:
    column = arrow.array(np.array([0.1, 2.0, 33.3, -0.5], kind))
    found, faults = read(packed({"x": column.dictionary_encode() if coded else column}))
    assert faults == []
    assert found[1]["x"] == ["0.1", "2", "33.3", "-0.5"]


def test_kinds_that_python_or_a_dictionary_cannot_hold_are_text_too() -> None:
    fine = arrow.array([1, None, 3_000_000_000], arrow.timestamp("ns"))
    found, faults = read(packed({
        "ns": fine, "wait": arrow.array([1, None, 3], arrow.duration("s")),
        "half": arrow.array(np.array([1, np.nan, 1.5], np.float16)), "none": arrow.nulls(3),
    }))  # fmt: skip
    assert faults == []
    assert [cell[:19] for cell in found[1]["ns"]] == ["1970-01-01 00:00:00", "", "1970-01-01 00:00:03"]
    assert found[1]["wait"] == ["0:00:01", "", "0:00:03"]
    assert found[1]["half"] == ["1", "nan", "1.5"]
    assert found[1]["none"] == [""] * 3


def test_parts_pages_and_encodings_give_the_same_cells() -> None:
    rng = np.random.default_rng(0)
    cells = [f"{i}.png" if i % 3 else "same" for i in rng.integers(0, 500, 5000)]
    for how in (
        {}, {"row_group_size": 700}, {"use_dictionary": False, "compression": "zstd"}, {"data_page_version": "2.0"},
        {"data_page_size": 500, "dictionary_pagesize_limit": 900}, {"compression": "none", "write_page_index": True},
        {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
        {"use_dictionary": False, "column_encoding": "DELTA_LENGTH_BYTE_ARRAY"}, {"write_page_checksum": True},
    ):  # fmt: skip
        found, faults = read(packed({"file": cells, "other": cells[::-1]}, **how), ("file",))
        assert faults == []
        assert found == (("file", "other"), {"file": cells}, 5000)


def test_bytes_that_are_no_text_are_named_with_their_row() -> None:
    found, faults = read(packed({"file": [b"a", b"b", b"\xff\xd8", b"a"]}, row_group_size=2))
    assert found is None
    assert faults == [r"t.parquet row 3: b'\xff\xd8' is not UTF-8 text"]


def test_lists_and_structs_are_left_aside_or_refused_where_they_are_asked_for() -> None:
    data = packed({"file": ["a"], "image": [{"bytes": b"\xff", "path": "a"}], "box": [[1, 2]]})
    assert read(data)[0] == (("file",), {"file": ["a"]}, 1)
    assert read(data, ("file",))[0][1] == {"file": ["a"]}
    assert "column 'box' holds lists or structs" in read(data, ("file", "box"))[1][0]


def test_doubled_names_of_columns_are_refused() -> None:
    table = arrow.Table.from_arrays([arrow.array(["a"]), arrow.array(["b"])], names=["x", "x "])
    assert "column names stand twice: 'x'" in read(packed(table))[1][0]


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "brotli"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_a_page_that_unfolds_too_far_is_refused_before_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch, compression: str, dictionary: bool
) -> None:
    data = packed({"file": ["a"], "big": ["x" * (8 << 20)]}, compression=compression, use_dictionary=dictionary)
    assert len(data) < 1 << 20
    monkeypatch.setenv("FAIRPRUNE_LIMITS", f"parquet_page_bytes={4 << 20}")
    pool = arrow.default_memory_pool()
    taken: list[int] = []
    monkeypatch.setattr(written.ParquetFile, "read", lambda *_, **__: taken.append(pool.bytes_allocated()))
    found, faults = read(data)
    assert found is None
    assert taken == []
    assert "column 'big' has a page that unfolds to 8 MiB; at most 4 are read" in faults[0]
    monkeypatch.undo()
    assert read(data, ("file",))[0][1] == {"file": ["a"]}


def test_many_pages_together_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed({"big": ["x" * 1000] * 20_000}, use_dictionary=False, data_page_size=1000)
    monkeypatch.setenv("FAIRPRUNE_LIMITS", f"parquet_bytes={10 << 20}")
    assert "its columns unfold to 19 MiB; at most 10 are read" in read(data)[1][0]
    monkeypatch.undo()
    assert read(data)[1] == []


def test_a_long_text_in_many_rows_is_held_once() -> None:
    places = arrow.array(np.zeros(20_000, np.int32))
    column = arrow.DictionaryArray.from_arrays(places, arrow.array(["x" * 1_000_000]))
    found, faults = read(packed({"file": column}, store_schema=False))  # 20 GB if each row had its own
    assert faults == []
    assert len({id(cell) for cell in found[1]["file"]}) == 1


def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed({"file": ["a"] * 100, "b": ["b"] * 100})
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "table_rows=99")
    assert "has 100 table rows; at most 99 are read; if you trust" in read(data)[1][0]
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "table_cells=199")
    assert "has 200 table cells; at most 199 are read" in read(data)[1][0]
    assert read(data, ("file",))[1] == []


def test_too_many_columns_are_refused_at_once() -> None:
    data = packed({f"c{i}": ["x"] for i in range(12_000)})
    before = time.perf_counter()
    assert "has more than 10,000 columns" in read(data, ("c1",))[1][0]
    assert time.perf_counter() - before < 1


def test_damage_anywhere_is_a_sentence() -> None:
    data = packed({"file": [f"{i}.png" for i in range(300)], "g": ["a", "b", None] * 100}, compression="zstd")
    rng = np.random.default_rng(1)
    for _ in range(300):
        spoilt = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            spoilt[at] = rng.integers(0, 256)
        end = rng.integers(4, len(data)) if rng.random() < 0.2 else len(data)
        found, faults = read(bytes(spoilt)[:end])
        assert (found is None) == bool(faults)
        assert all("\n" not in text for text in faults)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_no_thread_is_left_to_abort_the_interpreter(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(packed({"file": ["a", "b"] * 5000, "g": [1, None] * 5000}, row_group_size=500))
    code = (
        "import os, sys, pyarrow.parquet\nfrom pathlib import Path\n"
        "from fairprune_cli.core.errors import Problems\n"
        "from fairprune_cli.data.tables.table import read_table\nbefore = len(os.listdir('/proc/self/task'))\n"
        "assert read_table(Path(sys.argv[1]), Problems('')) is not None\n"
        "print(len(os.listdir('/proc/self/task')) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "t.parquet"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "0")
