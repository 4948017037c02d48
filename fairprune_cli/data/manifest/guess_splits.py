"""Which split the data has: a column, folders, file names or lists; kept, or the question that has to be answered."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairprune_cli.data.manifest.asked import SHARES, Asked, listed, names_text, stop, with_splits
from fairprune_cli.data.manifest.split_spec import FROM_TRAIN, NAME, PATH, SplitSpec, first_word, words_of_paths
from fairprune_cli.data.tables.codes import in_order
from fairprune_cli.data.tables.split_words import split_of, splits_within, without_split
from fairprune_cli.data.tables.table import MISSING, SPLITS, TextTable

# Columns that are about the split whatever stands in them; their words are a question unless they are usual.
_COLUMNS = frozenset((
    "split", "splits", "partition", "subset", "set", "fold", "folds", "data_split", "dataset_split",
    "split_name", "eval_partition", "is_train", "is_training", "is_test", "is_val", "is_valid", "is_validation",
    "is_training_img", "is_training_image", "train_test", "train_test_split", "train_val_test", "kfold",
))  # fmt: skip
_YES, _NO = frozenset(("1", "true", "yes", "t", "y")), frozenset(("0", "false", "no", "f", "n", "-1"))
_CODES = {"0": "train", "1": "val", "2": "test"}  # as in CelebA's partition
_DRAW = with_splits(SHARES, "draws shares and puts the data's split aside")
_MOST_WORDS = 20
_LISTS = (".txt", ".lst", ".csv", ".tsv", ".json", ".parquet", ".pq")


@dataclass(frozen=True)
class SplitGuess:
    """`column` of the split or "", lines of the manifest, and what is to be told."""

    column: str
    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()


def plain_name(column: str) -> str:
    """A column's name in lower case, with underscores for spaces and hyphens."""
    return "_".join(column.lower().replace("-", " ").replace("_", " ").split())


def split_of_table(table: TextTable, image: str, path: Path, asked: Asked, person: str) -> SplitGuess:
    """The split that a table has: in a column, in the paths or names of its images, or in lists beside it.

    Raises:
        FairpruneError: it has one that cannot be kept without an answer; the message says which choice to write.
    """
    spec = asked.split_spec()
    where = path.name
    if spec is not None and spec.fractions is not None:
        return SplitGuess("", (f"splits: {asked.splits}",))
    column = asked.split_column
    if not column and (spec is None or not spec.source):
        column = _split_column(table, image, where)
    if column:
        return _of_words(table.columns[column], f"the column {column!r}", where, column, spec, asked)
    if spec is not None and not spec.source:
        stop(f"--splits names words, but no column of {where} seems to be the split", where, "--split-column COLUMN")
    if spec is not None:
        return SplitGuess("", (f"splits: {asked.splits}",))
    return of_paths(table.columns[image], where) or of_lists(path.parent, path) or drawn(bool(person))


def _split_column(table: TextTable, image: str, where: str) -> str:
    """The column that names the splits; "" for none."""
    sure, likely = [], []
    for name in table.header:
        if name == image:
            continue
        words = {cell for cell in table.columns[name] if cell.lower() not in MISSING}
        if not words or len(words) > _MOST_WORDS:
            continue
        known = {code for word in words if (code := split_of(word)) is not None}
        within = frozenset().union(*(splits_within(word) for word in words))
        named = plain_name(name) in _COLUMNS or bool(_of_booleans(name, words))
        if known and all(split_of(word) is not None for word in words) and (named or len(known) > 1):
            sure.append(name)
        elif named or (len(within) > 1 and 2 * sum(bool(splits_within(word)) for word in words) > len(words)):
            likely.append(name)
    found = sure or likely
    if len(found) > 1:
        stop(f"the columns {listed(found)} all seem to name the splits", where, "--split-column COLUMN", _DRAW)
    return found[0] if found else ""


