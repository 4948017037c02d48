"""FairFace (Kärkkäinen and Joo 2021): fairface_label_train.csv and fairface_label_val.csv, with train/ and val/.

Columns are file, age (bands), gender, race and service_test. The published validation images are the test split; a
tenth of the training images, drawn by label from the seed 0, is val.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import Problems
from fairprune_cli.data.dataset_format import (
    Source,
    Suggestion,
    below,
    column_called,
    evenly_chosen,
    first_file,
    missing_column,
)
from fairprune_cli.data.tables.table import TextTable, read_table

FILES = {"train": "fairface_label_train.csv", "test": "fairface_label_val.csv"}
# In the order of years, which sorting as text would not give.
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
VAL_SHARE = 0.1
_BASES = ("", "fairface", "FairFace", "labels")


def recognise(root: Path) -> bool:
    return any(_path(root, name) is not None for name in FILES.values())


def suggest(root: Path) -> Suggestion:
    problems = Problems(str(root))
    source = read(root, ("gender", "race", "age"), problems)
    problems.raise_if_any()
    assert source is not None
    sample = evenly_chosen(root, source.files)
    return Suggestion("gender", (("race", "{column: race}"), ("age", "{column: age}")), sample, "gender, race or age")


def read(root: Path, wanted: Collection[str], problems: Problems) -> Source | None:
    tables: dict[str, TextTable] = {}
    digest = hashlib.sha256()
    for split, name in FILES.items():
        path = _path(root, name)
        if path is None:
            problems.add(f"{name} is not in {str(root)!r}", "missing-table", name)
            continue
        table = read_table(path, problems)
        if table is not None:
            tables[split] = table
            digest.update(table.sha256.encode())
    if len(tables) < len(FILES):
        return None
    files: list[str] = []
    columns: dict[str, list[str]] = {name: [] for name in wanted}
    splits: list[str] = []
    for split, table in tables.items():
        named = table.column("file", "the images", problems)
        for name in wanted:
            found = column_called(name, table.header)
            if found is None:
                missing_column(name, "of FairFace", table.name, table.header, problems)
                columns.pop(name, None)
            elif name in columns:
                columns[name] += table.columns[found]
        files += named or []
        splits += [split] * len(table.rows)
    if len(files) < len(splits):
        return None
    folder = _folder(root, files)
    usual = {name: {age: age for age in AGES} for name in columns if column_called(name, ("age",))}
    return Source(
        " and ".join(FILES.values()), [below(folder, name) for name in files], columns,
        np.concatenate([table.rows for table in tables.values()]), next(iter(tables.values())).header,
        digest.hexdigest(), usual, splits=splits, val_share=VAL_SHARE,
    )  # fmt: skip


def _path(root: Path, name: str) -> Path | None:
    return first_file(root, [below(base, name) for base in _BASES])


def _folder(root: Path, files: list[str]) -> str:
    """The folder in which the first image lies: the root, or what the archive was unpacked into."""
    inner = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    return next((name for name in ("", *inner) if files and (root / below(name, files[0])).is_file()), "")
