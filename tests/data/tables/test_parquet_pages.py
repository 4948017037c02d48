"""Sizes of pages out of a file's metadata and their headers, against what another reader says of the same file."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest

from fairprune_cli.data.tables.parquet_pages import page_sizes

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
written = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
COLUMNS = {"file": [f"{i}.png" for i in range(4000)], "a.b": ["x", None] * 2000, "n": list(range(4000))}


def packed(**how: Any) -> bytes:
    stream = io.BytesIO()
    written.write_table(arrow.table({**COLUMNS, "box": [[1, 2]] * 4000}), stream, **how)
    return stream.getvalue()


@pytest.mark.parametrize(
    "how",
    [{}, {"row_group_size": 999}, {"data_page_size": 400}, {"use_dictionary": False, "compression": "none"},
     {"data_page_version": "2.0", "compression": "zstd"}, {"write_page_index": True, "write_page_checksum": True}],
)  # fmt: skip
def test_pages_add_up_to_what_the_columns_take_but_for_their_headers(how: dict[str, Any]) -> None:
    data = packed(**how)
    sizes: Counter[str] = Counter()
    pages: Counter[str] = Counter()
    for name, size in page_sizes(data, set(COLUMNS)):
        sizes[name] += size
        pages[name] += 1
    metadata = written.ParquetFile(io.BytesIO(data)).metadata
    for i, name in enumerate(COLUMNS):
        parts = [metadata.row_group(g).column(i) for g in range(metadata.num_row_groups)]
        total = sum(part.total_uncompressed_size for part in parts)
        assert 0 < total - sizes[name] < 120 * pages[name]
        assert pages[name] >= len(parts)
    assert set(sizes) == set(COLUMNS)


def test_metadata_that_is_cut_short_is_an_error() -> None:
    data = packed()
    with pytest.raises(ValueError, match="cut short"):
        list(page_sizes(data[-300:], {"file"}))
    with pytest.raises(ValueError, match="columns"):
        list(page_sizes(b"PAR1\x00\x01\x00\x00\x00PAR1", {"file"}))
