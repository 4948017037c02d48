"""What a table seems to be, or several, one per split: the manifest of their columns, images and split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.dataset_format import evenly_chosen
from fairprune_cli.data.manifest.asked import SHARES, Asked, listed, quoted, stop, with_splits
from fairprune_cli.data.manifest.guess_columns import (
    attributes_of,
    image_column,
    image_root,
    label_column,
    person_column,
)
from fairprune_cli.data.manifest.guess_splits import SplitGuess, of_tables, split_of_table
from fairprune_cli.data.tables.folders import subfolders
from fairprune_cli.data.tables.joined import read_tables
from fairprune_cli.data.tables.split_words import splits_within
from fairprune_cli.data.tables.table import TextTable, read_table


@dataclass(frozen=True)
class Guess:
    """What a table or folder seems to be; `lines` is the manifest without name, attributes and transform."""

    lines: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]  # name and the text behind it
    base: Path  # folder that the manifest is written into; its paths are relative to it
    sample: tuple[Path, ...]  # a few image files, for the size
    notes: tuple[str, ...] = ()  # what was guessed, to be told


def guess_tables(path: Path, tables: Mapping[str, Path], base: Path, asked: Asked) -> Guess:
    """A table per split, which may lie in folders of their own, as their images may.

    Args:
        path: folder that holds them; tables: split -> file.
        base: folder of the manifest to be.

    Raises:
        FairpruneError: as `guess_table`.
    """
    problems = Problems(str(path))
    joined = read_tables(path, {split: file.relative_to(path).as_posix() for split, file in tables.items()}, problems)
    problems.raise_if_any()
    assert joined is not None
    table, splits = joined
    image = image_column(table, path)
    if image is None:
        raise FairpruneError("the tables have no column in common that names image files", where=table.name)
    found = of_tables(list(tables), table.name, asked)
    words = ", ".join(f"{split}: {quoted(relative(file, base))}" for split, file in tables.items())
    lines = [f"table: {{{words}}}"]
    where = _image_folders(path, tables, table, splits, image, base, asked)
    told = f"guess: {', '.join(f'{file.name} is {split}' for split, file in tables.items())}"
    return _written(table, image, found, Path(table.name), [*lines, where.line], where, base, asked, (told,))


@dataclass(frozen=True)
class _Images:
    line: str
    sample: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def _image_folders(
    path: Path,
    tables: Mapping[str, Path],
    table: TextTable,
    splits: Sequence[str],
    image: str,
    base: Path,
    asked: Asked,
) -> _Images:
    """The line `images` for a table per split: one root, or a folder for each."""
    if asked.images is not None:
        return _images(path, table.columns[image], base, asked)
    folders, sample = {}, []
    for split, file in tables.items():
        own = [cell for cell, other in zip(table.columns[image], splits, strict=True) if other == split]
        root, present, _ = image_root(file.parent, own, split)
        folders[split] = relative(file.parent / root, base)
        sample += [*present[:7]]
    words = ", ".join(f"{split}: {quoted(folder)}" for split, folder in folders.items())
    text = quoted(next(iter(folders.values()))) if len(set(folders.values())) == 1 else f"{{{words}}}"
    note = f"guess: the image paths begin at {text}; --images names another folder"
    return _Images(f"images: {text}  # guess: root of the image paths", tuple(sample), (note,))


def _images(folder: Path, cells: Sequence[str], base: Path, asked: Asked) -> _Images:
    if asked.images is not None:
        if not asked.images.is_dir():
            raise FairpruneError("no such folder", where=f"--images {asked.images}", hint="check the path")
        return _Images(f"images: {quoted(relative(asked.images, base))}", evenly_chosen(asked.images, cells))
    root, sample, others = image_root(folder, cells)
    apart = [name for name in subfolders(folder) if splits_within(name)]
    held = [name for name in apart if _some_there(folder / name, cells)]
    if len(held) > 1 and (not sample or root in held):
        stop(
            f"the images lie in {listed(held)}, which name splits, and the table names them without these folders",
            folder, "the folder into the column of images, as train/001.png",
        )  # fmt: skip
    if not asked.splits and root in apart:
        stop(
            f"the images of the table lie in {root!r}, which names a split, and none elsewhere", folder,
            with_splits(SHARES, "draws shares of them"), f"{root}.csv and such a table for every other split",
        )  # fmt: skip
    text = relative(folder / root, base)
    also = f"; they lie in {listed(others)} as well" if others else ""
    notes = (f"guess: the image paths begin at {text!r}{also}; --images names another folder",)
    return _Images(f"images: {quoted(text)}  # guess: root of the image paths{also}", sample, notes)


def _some_there(folder: Path, cells: Sequence[str]) -> bool:
    return any((folder / cell).is_file() for cell in cells[:: max(1, len(cells) // 100)] if cell and "\0" not in cell)


def guess_table(path: Path, base: Path, asked: Asked) -> Guess:
    """What a table with a row per image is to a manifest in `base`.

    Raises:
        FairpruneError: it cannot be read, no column seems to name images or labels, or a choice has to be made.
    """
    problems = Problems(str(path))
    table = read_table(path, problems)
    problems.raise_if_any()
    assert table is not None
    image = image_column(table, path.parent)
    if image is None:
        raise FairpruneError("no column names image files, as 001.png", where=str(path), hint=_columns_hint(table))
    if asked.split_column and asked.split_column not in table.header:
        raise FairpruneError(
            f"no column {asked.split_column!r} (--split-column)", where=str(path), hint=_columns_hint(table)
        )
    found = split_of_table(table, image, path, asked, person_column(table))
    where = _images(path.parent, table.columns[image], base, asked)
    lines = [f"table: {quoted(relative(path, base))}", where.line]
    return _written(table, image, found, path, lines, where, base, asked, ())


def _written(
    table: TextTable, image: str, split: SplitGuess, path: Path, lines: list[str], images: _Images, base: Path,
    asked: Asked, notes: tuple[str, ...],
) -> Guess:  # fmt: skip
    """The guess about a table, or several, of which images and split are known."""
    person = person_column(table)
    taken = {image, split.column, person, ""}
    label = label_column(table, taken, asked.label, path)
    if not label.column:
        hint = "name it with --label COLUMN; " + _columns_hint(table)
        raise FairpruneError("no column looks like the label", where=str(path), hint=hint)
    mapped = [("image", image), ("label", label.column), ("split", split.column), ("person", person)]
    shown = ", ".join(f"{key}: {quoted(column)}" for key, column in mapped if column)
    fits = f"; {listed(label.others, 4)} would fit as well" if label.others else ""
    remark = "" if asked.label else "  # guess: by their names" if label.named else f"  # guess: the label{fits}"
    told = [f"guess: {key} is the column {column!r}" for key, column in mapped if column and key != "label"]
    if not asked.label:
        told.insert(1, f"guess: what is to be predicted is the column {label.column!r}{fits}; --label names another")
    lines += [f"columns: {{{shown}}}{remark}", class_line(label.classes), *split.lines]
    told.append(f"guess: the model's outputs are in the order {listed(label.classes)}")
    attributes = attributes_of(table, taken, label.column, asked)
    return Guess(tuple(lines), attributes, base, images.sample, (*told, *images.notes, *notes, *split.notes))


def relative(path: Path, base: Path) -> str:
    """`path` as the manifest in `base` writes it."""
    return os.path.relpath(path, base).replace(os.sep, "/")


def class_line(classes: Sequence[str], order: str = "in the order of the model's outputs") -> str:
    """The line `classes`, and in which order they stand."""
    return f"classes: [{', '.join(map(quoted, classes))}]  # guess: {order}; check it"


def _columns_hint(table: TextTable) -> str:
    which = "that all the tables have" if table.tables else "there"
    return f"the columns {which} are {', '.join(map(repr, table.header))}"
