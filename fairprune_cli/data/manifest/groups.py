"""From the cells of a column to groups or classes: named, binned, or as they stand; what does not fit is a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairprune_cli.core.errors import Problems
from fairprune_cli.core.printable import is_printable
from fairprune_cli.data.manifest.columns import AttributeSpec
from fairprune_cli.data.tables.codes import bin_names, encode, encode_bins, occurring, some_rows
from fairprune_cli.data.tables.spellings import alike_names
from fairprune_cli.data.tables.table import SHOWN

_MOST = 100


@dataclass(frozen=True, eq=False)
class SourceColumn:
    """A column's cells [N] with where they stand; `usual` names the values of a data set with published codes."""

    cells: Sequence[str]
    table: str
    rows: Sequence[int]
    usual: Mapping[str, str] | None = None


def coded(
    spec: AttributeSpec, column: SourceColumn, problems: Problems, warnings: list[str], chosen: Sequence[str] = ()
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the groups, and int64 [N], the position of each cell among them, -1 where there is none.

    Args:
        chosen: `classes` of the manifest, which fix the names' order; () for an attribute.
        warnings: what is odd about the names is added, as that two of them may be one.
    """
    names, index = _coded(spec, column, problems, warnings, chosen)
    warnings += alike_names(spec.name, names, index)
    return names, index


def _coded(
    spec: AttributeSpec, column: SourceColumn, problems: Problems, warnings: list[str], chosen: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    wanted = tuple(chosen) or spec.values
    if spec.bins is not None:
        names = tuple(spec.names.values()) if spec.names else bin_names(spec.bins)
        index = encode_bins(column.cells, spec.bins, spec.name, column.table, column.rows, problems)
        return _ordered(names, wanted, index, spec, problems)
    names_of = spec.names or _usual(spec, column, wanted, warnings)
    if names_of is None:
        groups = wanted if wanted is not None else occurring(column.cells)
        if not _sound(groups, spec, column, problems, checked=wanted is not None):
            return (), np.full(len(column.cells), -1, dtype=np.int64)
        return groups, _encode(spec, column, groups, problems)
    # Cells that are named, and, where the groups are listed, cells that are a group's name already.
    cells = [*names_of, *(name for name in wanted or () if name not in names_of)]
    targets = tuple(dict.fromkeys(names_of.get(cell, cell) for cell in cells))
    if wanted is None and not spec.names:
        # Names that are usual but do not occur, as a race that a part of the data lacks, are no groups.
        held = set(column.cells)
        targets = tuple(dict.fromkeys(names_of[cell] for cell in cells if cell in held))
    place = {name: i for i, name in enumerate(targets)}
    lookup = np.array([place.get(names_of.get(cell, cell), -1) for cell in cells] + [-1], dtype=np.int64)
    return _ordered(targets, wanted, lookup[_encode(spec, column, cells, problems)], spec, problems)


def _encode(spec: AttributeSpec, column: SourceColumn, known: Sequence[str], problems: Problems) -> np.ndarray:
    missing = None if spec.name == "label" else -1
    return encode(column.cells, known, spec.name, column.table, column.rows, problems, missing=missing)


def _usual(
    spec: AttributeSpec, column: SourceColumn, wanted: Sequence[str] | None, warnings: list[str]
) -> Mapping[str, str] | None:
    """The published names, unless the manifest speaks of the codes themselves or has names of its own."""
    usual = column.usual
    if usual is None or wanted is None or set(wanted) <= set(usual.values()):
        return usual
    if set(wanted) <= set(usual):
        return None
    if len(wanted) == len(usual) and not set(wanted) & (set(usual) | set(usual.values())):
        pairs = ", ".join(f"{code} = {name}" for code, name in zip(usual, wanted, strict=True))
        warnings.append(f"{spec.name}: the names are taken in the order of {spec.column}'s codes: {pairs}")
        return dict(zip(usual, wanted, strict=True))
    return usual


def _ordered(
    names: tuple[str, ...],
    wanted: Sequence[str] | None,
    index: np.ndarray,
    spec: AttributeSpec,
    problems: Problems,
) -> tuple[tuple[str, ...], np.ndarray]:
    """The same groups in the order that the manifest wants; a group that it leaves out is a problem."""
    if wanted is None or tuple(wanted) == names:
        return names, index
    absent = [name for name in names if name not in wanted]
    if absent:
        problems.add(
            f"{spec.name}: {', '.join(map(repr, absent))} is not among the names that are listed: {', '.join(wanted)}",
            "unknown-value",
        )
    order = np.array([wanted.index(name) if name in wanted else -1 for name in names] + [-1], dtype=np.int64)
    return tuple(wanted), order[index]


def _sound(groups: Sequence[str], spec: AttributeSpec, column: SourceColumn, problems: Problems, checked: bool) -> bool:
    place = f"{column.table}: {spec.name}"
    if not groups:
        problems.add(f"{place}: every cell is empty", "empty-column")
        return False
    if not checked and (odd := [value for value in groups if not is_printable(value)]):
        for value in odd[:SHOWN]:
            at = [row for row, cell in zip(column.rows, column.cells, strict=True) if cell == value]
            text = f"{some_rows(column.table, at)}: {spec.name} {value[:60]!r} is a name that cannot be printed"
            problems.add(text, "unprintable", column.table, at[0])
        return False
    if not checked and len(groups) > _MOST:
        text = f"{place}: {len(groups):,} distinct values: name `values`, or `bins` for numbers"
        problems.add(text, "too-many-values")
        return False
    if not checked and (joined := [value for value in groups if "*" in value]):
        problems.add(f"{place} {joined[0]!r}: a group's name must not contain `*`", "unknown-value")
    return True
