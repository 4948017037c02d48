"""Guesses for `data init`: what a table or a folder of images seems to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.manifest.asked import Asked, listed, quoted, stop
from fairprune_cli.data.manifest.guess_columns import LABEL_NAMES, column_named, image_column
from fairprune_cli.data.manifest.guess_folders import guess_folder
from fairprune_cli.data.manifest.guess_tables import Guess, guess_table, guess_tables, relative
from fairprune_cli.data.tables.folders import subfolders
from fairprune_cli.data.tables.split_words import splits_within, without_split
from fairprune_cli.data.tables.table import SPLITS, TABLE_SUFFIXES, TextTable, read_table


def guess(path: Path, base: Path | None, asked: Asked | None = None) -> Guess:
    """Recognise a table, a published data set, a folder that holds a table or one per split, or class folders.

    Args:
        base: folder of the manifest to be; beside the table or in the folder when None.
        asked: choices that are not to be guessed.

    Raises:
        FairpruneError: nothing is recognised, or a choice has to be made; the message says what is needed.
    """
    asked = asked or Asked()
    if path.is_file():
        return guess_table(path, base or path.parent, asked)
    if not path.is_dir():
        raise FairpruneError("no such file or folder", where=str(path), hint="check the path")
    formats, faults = plugins.DATASET_FORMAT.load_sound()
    for name, module in formats.items():
        if module.recognise(path):
            return _guess_native(name, path, base or path, asked)
    for fault in faults:
        raise fault  # it may have been one of theirs
    tables, unread = _tables_in(path)
    if family := _family(path, tables):
        return guess_tables(path, family, base or path, asked)
    chosen = _best(path, tables)
    if chosen is not None:
        return guess_table(chosen, base or path, asked)
    return guess_folder(path, base or path, asked, unread)


def _tables_in(path: Path) -> tuple[dict[Path, TextTable], Problems]:
    """The tables of a folder, or of its split folders, that name images, and what is wrong with the unreadable ones."""
    places = [path, *(path / name for name in subfolders(path) if splits_within(name))]
    found: dict[Path, TextTable] = {}
    unread = Problems(str(path))
    for place in places:
        for file in sorted(place.iterdir()):
            if file.suffix.lower() in TABLE_SUFFIXES and not file.name.startswith(".") and file.is_file():
                table = read_table(file, unread)
                if table is not None and image_column(table, file.parent):
                    found[file] = table
    return found, unread


def _family(path: Path, tables: Mapping[Path, TextTable]) -> dict[str, Path]:
    """A table for each split: train.csv and test.csv, labels_train.csv and labels_val.csv, train/labels.csv."""
    families: dict[str, dict[str, Path]] = {}
    for file in tables:
        words = file.relative_to(path).with_suffix("").parts
        within = [splits_within(word) for word in words]
        named = frozenset().union(*within)
        if len(named) == 1:
            key = "/".join(without_split(word) for word in words)
            (split,) = named
            other = families.setdefault(key, {}).setdefault(split, file)
            if other != file:
                stop(
                    f"{other.name!r} and {file.name!r} both seem to be the {split} split", path, "one of them elsewhere"
                )
    several = [family for family in families.values() if len(family) > 1]
    if len(several) > 1:
        names = [file.name for family in several for file in family.values()]
        stop(f"several sets of tables seem to name the splits: {listed(names)}", path,
             "a folder with one set, or join them into one table with a split column")  # fmt: skip
    return {split: several[0][split] for split in SPLITS if split in several[0]} if several else {}


def _best(path: Path, tables: Mapping[Path, TextTable]) -> Path | None:
    """The table of a folder that has the labels; None where class folders have them, or there is no table."""
    if not tables:
        return None
    labelled = [file for file in tables if column_named(tables[file], LABEL_NAMES)]
    named = [file for file in tables if file.stem.lower() == "table"]
    found = [file for file in named if file in labelled] or labelled or named or list(tables)
    if not labelled and _has_class_folders(path, [tables[file] for file in found]):
        return None
    if len(found) > 1:
        names = [file.relative_to(path).as_posix() for file in found]
        stop(f"the tables {listed(names)} all name images", path, f"one of them: fairprune data init {found[0]}")
    return found[0]


def _has_class_folders(path: Path, tables: Sequence[TextTable]) -> bool:
    """Whether the tables name images by paths that begin with the folders of the classes."""
    folders = set(subfolders(path))
    for table in tables:
        image = image_column(table, path)
        firsts = {cell.split("/")[0] for cell in table.columns[image or ""] if "/" in cell} if image else set()
        if len(firsts) > 1 and firsts <= folders and not any(splits_within(name) for name in firsts):
            return True
    return False


def _guess_native(name: str, path: Path, base: Path, asked: Asked) -> Guess:
    found = plugins.DATASET_FORMAT.load(name).suggest(path)
    notes = () if asked.label else (f"guess: what is to be predicted is {found.label!r}; --label names another",)
    remark = "" if asked.label else f"  # guess: what is to be predicted{f'; {found.remark}' if found.remark else ''}"
    label = asked.label or found.label
    lines = [f"format: {name}", f"root: {quoted(relative(path, base))}", f"label: {quoted(label)}{remark}"]
    if asked.splits:
        lines.append(f"splits: {asked.splits}")
    attributes = tuple((one, f"{{column: {quoted(one)}}}") for one in asked.attributes) or tuple(
        (one, text) for one, text in found.attributes if one != label
    )
    return Guess(tuple(lines), attributes, base, found.sample, notes)
