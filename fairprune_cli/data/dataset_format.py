"""What a format gives: the images and columns of a data set in its published layout.

A format is a module with

- `read(root, wanted, problems) -> Source | None`: the rows as text; faults go to `problems`;
- `recognise(root) -> bool`: whether a folder has this layout, from a few names in it;
- `suggest(root) -> Suggestion`: label and attributes for a first manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import Problems, nearest
from fairprune_cli.data.tables.table import is_missing, plain_name

Fractions = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Source:
    """N images with their columns, still as text.

    Attributes:
        table: file that the rows stand in, for messages; rows: int64 [N], the line of each, 0 for none.
        files: paths below the root, [N].
        columns: those that were asked for (`read`'s wanted), each [N].
        known: every column that there is, for messages.
        usual: names of a column's published codes, {column: {code: name}}.
        scores: columns of real numbers whose sign says yes or no, unless they are binned.
        splits, persons: [N] each; None where the data set has none.
        fractions: splits where the data set has none, and whether persons stay whole in them.
        val_share: share of the train rows that become val, where the data set has no val split.
        digest: of everything that was read.
    """

    table: str
    files: list[str]
    columns: Mapping[str, list[str]]
    rows: np.ndarray
    known: tuple[str, ...]
    digest: str
    usual: Mapping[str, Mapping[str, str]]
    scores: frozenset[str] = frozenset()
    splits: list[str] | None = None
    persons: list[str] | None = None
    fractions: Fractions | None = None
    by_person: bool = False
    val_share: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suggestion:
    """For `data init`: the column to predict, attributes with the text behind them, and some images."""

    label: str
    attributes: tuple[tuple[str, str], ...]
    sample: tuple[Path, ...]
    remark: str = ""


def column_called(name: str, known: Collection[str]) -> str | None:
    """The column that `name` means: itself, or the one that differs in case, spaces, hyphens and underscores alone."""
    if name in known:
        return name
    alike = [column for column in known if plain_name(column) == plain_name(name)]
    return alike[0] if len(alike) == 1 else None


def missing_column(name: str, purpose: str, table: str, known: Collection[str], problems: Problems) -> None:
    problems.add(f"{table}: no column {name!r} ({purpose}); {nearest(name, known)}", "unknown-column", table)


def signs(cells: Sequence[str]) -> list[str]:
    """Real-valued scores as "1" (above 0) and "-1"; empty where there is no number."""
    result = []
    for cell in cells:
        if is_missing(cell):
            result.append("")
            continue
        try:
            result.append("1" if float(cell) > 0 else "-1")
        except ValueError:
            result.append(cell)  # an unknown value, and reported as one
    return result


def yes_no(column: str) -> dict[str, str]:
    """Names of -1 and 1 in a column that says whether something is there."""
    if plain_name(column) in ("male", "gender"):
        return {"-1": "female", "1": "male"}
    return {"-1": f"not {column}", "1": column}


def evenly_chosen(root: Path, names: Sequence[str], count: int = 20) -> tuple[Path, ...]:
    """About `count` of the images, evenly from first to last, as paths."""
    return tuple(root / name for name in names[:: max(1, len(names) // count)])


def first_folder(root: Path, candidates: Sequence[str]) -> str | None:
    """The first of the candidates (paths below root, "" for root itself) that is a folder."""
    return next((name for name in candidates if (root / name).is_dir()), None)


def first_file(root: Path, candidates: Sequence[str]) -> Path | None:
    return next((root / name for name in candidates if (root / name).is_file()), None)


def below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
