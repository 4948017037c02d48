"""Guesses for `data init`: what a table or a folder of images seems to be."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.tables.codes import occurring
from fairprune_cli.data.tables.folders import list_folder, subfolders
from fairprune_cli.data.tables.split_words import split_of
from fairprune_cli.data.tables.table import IMAGE_SUFFIXES, MISSING, TextTable, read_table

_IMAGE_NAMES = ("file", "image", "path", "filename", "file_name", "image_path", "image_id", "img")
_LABEL_NAMES = ("label", "class", "target", "expression", "y", "category", "diagnosis")
_SPLIT_COLUMNS = ("split", "partition", "subset", "set", "fold")
_PERSON_NAMES = ("person", "person_id", "identity", "subject", "subject_id", "patient", "patient_id")
_MOST_GROUPS = 12


@dataclass(frozen=True)
class Guess:
    """What a table or folder seems to be; `lines` is the manifest without name, attributes and transform."""

    lines: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]  # name and the text behind it
    base: Path  # folder that the manifest is written into; its paths are relative to it
    sample: tuple[Path, ...]  # a few image files, for the size


def guess(path: Path, base: Path | None) -> Guess:
    """Recognise a table, a published data set, a folder that holds a table, or class folders.

    Args:
        base: folder of the manifest to be; beside the table or in the folder when None.

    Raises:
        FairpruneError: nothing is recognised; the message says what is needed.
    """
    if path.is_file():
        return _guess_table(path, base or path.parent)
    if not path.is_dir():
        raise FairpruneError("no such file or folder", where=str(path))
    formats, faults = plugins.DATASET_FORMAT.load_sound()
    for name, module in formats.items():
        if module.recognise(path):
            return _guess_native(name, path, base or path)
    for fault in faults:
        raise fault  # it may have been one of theirs
    tables = [p for p in sorted(path.iterdir()) if p.suffix.lower() in (".csv", ".tsv", ".parquet", ".pq")]
    tables.sort(key=lambda p: p.stem.lower() != "table")
    for table in tables:
        columns = read_table(table, Problems(str(table)))
        if columns is not None and _image_column(columns) and _column(columns, _LABEL_NAMES):
            return _guess_table(table, base or path)
    return _guess_folder(path, base or path)


def _guess_native(name: str, path: Path, base: Path) -> Guess:
    found = plugins.DATASET_FORMAT.load(name).suggest(path)
    remark = f"  # what is to be predicted; {found.remark}" if found.remark else "  # what is to be predicted"
    lines = [f"format: {name}", f"root: {quoted(_relative(path, base))}", f"label: {quoted(found.label)}{remark}"]
    return Guess(tuple(lines), found.attributes, base, found.sample)


def _guess_folder(path: Path, base: Path) -> Guess:
    problems = Problems(str(path))
    listing = list_folder(path, problems)
    problems.raise_if_any("give a table (CSV or Parquet) with a column of image files, or class folders")
    assert listing is not None
    root = quoted(_relative(path, base))
    lines = ["format: folder", f"root: {root}  # root/class/image or root/split/class/image"]
    lines += _class_lines(tuple(sorted(set(listing.labels))))
    if listing.splits is None:
        lines += _fraction_lines(False)
    sample = tuple(path / name for name in listing.files[:: max(1, len(listing.files) // 20)])
    return Guess(tuple(lines), (), base, sample)


def _guess_table(path: Path, base: Path) -> Guess:
    problems = Problems(str(path))
    table = read_table(path, problems)
    problems.raise_if_any()
    assert table is not None
    image = _image_column(table)
    if image is None:
        raise FairpruneError("no column names image files", where=str(path), hint=_columns_hint(table))
    split = _column(table, _SPLIT_COLUMNS) or next(iter(table.header), "")
    if not all(split_of(cell) is not None for cell in table.columns[split]):
        split = ""
    person = _column(table, _PERSON_NAMES) or ""
    low = {
        name: occurring(table.columns[name])
        for name in table.header
        if name not in (image, split, person, "") and 2 <= len(set(table.columns[name])) <= _MOST_GROUPS
    }
    label = _column(table, _LABEL_NAMES) or next(iter(low), "")
    classes = occurring(table.columns[label]) if label else ()
    if not 2 <= len(classes) <= 1000 or len(classes) > len(table.rows) // 2:
        raise FairpruneError("no column looks like the label", where=str(path), hint=_columns_hint(table))
    root, sample = _image_root(path.parent, table.columns[image])
    mapped = [("image", image), ("label", label), ("split", split), ("person", person)]
    shown = ", ".join(f"{key}: {quoted(column)}" for key, column in mapped if column)
    root = _relative(path.parent / root, base)
    lines = [f"table: {quoted(_relative(path, base))}", f"images: {quoted(root)}  # root of the image paths"]
    lines += [f"columns: {{{shown}}}", *_class_lines(classes)]
    if not split:
        lines += _fraction_lines(bool(person))
    attributes = []
    for name in table.header:
        if name == label or "*" in name:
            continue
        if name in low:
            text = f"{{column: {quoted(name)}, values: [{', '.join(map(quoted, low[name]))}]}}"
            attributes.append((name, text))
        elif name.lower() in ("age", "age_years") and (edges := _age_edges(table.columns[name])):
            attributes.append((name, f"{{column: {quoted(name)}, bins: [{', '.join(edges)}]}}  # [a, b)"))
    return Guess(tuple(lines), tuple(attributes), base, sample)


def _relative(path: Path, base: Path) -> str:
    return os.path.relpath(path, base).replace(os.sep, "/")


def _columns_hint(table: TextTable) -> str:
    return "write the manifest by hand; the columns are " + ", ".join(map(repr, table.header))


def _column(table: TextTable, names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(table.header)}
    return next((lower[name] for name in names if name in lower), None)


def _image_column(table: TextTable) -> str | None:
    def share(name: str) -> float:
        cells = table.columns[name][:1000]
        return sum(cell.lower().endswith(IMAGE_SUFFIXES) for cell in cells) / len(cells)

    likely = [name for name in table.header if share(name) >= 0.9]
    named = [name for name in likely if name.lower() in _IMAGE_NAMES]
    return next(iter(named or likely), None)


def _image_root(base: Path, files: Sequence[str]) -> tuple[str, tuple[Path, ...]]:
    probe = [name for name in files[:: max(1, len(files) // 20)] if "\0" not in name]
    for folder in [".", *(name for name in subfolders(base))]:
        present = tuple(base / folder / name for name in probe if (base / folder / name).is_file())
        if 2 * len(present) > len(probe):
            return folder, present
    return ".", ()


def _age_edges(cells: Sequence[str]) -> list[str]:
    try:
        numbers = np.array([float(cell) for cell in cells if cell.lower() not in MISSING])
    except ValueError:
        return []
    if len(numbers) == 0 or not np.isfinite(numbers).all() or numbers.min() < 0 or numbers.max() > 120:
        return []
    edges = [0, 30, 60, 120]
    held = [a for a, b in itertools.pairwise(edges) if ((numbers >= a) & (numbers < b)).any()]
    return [str(a) for a in held] + ["120"] if len(held) > 1 and held[0] == 0 else []


def _class_lines(classes: Sequence[str]) -> list[str]:
    return [f"classes: [{', '.join(map(quoted, classes))}]  # in the order of the model's outputs: check it"]


def _fraction_lines(by_person: bool) -> list[str]:
    by = ", by: person" if by_person else ""
    note = "no person stands in two splits" if by_person else "drawn by class from the seed"
    return [f"splits: {{train: 0.7, val: 0.15, test: 0.15, seed: 0{by}}}  # {note}"]


def quoted(text: str) -> str:
    """`text` as a YAML scalar, in quotes unless it is a plain word or number."""
    if text.lower() != "null" and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*|\.", text):
        return text
    quoted_text = json.dumps(text, ensure_ascii=False)
    return "".join(mark if mark.isprintable() else f"\\U{ord(mark):08x}" for mark in quoted_text)
