"""Which column of a table names its splits, and whether files beside the data do, which cannot be kept unasked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.manifest.asked import SHARES, listed, stop, with_splits
from fairprune_cli.data.tables.folders import subfolders
from fairprune_cli.data.tables.split_words import split_of, splits_within, without_split
from fairprune_cli.data.tables.table import TABLE_SUFFIXES, TextTable, is_missing, plain_name, read_table

# Columns that are about the split whatever stands in them; their words are a question unless they are usual.
_COLUMNS = frozenset((
    "split", "splits", "partition", "subset", "set", "fold", "folds", "data_split", "dataset_split",
    "split_name", "eval_partition", "is_train", "is_training", "is_test", "is_val", "is_valid", "is_validation",
    "is_training_img", "is_training_image", "train_test", "train_test_split", "train_val_test", "kfold",
))  # fmt: skip
_YES, _NO = frozenset(("1", "true", "yes", "t", "y")), frozenset(("0", "false", "no", "f", "n", "-1"))
_PARTS = frozenset(("split", "splits", "partition", "fold", "folds", "kfold"))
_MOST_WORDS = 20
_LISTS = (*TABLE_SUFFIXES, ".txt", ".lst", ".json")
# Words for parts of a data set that stand beside train or test, and of which nobody knows which split they are.
_BESIDE_SPLITS = frozenset(
    ("query", "gallery", "distractor", "extra", "unused", "unlabeled", "unlabelled", "unsup", "eval", "evaluation",
     "calib", "calibration", "reserve", "pool", "public", "private")
)  # fmt: skip
DRAW = with_splits(SHARES, "draws shares and puts the data's split aside")


def split_column(table: TextTable, image: str, where: str) -> str:
    """The column that names the splits; "" for none."""
    sure, likely = [], []
    for name in table.header:
        if name == image:
            continue
        words = {cell for cell in table.columns[name] if not is_missing(cell)}
        if not words or len(words) > _MOST_WORDS:
            continue
        known = {split for word in words if (split := split_of(word)) is not None}
        within = frozenset().union(*(splits_within(word) for word in words))
        rest = {word.casefold() for word in words if split_of(word) is None}
        plain = plain_name(name)
        named = plain in _COLUMNS or not _PARTS.isdisjoint(plain.split("_")) or bool(of_booleans(name, words))
        if known and all(split_of(word) is not None for word in words) and (named or len(known) > 1):
            sure.append(name)
        elif (
            named
            or (known and rest and rest <= _BESIDE_SPLITS)
            or (len(within) > 1 and 2 * sum(bool(splits_within(word)) for word in words) > len(words))
        ):
            likely.append(name)
    found = sure or likely
    if len(found) > 1:
        stop(f"the columns {listed(found)} all seem to name the splits", where, "--split-column COLUMN", DRAW)
    return found[0] if found else ""


def of_booleans(column: str, words: Collection[str]) -> dict[str, str]:
    """What yes and no would mean in a column such as `is_train` or `test`; {} for another one."""
    within = splits_within(column)
    if len(within) != 1 or not words or not {word.lower() for word in words} <= _YES | _NO:
        return {}
    (yes,) = within
    no = "test" if yes == "train" else "train"
    return {word: yes if word.lower() in _YES else no for word in words}


def refuse_lists(folder: Path, table: Path | None = None) -> None:
    """Ask about files beside the data that tell its splits: lists of each, or another table with a split column.

    Args:
        table: the one that is being looked at, which tells none.

    Raises:
        FairpruneError: there are such files; the message says which choice to write.
    """
    found: dict[str, set[str]] = {}
    files, told = [], []
    for path in _lists(folder):
        within = splits_within(path.stem)
        name = path.relative_to(folder).as_posix()
        if within:
            found.setdefault(without_split(path.stem), set()).update(within)
            files.append(name)
        if path != table and (not _PARTS.isdisjoint(plain_name(path.stem).split("_")) or _tells_splits(path)):
            told.append(name)
    if not told and not any(len(splits) > 1 for splits in found.values()):
        return
    if table is not None and table.name in files:
        stop(
            f"{listed(files)} beside one another seem to name the splits", folder,
            f"the folder instead of the table: {folder}", with_splits(SHARES, f"draws shares of {table.name} alone"),
        )  # fmt: skip
    names = list(dict.fromkeys([*told, *files]))
    stop(
        f"{listed(names)} beside the data seem{'s' if len(names) == 1 else ''} to name its splits", folder,
        "a table with a column that names the split of every image", with_splits(SHARES, "draws shares of the images"),
    )  # fmt: skip


def _lists(folder: Path) -> Iterator[Path]:
    for place in (folder, *(folder / name for name in subfolders(folder))):
        for name in sorted(os.listdir(place)):
            if name.lower().endswith(_LISTS) and not name.startswith("."):
                yield place / name


def _tells_splits(path: Path) -> bool:
    """Whether a table has a split column."""
    if path.suffix.lower() not in TABLE_SUFFIXES:
        return False
    table = read_table(path, Problems(str(path)))
    with contextlib.suppress(FairpruneError):
        return table is not None and bool(split_column(table, "", path.name))
    return True  # it has several
