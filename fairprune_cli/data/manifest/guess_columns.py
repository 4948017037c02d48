"""What the columns of a table seem to be: images, label, person, and the attributes worth looking at."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.data.manifest.asked import Asked, listed, quoted
from fairprune_cli.data.tables.codes import occurring
from fairprune_cli.data.tables.folders import subfolders
from fairprune_cli.data.tables.image_names import is_image_name
from fairprune_cli.data.tables.split_words import splits_within
from fairprune_cli.data.tables.table import MISSING, TextTable, is_missing, plain_name

_IMAGE_NAMES = (
    "file", "image", "path", "filename", "file_name", "image_path", "image_id", "img", "file_path", "filepath",
    "image_name", "image_file", "img_path", "img_name", "images",
)  # fmt: skip
LABEL_NAMES = (
    "label", "class", "target", "expression", "y", "category", "diagnosis", "labels", "classes", "class_name",
    "label_name", "class_label", "class_id", "label_id", "category_id", "target_class", "emotion", "dx", "species",
    "breed", "finding",
)  # fmt: skip
_PERSON_NAMES = (
    "person", "person_id", "identity", "subject", "subject_id", "patient", "patient_id", "patientid", "subjectid",
    "personid", "identity_id", "user_id", "celebrity",
)  # fmt: skip
# What people are rather than what their picture shows: groups to be fair to, and no label while another column fits.
_PERSONAL = frozenset((
    "gender", "sex", "male", "female", "race", "ethnicity", "ethnic", "age", "skin", "fitzpatrick", "fst",
    "nationality", "religion", "country", "young", "old",
))  # fmt: skip
_MOST_GROUPS = 12
_MOST_CLASSES = 1000
_LONGEST_NAME = 200  # system calls refuse names that are longer by far
_LISTED_GROUPS = 100
_YEARS = ("age", "age_years", "age_in_years")


@dataclass(frozen=True)
class LabelGuess:
    """The column that seems to be the label, its classes, and the others that would fit; "" for no column."""

    column: str
    classes: tuple[str, ...]
    others: tuple[str, ...] = ()
    named: bool = True  # whether its name says so


def image_column(table: TextTable, folder: Path) -> str | None:
    """The column that names image files: by their suffixes, or since such files are there."""

    def share(name: str) -> float:
        cells = table.columns[name][:1000]
        return sum(is_image_name(cell) for cell in cells) / len(cells)

    likely = [name for name in table.header if share(name) >= 0.9]
    named = [name for name in likely if plain_name(name) in _IMAGE_NAMES]
    if found := named or likely:
        return found[0]
    short = [name for name in table.header if max(map(len, table.columns[name])) <= _LONGEST_NAME]
    named = [name for name in short if plain_name(name) in _IMAGE_NAMES]
    return next((name for name in (*named, *short) if image_root(folder, table.columns[name])[1]), None)


def person_column(table: TextTable) -> str:
    """The column that tells persons apart, "" for none."""
    return column_named(table, _PERSON_NAMES) or ""


def column_named(table: TextTable, names: Sequence[str]) -> str | None:
    """The column whose plain name comes first among the names; None for none."""
    plain = {plain_name(name): name for name in reversed(table.header)}
    return next((plain[name] for name in names if name in plain), None)


def label_column(table: TextTable, taken: Collection[str], asked: str, where: Path) -> LabelGuess:
    """The column to be predicted.

    That of a usual name, else the first that fits and does not say who a person is, else the first that fits.

    Args:
        taken: columns that are something else; asked: the one that was named, or "".

    Raises:
        FairpruneError: the column that was named is not there or cannot be a label.
    """
    if asked:
        if asked not in table.header:
            raise FairpruneError(f"no column {asked!r} (--label); {nearest(asked, table.header)}", where=where.name)
        classes = occurring(table.columns[asked])
        if not 2 <= len(classes) <= _MOST_CLASSES:
            raise FairpruneError(
                f"the column {asked!r} (--label) has {len(classes):,} distinct values, which are no classes",
                where=where.name, hint=f"name one with 2 to {_MOST_CLASSES:,}, or write its bins into the manifest",
            )  # fmt: skip
        return LabelGuess(asked, classes)
    fitting = {
        name: classes
        for name in table.header
        if name and name not in taken and 2 <= len(classes := _classes(table.columns[name])) <= _MOST_CLASSES
        and len(classes) <= len(table.rows) // 2
    }  # fmt: skip
    named = column_named(table, LABEL_NAMES)
    few = [name for name in fitting if len(fitting[name]) <= _MOST_GROUPS]
    rest = [name for name in (*few, *(n for n in fitting if n not in few)) if not personal(name)]
    sounding = [name for name in rest if _sounds_like_label(name)]
    order = list(dict.fromkeys([*([named] if named in fitting else []), *sounding, *rest, *few]))
    if not order:
        return LabelGuess("", ())
    first = order[0]
    sure = first == named or (len(sounding) == 1 and first == sounding[0])
    return LabelGuess(first, fitting[first], tuple(order[1:]), sure)


def _classes(cells: Sequence[str]) -> tuple[str, ...]:
    return occurring(cells) if len(set(cells)) <= _MOST_CLASSES + len(MISSING) else ()


def personal(column: str) -> bool:
    """Whether a column's name says that it tells who a person is: `gender`, `Sex`, `age_group`, `perceived race`."""
    return not _PERSONAL.isdisjoint(_words(column))


