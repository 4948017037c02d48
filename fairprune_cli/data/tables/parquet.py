"""Columns of a Parquet file as text, read without threads and within bounds that are known before anything is unpacked.

Arrow's own threads may still run when a short command ends, and the interpreter then aborts: its exit code is lost. A
column is read as its distinct values and their places, so a long text in a million rows is held once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fairprune_cli.core.errors import Problems
from fairprune_cli.core.limits import how_to_raise, limit, refusal
from fairprune_cli.core.printable import tidy
from fairprune_cli.data.tables.parquet_pages import Stored, page_sizes


def parquet_cells(
    name: str, data: bytes, problems: Problems, wanted: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, list[str]], int] | None:
    """Names of the columns, the cells of those wanted, and the number of rows; None after noting what is wrong.

    Args:
        name: of the file, for messages; data: its bytes.
        wanted: columns to read; None for all but those that hold lists or structs, which are not named then either.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet
    except ImportError:
        text = f"{name} is Parquet, which needs `pip install pyarrow`; or save it as CSV"
        problems.add(text, "bad-table", name)
        return None
    buffer = arrow.BufferReader(data)
    try:
        source = opened_parquet(buffer)
        schema = source.schema_arrow
        known = tuple(tidy(column) for column in schema.names)
        names = [raw for raw, column in zip(schema.names, known, strict=True) if wanted is None or column in wanted]
        if wanted is None:
            names = [field.name for field in schema if not arrow.types.is_nested(field.type)]
            known = tuple(tidy(raw) for raw in names)
        fault = _fault(source.metadata.num_rows, schema, names, known, data)
        if fault:
            problems.add(f"{name}: {fault}", "bad-table", name)
            return None
        table = _read(data, names)
        columns = {tidy(raw): _texts(table.column(raw)) for raw in names}
        return known, columns, source.metadata.num_rows
    except _NotText as error:
        problems.add(f"{name} row {error.row}: {error}", "not-utf-8", name, error.row)
    except (arrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = (str(error).splitlines() or ["it takes more memory than there is"])[0]
        text = f"{name} is not a readable Parquet file: {reason}"
        if "Exceeded size limit" in reason:
            text = f"{name} {too_many_columns()}; write those alone that the manifest names"
        problems.add(text, "bad-table", name)
    return None


def opened_parquet(source: Any, **options: Any) -> Any:
    """A Parquet file of which the metadata alone is read, within the limit `table_columns`.

    Args:
        source: path or buffer; options: of pyarrow's ParquetFile.

    Raises:
        arrow.ArrowException, OSError: it is damaged, or has more columns or parts.
    """
    import pyarrow.parquet

    # As many columns as there may be, and one for the schema's root; Thrift refuses the rest before it reads it.
    return pyarrow.parquet.ParquetFile(source, thrift_container_size_limit=limit("table_columns") + 1, **options)


def too_many_columns() -> str:
    """What is wrong with a file that `opened_parquet` refuses with "Exceeded size limit"."""
    most = limit("table_columns")
    return (
        f"has more than {most:,} columns or parts, the limit table_columns; {how_to_raise(10 * most, 'table_columns')}"
    )


def _read(data: bytes, names: list[str]) -> Any:
    import pyarrow as arrow

    try:
        source = opened_parquet(arrow.BufferReader(data), read_dictionary=names)
        return source.read(columns=names, use_threads=False)
    except (arrow.ArrowNotImplementedError, OSError):  # some encodings have no way to distinct values
        return opened_parquet(arrow.BufferReader(data)).read(columns=names, use_threads=False)


def _fault(rows: int, schema: Any, names: Sequence[str], known: Sequence[str], data: bytes) -> str:
    """Why the columns cannot be read, in words; "" where they can."""
    from pyarrow import types

    times = Counter(known)
    if doubled := sorted({tidy(name) for name in names if times[tidy(name)] > 1}):
        return f"column names stand twice: {', '.join(map(repr, doubled))}"
    wanted = set(names)
    for field in schema:
        if field.name in wanted and types.is_nested(field.type):
            return f"column {field.name!r} holds lists or structs, and no text"
    return unfolds_too_far(rows, wanted, data)


def unfolds_too_far(rows: int, wanted: Collection[str], data: Stored, whole: bool = True) -> str:
    """Which limit the wanted columns of a Parquet file exceed, in words, before they are unpacked; "" for none.

    Args:
        rows: of the file; data: its bytes.
        whole: whether all rows are going to be held at once, and not some at a time.

    Raises:
        ValueError: as `page_sizes`.
    """
    unpacked, page = 0, limit("parquet_page_bytes")
    for column, size in page_sizes(data, wanted):
        unpacked += size
        if size > page:
            return (
                f"column {column!r} has a page that unfolds to {size >> 20:,} MiB; at most {page >> 20:,} are read: "
                f"write it with smaller pages; {how_to_raise(size, 'parquet_page_bytes')}"
            )
    if over := refusal(rows, "table_rows"):
        return over
    if not whole:
        return ""
    if unpacked > (most := limit("parquet_bytes")):
        return (
            f"its columns unfold to {unpacked >> 20:,} MiB; at most {most >> 20:,} are read; "
            f"{how_to_raise(unpacked, 'parquet_bytes')}"
        )
    return refusal(rows * len(wanted), "table_cells")


class _NotText(ValueError):
    """Bytes that are no UTF-8, and the row, from 1, that holds them."""

    def __init__(self, text: str, row: int) -> None:
        super().__init__(text)
        self.row = row


def _texts(column: Any) -> list[str]:
    """The cells of a column as text, "" where there is none."""
    cells: list[str] = []
    for chunk in column.chunks:
        chunk.validate(full=True)  # a damaged file may hold places that there are not
        values, places = _distinct(chunk)
        values = shortest_decimals(values, chunk.type)
        texts = []
        for code, value in enumerate(values):
            try:
                texts.append(cell_text(value))
            except UnicodeDecodeError:
                row = int(np.argmax(places == code)) + len(cells) + 1
                raise _NotText(f"{value[:20]!r} is not UTF-8 text", row) from None
        cells += np.array([*texts, ""], object)[places].tolist()  # none is the last
    return cells


def _distinct(chunk: Any) -> tuple[list[Any], np.ndarray]:
    """The distinct values of a chunk, and which of them each cell has, -1 for none (int64 [n]).

    Kinds that cannot be told apart count each.
    """
    import pyarrow as arrow

    try:
        coded = chunk if arrow.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        places = coded.indices.cast(arrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        return coded.dictionary.to_pylist(), places
    except (arrow.ArrowNotImplementedError, ValueError):  # times below a microsecond among them
        try:
            values = chunk.to_pylist()
        except ValueError:
            values = chunk.cast(arrow.string()).to_pylist()
        return values, np.arange(len(values))


def shortest_decimals(values: list[Any], kind: Any) -> list[Any]:
    """Numbers of 16 and 32 bits as they were written: the float32 nearest to .1 is .1, and not 0.10000000149."""
    import pyarrow as arrow

    kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
    narrow = {arrow.float16(): np.float16, arrow.float32(): np.float32}.get(kind)
    return values if narrow is None else [None if value is None else float(str(narrow(value))) for value in values]


def cell_text(value: object) -> str:
    """A cell as text; a whole number that is kept as a float, as of a column with gaps, is a whole number."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return tidy(value.decode("utf-8"))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return tidy(str(value))
