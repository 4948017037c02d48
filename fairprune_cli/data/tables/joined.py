"""Several tables, one per split, as one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import Problems
from fairprune_cli.data.tables.table import TextTable, read_table


def read_tables(
    folder: Path, tables: Mapping[str, str], problems: Problems, wanted: Sequence[str] | None = None
) -> tuple[TextTable, list[str]] | None:
    """The tables one below the other, with the columns that all of them have, and the split of each record.

    Args:
        tables: split -> path below `folder`; wanted: as for `read_table`.
    """
    read: dict[str, TextTable] = {}
    for split, path in tables.items():
        table = read_table(folder / path, problems, wanted)
        if table is not None:
            read[split] = table
    if not tables or len(read) < len(tables):
        return None
    parts = list(read.values())
    paths = list(tables.values())
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        names = paths  # train/metadata.csv and test/metadata.csv
    header = tuple(name for name in parts[0].header if all(name in part.header for part in parts[1:]))
    held = [name for name in header if all(name in part.columns for part in parts)]
    digest = hashlib.sha256("\0".join(f"{split} {part.sha256}" for split, part in read.items()).encode())
    joined = TextTable(
        " and ".join(names),
        header,
        {name: [cell for part in parts for cell in part.columns[name]] for name in held},
        np.concatenate([part.rows for part in parts]),
        digest.hexdigest(),
        tuple(name for name, part in zip(names, parts, strict=True) for _ in range(len(part.rows))),
    )
    return joined, [split for split, part in read.items() for _ in range(len(part.rows))]