def _of_words(
    cells: Sequence[str], what: str, where: str, column: str, spec: SplitSpec | None, asked: Asked
) -> SplitGuess:
    """A split out of words, one per image, where they are clear or `spec` says what they mean."""
    if spec is not None:
        return SplitGuess(column, (f"splits: {asked.splits}",))
    counts = Counter(cells)
    empty = sum(n for cell, n in counts.items() if cell.lower() in MISSING)
    words = in_order(cell for cell in counts if cell.lower() not in MISSING)
    meant = {word: SPLITS[code] for word in words if (code := split_of(word)) is not None}
    notes, lines = [], []
    if column and set(words) == set(_CODES):
        meant = dict(_CODES)
        lines = [f"splits: {names_text(_CODES)}  # guess: 0, 1, 2 as in CelebA's partition"]
        notes = [f"guess: in {what} 0 is train, 1 is val, 2 is test"]
    told = _of_booleans(column, set(words))
    by_place = ["train"] * max(1, len(words) - 2) + ["val", "test"][-max(len(words) - 1, 0) :]
    proposal = {w: told.get(w) or meant.get(w) or proposed(w, by_place[i]) for i, w in enumerate(words)}
    if words and "test" not in proposal.values():
        proposal[next((word for word in reversed(words) if word not in meant), words[-1])] = "test"
    if empty and len(meant) == len(words):
        bare = next(cell for cell in counts if cell.lower() in MISSING)
        text = [names_text({**(_CODES if lines else {}), bare: split}) for split in ("train", "drop")]
        stop(f"{what} is empty in {empty:,} of {len(cells):,} rows", where, with_splits(text[0], "they are train"),
             with_splits(text[1], "they are left out"))  # fmt: skip
    both = _synonyms(words)
    if len(meant) < len(words) or both:
        unclear = both or [word for word in words if word not in meant]
        stop(
            f"{what} seems to name splits, and the meaning of {listed(unclear)} is not clear",
            where, with_splits(names_text(proposal), "each word is train, val, test, or drop to leave it out"), _DRAW,
        )  # fmt: skip
    return _complete(set(meant.values()), dict(meant), SplitGuess(column, tuple(lines), tuple(notes)), what, where)


def _of_booleans(column: str, words: Collection[str]) -> dict[str, str]:
    """What yes and no would mean in a column such as `is_train` or `test`; {} for another one."""
    within = splits_within(column)
    if len(within) != 1 or not words or not {word.lower() for word in words} <= _YES | _NO:
        return {}
    yes = next(iter(within))
    return {word: SPLITS[yes] if word.lower() in _YES else SPLITS[0 if yes else 2] for word in words}


def proposed(word: str, otherwise: str) -> str:
    """The only split that some part of a word names, else what is given."""
    within = splits_within(word)
    return SPLITS[next(iter(within))] if len(within) == 1 else otherwise


def _synonyms(words: Sequence[str]) -> list[str]:
    """Different words that would be one split, as dev and val: which of them is to be val has to be said."""
    of_val = {word for word in words if split_of(word) == 1}
    dev = {word for word in of_val if word.lower().startswith("dev")}
    return sorted(of_val) if dev and of_val - dev else []


def _complete(
    found: set[str], names: dict[str, str], made: SplitGuess, what: str, where: str, draw: str = _DRAW
) -> SplitGuess:
    """The guess where train and test are there, with a val part cut from train where there is none.

    Args:
        draw: the choice that puts the data's split aside.
    """
    if found == {"train", "test"}:
        line = made.lines[0].partition("  #")[0][:-1] + f", val: {FROM_TRAIN}}}" if made.lines else (
            f"splits: {{val: {FROM_TRAIN}}}")  # fmt: skip
        note = f"no val split in {what}: `val: {FROM_TRAIN}` cuts a tenth of train, persons and equal images whole"
        return SplitGuess(made.column, (f"{line}  # guess: a tenth of train",), (*made.notes, note))
    if found == set(SPLITS):
        return made
    if found == {"train", "val"}:
        renamed = {word: "test" if split == "val" else split for word, split in names.items() if split == "val"}
        stop(
            f"train and val are in {what}, and no test split to audit on", where,
            with_splits(names_text(renamed, f", val: {FROM_TRAIN}"), "what is val becomes test"), draw,
        )  # fmt: skip
    missing = "train" if "test" in found else "test"
    stop(f"only {' and '.join(sorted(found))} is in {what}: there is no {missing} split", where, draw)


