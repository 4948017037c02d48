"""Which split the data has: a column, folders, file names or lists; kept, or the question that has to be answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fairprune_cli.data.manifest.asked import SHARES, Asked, listed, names_text, stop, with_splits
from fairprune_cli.data.manifest.guess_lists import DRAW, of_booleans, refuse_lists, split_column
from fairprune_cli.data.manifest.split_spec import FROM_TRAIN, NAME, PATH, SplitSpec, first_word, words_of_paths
from fairprune_cli.data.tables.codes import in_order
from fairprune_cli.data.tables.split_words import split_of, splits_within
from fairprune_cli.data.tables.table import SPLITS, TextTable, is_missing

_LEFT_OUT = frozenset(("unlabeled", "unlabelled", "unused", "unsup", "unsupervised", "distractor", "distractors"))
_CODES = {"0": "train", "1": "val", "2": "test"}  # as in CelebA's partition


@dataclass(frozen=True)
class SplitGuess:
    """`column` of the split or "", lines of the manifest, and what is to be told."""

    column: str
    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()


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
        column = split_column(table, image, where)
    if column:
        made = _of_words(table.columns[column], f"the column {column!r}", where, column, spec, asked)
        words = words_of_paths(SplitSpec(source=PATH), table.columns[image])
        also = f"guess: the column {column!r} is the split, and not the folders in the paths, which name splits as well"
        return replace(made, notes=(*made.notes, also)) if any(words) else made
    if spec is not None and not spec.source:
        stop(f"--splits names words, but no column of {where} seems to be the split", where, "--split-column COLUMN")
    if spec is not None:
        return SplitGuess("", (f"splits: {asked.splits}",))
    found = of_paths(table.columns[image], where)
    if found is None:
        refuse_lists(path.parent, path)
    return found or drawn(bool(person))


def _of_words(
    cells: Sequence[str],
    what: str,
    where: str,
    column: str,
    spec: SplitSpec | None,
    asked: Asked,
    draw: str = DRAW,
) -> SplitGuess:
    """A split out of words, one per image, where they are clear or `spec` says what they mean."""
    if spec is not None:
        return SplitGuess(column, (f"splits: {asked.splits}",))
    counts = Counter(cells)
    bare = [cell for cell in counts if is_missing(cell)]
    empty = sum(counts[cell] for cell in bare)
    words = in_order(cell for cell in counts if not is_missing(cell))
    meant = {word: split for word in words if (split := split_of(word)) is not None}
    notes, lines = [], []
    if column and set(words) == set(_CODES):
        meant = dict(_CODES)
        lines = [f"splits: {names_text(_CODES)}  # guess: 0, 1, 2 as in CelebA's partition"]
        notes = [f"guess: in {what} 0 is train, 1 is val, 2 is test"]
    told = of_booleans(column, set(words))
    in_turn = ["train"] * max(1, len(words) - 2) + ["val", "test"][-max(len(words) - 1, 0) :]
    unmeant = [word for word in words if word not in meant]
    missing = [split for split in SPLITS if split not in meant.values()]
    by_place = dict(zip(words, in_turn, strict=False))
    if len(unmeant) == len(missing):
        by_place.update(zip(unmeant, missing, strict=True))
    proposal = {word: told.get(word) or meant.get(word) or proposed(word, by_place[word]) for word in words}
    if words and "test" not in proposal.values():
        proposal[next((word for word in reversed(words) if word not in meant), words[-1])] = "test"
    if empty and len(meant) == len(words):
        coded = _CODES if lines else {}
        text = [names_text({**coded, **dict.fromkeys(bare, split)}) for split in ("train", "drop")]
        stop(f"{what} is empty in {empty:,} of {len(cells):,} rows", where, with_splits(text[0], "they are train"),
             with_splits(text[1], "they are left out"))  # fmt: skip
    both = _synonyms(words)
    if len(meant) < len(words) or both:
        unclear = [*(both or [word for word in words if word not in meant]), *bare]
        proposal |= dict.fromkeys(bare, "drop")
        stop(
            f"{what} seems to name splits, and the meaning of {listed(unclear)} is not clear",
            where, with_splits(names_text(proposal), "each word is train, val, test, or drop to leave it out"), draw,
        )  # fmt: skip
    return _complete(
        set(meant.values()), dict(meant), SplitGuess(column, tuple(lines), tuple(notes)), what, where, draw
    )


def proposed(word: str, otherwise: str) -> str:
    """The only split that some part of a word names, drop for what bears no labels, else what is given."""
    if word.casefold() in _LEFT_OUT:
        return "drop"
    within = splits_within(word)
    return next(iter(within)) if len(within) == 1 else otherwise


def _synonyms(words: Sequence[str]) -> list[str]:
    """Different words that may be one split, as dev and val, or trainval beside train: what they are has to be said."""
    both = {word for word in words if word.lower().startswith("trainval")}
    if both and any(split_of(word) in ("train", "val") for word in words if word not in both):
        return sorted(both)
    of_val = {word for word in words if split_of(word) == "val"}
    dev = {word for word in of_val if word.lower().startswith("dev")}
    return sorted(of_val) if dev and of_val - dev else []


def _complete(
    found: set[str], names: dict[str, str], made: SplitGuess, what: str, where: str, draw: str = DRAW
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
    """The split of class folders within split folders: the name of the split's folder for each image."""
    inner = f"one of the folders, for shares of its images: fairprune data init {where}/{words[0]}"
    return _of_words(words, "the folders' names", where, "", asked.split_spec(), asked, inner)


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
        held = {split for word in set(words) if (split := split_of(word)) is not None}
        if not held or (source == NAME and len(held) == 1):
            continue
        bare = words.count("")
        if bare:
            text = f"{what} name {' and '.join(sorted(held))}, but {bare:,} of {len(words):,} images have no such word"
            at = files[words.index("")]
            stop(f"{text}, as {at!r}", where, DRAW, "a column that names the split of every image")
        if both := _synonyms(sorted(set(words))):
            stop(f"{what} say {listed(both)}: which is val is not clear", where,
                 with_splits(f"{{from: {source}, " + names_text(dict.fromkeys(both, "val"))[1:]), DRAW)  # fmt: skip
        line = f"splits: {{from: {source}}}"
        note = f"guess: {what} name the split"
        made = SplitGuess("", (f"{line}  # guess: {what} name the split",), (note,))
        if held == {"train", "val"}:
            vals = {word: "test" for word in sorted(set(words)) if split_of(word) == "val"}
            stop(f"train and val are in {what}, and no test split to audit on", where,
                 with_splits(f"{{from: {source}, val: {FROM_TRAIN}, " + names_text(vals)[1:], "val becomes test"),
                 DRAW)  # fmt: skip
        return _complete(held, {}, made, what, where)
    _refuse_words_within([file.rpartition("/")[2] for file in files], where)
    return None


def _refuse_words_within(names: Sequence[str], where: str) -> None:
    """Ask where files' names hold words for splits behind their beginning, as COCO_train2014_000001.jpg does."""
    held = [splits_within(name) for name in names]
    clear = [next(iter(one)) for one in held if len(one) == 1]
    if len(set(clear)) > 1 and "train" in clear and 2 * len(clear) > len(names):
        example = next(name for name, one in zip(names, held, strict=True) if one == {"train"})
        stop(f"the files' names seem to name splits, as {example!r}, but do not begin with them", where,
             "a column that names the split of every image", DRAW)  # fmt: skip


def drawn(by_person: bool) -> SplitGuess:
    """Shares, where the data names no split."""
    by = ", by: person" if by_person else ""
    whole = "no person stands in two splits" if by_person else "drawn by class from the seed"
    line = f"splits: {SHARES[:-1]}{by}}}  # guess: the data names no split; {whole}"
    return SplitGuess("", (line,), (f"guess: the data names no split, so shares are drawn ({whole})",))
