"""Class folders for `data init`: where they begin, their classes in torchvision's order, and the split they have."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.dataset_format import evenly_chosen
from fairprune_cli.data.manifest.asked import SHARES, Asked, listed, names_text, quoted, stop, with_splits
from fairprune_cli.data.manifest.guess_columns import attributes_of, image_column, person_column
from fairprune_cli.data.manifest.guess_lists import refuse_lists
from fairprune_cli.data.manifest.guess_splits import SplitGuess, drawn, of_folders, of_paths, proposed
from fairprune_cli.data.manifest.guess_tables import Guess, class_line, relative
from fairprune_cli.data.manifest.split_spec import SplitSpec
from fairprune_cli.data.tables.codes import in_order
from fairprune_cli.data.tables.folders import FolderListing, list_folder, subfolders
from fairprune_cli.data.tables.image_names import is_image_file
from fairprune_cli.data.tables.split_words import split_of, splits_within
from fairprune_cli.data.tables.table import TABLE_SUFFIXES, TextTable, read_table

_FOLD = re.compile(r"(?i)(fold|split|cv|part|partition|subset|batch|k)[ _-]?\d+")


def guess_folder(path: Path, base: Path, asked: Asked, unread: Problems) -> Guess:
    """What class folders below `path` are to a manifest in `base`, with the attributes of a table beside them.

    Args:
        unread: what is wrong with tables beside them, told where there are no class folders.

    Raises:
        FairpruneError: there are none, or they have a split that cannot be kept without an answer.
    """
    spec = asked.split_spec() or SplitSpec()
    root = _inner(path)
    if not asked.splits:
        _refuse_unclear(root)
    problems = Problems(str(root))
    listing = list_folder(root, problems, spec.split_of if asked.splits else split_of)
    if listing is None:
        unread.raise_if_any()
    problems.raise_if_any("give a table (CSV or Parquet) with a column of image files, or class folders")
    assert listing is not None
    if asked.label:
        raise FairpruneError(
            "class folders are the label themselves", where=f"--label {asked.label}", hint="leave it out"
        )
    classes = tuple(sorted(set(listing.labels)))
    if len(classes) < 2:
        raise FairpruneError(
            f"all images lie in one folder, {classes[0]!r}, so folders do not tell the classes", where=str(root),
            hint="give a table (CSV or Parquet) with a column of image files and one of labels, or a folder per class",
        )  # fmt: skip
    split = _split(root, path, listing, asked)
    text = relative(root, base)
    lines = ["format: folder", f"root: {quoted(text)}  # root/class/image or root/split/class/image"]
    notes = [] if root == path else [f"guess: the class folders begin at {text!r}"]
    order = "in torchvision's order, that of text"
    if classes != in_order(classes):
        order += ", not of numbers"
        notes.append(
            f"guess: the model's outputs are in torchvision's order of the folders, that of text: {listed(classes)}"
        )
    else:
        notes.append(f"guess: the model's outputs are in the order of the folders: {listed(classes)}")
    lines.append(class_line(classes, order))
    attributes: tuple[tuple[str, str], ...] = ()
    beside = _table_beside(path, root, listing)
    if beside is not None:
        found, table = beside
        image, person = image_column(table, root) or "", person_column(table)
        columns = f"image: {quoted(image)}" + (f", person: {quoted(person)}" if person else "")
        name = relative(found, base)
        lines += [f"attributes_table: {quoted(name)}", f"columns: {{{columns}}}  # guess: by their names"]
        attributes = attributes_of(table, {image, person, ""}, image, asked)
        notes.append(f"guess: {name} tells the groups of the images in the class folders")
    elif asked.attributes:
        raise FairpruneError(
            "class folders tell no groups", where=f"--attr {asked.attributes[0]}",
            hint="put a table with a column of the images' paths and one of the groups beside them",
        )  # fmt: skip
    lines += split.lines
    told = (*notes, *split.notes, *listing.warnings)
    return Guess(tuple(lines), attributes, base, evenly_chosen(root, listing.files), told)


def _inner(path: Path) -> Path:
    """The folder where classes or splits begin: that which an archive was unpacked into, if it is alone."""
    for _ in range(4):
        filled = [name for name in subfolders(path) if not name.startswith("__") and _holds(path / name, False)]
        if len(filled) != 1 or split_of(filled[0]) or not _holds(path / filled[0], True):
            break
        path = path / filled[0]
    return path


def _holds(folder: Path, nested: bool) -> bool:
    """Whether images lie in or below a folder; where `nested`, only below it."""
    own = any(is_image_file(str(folder), name) for name in os.listdir(folder))
    if own:
        return not nested
    return any(_holds(folder / name, False) for name in subfolders(folder))


def _split(root: Path, path: Path, listing: FolderListing, asked: Asked) -> SplitGuess:
    if listing.splits is not None:
        if len(set(listing.splits)) == 1 and not asked.splits:
            only = listing.splits[0]
            raise FairpruneError(
                f"the only folder with classes is {only!r}, which names a split", where=str(root),
                hint=f"for shares of its images write: fairprune data init {root / only} --splits '{SHARES}'",
            )  # fmt: skip
        _refuse_apart(root, listing)
        return of_folders(listing.splits, str(root), asked)
    spec = asked.split_spec()
    if spec is not None:
        return SplitGuess("", (f"splits: {asked.splits}",))
    below = [file.partition("/")[2] for file in listing.files]
    found = of_paths(below, str(root))
    if found is None:
        refuse_lists(path)
        return drawn(False)
    deeper = {part for file in below for part in file.split("/")[1:-1]}
    if len(deeper) > 1 and any(split_of(file.partition("/")[0]) for file in below if "/" in file):
        stop(
            f"below the folders that name splits there are {listed(sorted(deeper))}: classes seem to be these, and not "
            f"{listed(sorted(set(listing.labels)))}", root,
            f"the folder whose images are meant: fairprune data init {root / listing.labels[0]}",
        )  # fmt: skip
    return found


def _refuse_apart(root: Path, listing: FolderListing) -> None:
    """Ask where no class stands in two splits and folders lie below: seg_train/seg_train/cat has its classes there."""
    assert listing.splits is not None
    splits = {(label, split) for label, split in zip(listing.labels, listing.splits, strict=True)}
    apart = len(splits) == len(set(listing.labels)) and len(set(listing.splits)) > 1
    deeper = next((file for file in listing.files if file.count("/") > 2), "")
    if apart and deeper:
        split, label, inner, _ = deeper.split("/", 3)
        stop(
            f"{listed(sorted(set(listing.labels)))} would be the classes, and none of them stands in two splits; "
            f"classes seem to be the folders below, as {inner!r}", root,
            f"a folder per class right below that of its split, as {split}/{inner} in place of {split}/{label}/{inner}",
        )  # fmt: skip


def _refuse_unclear(root: Path) -> None:
    """Ask about folders that would be classes although they seem to be splits, or of which only some are splits."""
    above = root.absolute()
    beside = [name for name in subfolders(above.parent) if split_of(name) and _holds(above.parent / name, False)]
    if split_of(above.name) and len(beside) > 1:
        stop(
            f"the folder is one of {listed(beside)}, which name the splits", root, f"the folder above: {above.parent}",
            with_splits(SHARES, f"draws shares of {above.name} alone"),
        )  # fmt: skip
    names = [name for name in subfolders(root) if _holds(root / name, False)]
    _refuse_folds(root, names)
    words = [name for name in names if splits_within(name) and _holds(root / name, True)]
    several = len(frozenset().union(*map(splits_within, words))) > 1
    if all(split_of(name) for name in names) or not (several or any(split_of(name) for name in words)):
        return
    proposal = {name: proposed(name, "drop") for name in names}
    if "test" not in proposal.values():
        stop(
            f"the folder {words[0]!r} seems to name a split, and there is no test split beside it", root,
            f"the folder itself, for shares of its images: fairprune data init {root / words[0]} --splits '{SHARES}'",
        )  # fmt: skip
    stop(
        f"the folder{'s' if len(words) > 1 else ''} {listed(words)} seem{'' if len(words) > 1 else 's'} to name splits",
        root, with_splits(names_text(proposal), "each folder is train, val, test, or drop to leave it out"),
    )  # fmt: skip


def _refuse_folds(root: Path, names: list[str]) -> None:
    """Ask where the folders are numbered parts of the data, as fold1 and fold2, with the classes within each."""
    within = [set(subfolders(root / name)) for name in names]
    if len(names) > 1 and all(map(_FOLD.fullmatch, names)) and len(set.intersection(*within)) > 1:
        parts = dict.fromkeys(names, "train") | {names[-1]: "test"}
        stop(
            f"the folders {listed(names)} seem to be parts of the data, with the classes within each", root,
            with_splits(names_text(parts), "each folder is train, val, test, or drop to leave it out"),
        )  # fmt: skip


def _table_beside(path: Path, root: Path, listing: FolderListing) -> tuple[Path, TextTable] | None:
    """A table beside the class folders whose column of images names theirs."""
    known = set(listing.files)
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in TABLE_SUFFIXES:
            table = read_table(file, Problems(str(file)))
            image = None if table is None else image_column(table, root)
            if table is not None and image and all(cell.removeprefix("./") in known for cell in table.columns[image]):
                return file, table
    return None