def of_folders(words: Sequence[str], where: str, asked: Asked) -> SplitGuess:
    """The split of class folders within split folders: a word per image."""
    spec = asked.split_spec()
    what = "the folders' names"
    return _of_words(words, what, where, "", spec, asked)


def of_tables(splits: Sequence[str], where: str, asked: Asked) -> SplitGuess:
    """The split of several tables."""
    if asked.split_spec() is not None:
        return SplitGuess("", (f"splits: {asked.splits}",))
    if set(splits) == {"val", "test"}:
        stop("there is no table of train", where, "one table instead of the folder")
    whole = "one table instead of the folder, for shares of it"
    return _complete(
        set(splits), {split: split for split in splits}, SplitGuess("", ()), "the tables' names", where, whole
    )


def of_paths(files: Sequence[str], where: str) -> SplitGuess | None:
    """The split that folders in the paths name, or with which the files' names begin; None where they name none."""
    folders = words_of_paths(SplitSpec(source=PATH), files)
    names = [first_word(file.rpartition("/")[2]) for file in files]
    names = [word if split_of(word) is not None else "" for word in names]
    for source, words, what in (
        (PATH, folders, "the folders in the paths"), (NAME, names, "the beginnings of the files' names"),
    ):  # fmt: skip
        held = {SPLITS[code] for word in set(words) if (code := split_of(word)) is not None}
        if not held or (source == NAME and len(held) == 1):
            continue
        bare = words.count("")
        if bare:
            text = f"{what} name {' and '.join(sorted(held))}, but {bare:,} of {len(words):,} images have no such word"
            at = files[words.index("")]
            stop(f"{text}, as {at!r}", where, _DRAW, "a column that names the split of every image")
        if both := _synonyms(sorted(set(words))):
            stop(f"{what} say {listed(both)}: which is val is not clear", where,
                 with_splits(f"{{from: {source}, " + names_text(dict.fromkeys(both, "val"))[1:]), _DRAW)  # fmt: skip
        line = f"splits: {{from: {source}}}"
        note = f"guess: {what} name the split"
        made = SplitGuess("", (f"{line}  # guess: {what} name the split",), (note,))
        if held == {"train", "val"}:
            vals = {word: "test" for word in sorted(set(words)) if split_of(word) == 1}
            stop(f"train and val are in {what}, and no test split to audit on", where,
                 with_splits(f"{{from: {source}, val: {FROM_TRAIN}, " + names_text(vals)[1:], "val becomes test"),
                 _DRAW)  # fmt: skip
        return _complete(held, {}, made, what, where)
    return None


def of_lists(folder: Path, table: Path | None = None) -> SplitGuess | None:
    """None, unless files beside the data are lists of its splits, which cannot be kept without an answer.

    Args:
        table: the one that is being looked at.
    """
    found: dict[str, set[int]] = {}
    files: list[str] = []
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        within = splits_within(stem)
        if suffix.lower() in _LISTS and within and not name.startswith("."):
            found.setdefault(without_split(stem), set()).update(within)
            files.append(name)
    if not any(len(codes) > 1 for codes in found.values()) and not any(
        name.lower().startswith("train_test_split") for name in files
    ):
        return None
    which = f"{table.name} alone" if table is not None and table.name in files else "the images"
    stop(
        f"{listed(files)} beside {'one another' if which.endswith('alone') else 'the data'} seem to name its splits",
        folder, f"the folder instead of the table ({folder})" if which.endswith("alone") else
        "a column that names the split of every image", with_splits(SHARES, f"draws shares of {which}"),
    )  # fmt: skip


def drawn(by_person: bool) -> SplitGuess:
    """Shares, where the data names no split."""
    by = ", by: person" if by_person else ""
    whole = "no person stands in two splits" if by_person else "drawn by class from the seed"
    line = f"splits: {SHARES[:-1]}{by}}}  # guess: the data names no split; {whole}"
    return SplitGuess("", (line,), (f"guess: the data names no split, so shares are drawn ({whole})",))