def _sounds_like_label(column: str) -> bool:
    return not {"label", "class", "category", "target", "diagnosis", "labels"}.isdisjoint(_words(column))


def _words(column: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", column).lower())


def image_root(base: Path, files: Sequence[str], split: str = "") -> tuple[str, tuple[Path, ...], tuple[str, ...]]:
    """The folder below `base` in which most of the files lie, a few of them there, and other such folders.

    Args:
        split: that of the files; of folders with as many of them, one that names it comes first.
    """
    probe = [name for name in files[:: max(1, len(files) // 20)] if name and "\0" not in name]
    first = subfolders(base)
    nested = [f"{name}/{inner}" for name in first[:50] for inner in subfolders(base / name)[:50]]
    held: list[tuple[str, tuple[Path, ...]]] = []
    for folder in (".", *first, *nested):
        present = tuple(base / folder / name for name in probe if _is_file(base / folder / name))
        if 2 * len(present) > len(probe):
            held.append((folder, present))
    held.sort(key=lambda one: (-len(one[1]), split not in splits_within(one[0])))
    if not held:
        return ".", (), ()
    return held[0][0], held[0][1], tuple(folder for folder, present in held[1:] if len(present) == len(held[0][1]))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def attributes_of(table: TextTable, taken: Collection[str], label: str, asked: Asked) -> tuple[tuple[str, str], ...]:
    """The groups that seem worth looking at, each a name and the text behind it.

    All columns with few values, but for one that says the same as the label; or those that were named.

    Raises:
        FairpruneError: a column that was named is not there, or has too many values.
    """
    if asked.attributes:
        return tuple((name, _asked_text(table, name)) for name in dict.fromkeys(asked.attributes))
    found = []
    for name in table.header:
        if not name or name in taken or name == label or "*" in name:
            continue
        cells = table.columns[name]
        if 2 <= len(set(cells)) <= _MOST_GROUPS and len(values := occurring(cells)) >= 2:
            if not _same(cells, table.columns[label]):
                found.append((name, _values(name, values)))
        elif plain_name(name) in _YEARS and (edges := _age_edges(cells)):
            found.append((name, f"{{column: {quoted(name)}, bins: [{', '.join(edges)}]}}  # guess: [a, b)"))
    return tuple(found)


def _values(name: str, values: Sequence[str]) -> str:
    return f"{{column: {quoted(name)}, values: [{', '.join(map(quoted, values))}]}}"


def _same(cells: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether a column of more than two values is the label in other words, as class_id beside class_name."""
    pairs = len(set(zip(cells, labels, strict=True)))
    return 2 < pairs == len(set(cells)) == len(set(labels))


def _asked_text(table: TextTable, name: str) -> str:
    if name not in table.header:
        raise FairpruneError(f"no column {name!r} (--attr); {nearest(name, table.header)}", where=table.name)
    cells = table.columns[name]
    values = occurring(cells)
    if len(values) > _MOST_GROUPS and (edges := _age_edges(cells)):
        return f"{{column: {quoted(name)}, bins: [{', '.join(edges)}]}}  # guess: [a, b)"
    if len(values) > _LISTED_GROUPS:
        raise FairpruneError(
            f"the column {name!r} (--attr) has {len(values):,} distinct values, as {listed(values, 4)}",
            where=table.name, hint="leave it out and write its bins or names into the manifest",
        )  # fmt: skip
    return _values(name, values)


def _age_edges(cells: Sequence[str]) -> list[str]:
    try:
        numbers = np.array([float(cell) for cell in cells if not is_missing(cell)])
    except ValueError:
        return []
    if len(numbers) == 0 or not np.isfinite(numbers).all() or numbers.min() < 0 or numbers.max() > 120:
        return []
    edges = [0, 30, 60, 120]
    held = [a for a, b in itertools.pairwise(edges) if ((numbers >= a) & (numbers < b)).any()]
    return [str(a) for a in held] + ["120"] if len(held) > 1 and held[0] == 0 else []
