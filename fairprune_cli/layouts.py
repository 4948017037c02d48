"""Where images lie on disk: class folders, the check that every image exists, guesses for `init`."""

from __future__ import annotations

import itertools
import json
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.errors import FairpruneError, Problems
from fairprune_cli.tables import (
    IMAGE_SUFFIXES,
    MISSING,
    SHOWN,
    SPLIT_NAMES,
    SPLITS,
    Table,
    distinct,
    read_table,
)

FORMATS = ("folder",)


@dataclass(frozen=True, eq=False)
class FolderListing:
    """Images of class folders: paths relative to the root, class and split (None without split folders)."""

    files: list[str]
    labels: list[str]
    splits: list[str] | None
    warnings: tuple[str, ...]


def list_folder(root: Path, problems: Problems) -> FolderListing | None:
    """List `root/[split/]class/**/image`, sorted; hidden entries and other files are passed over.

    The first level names splits when every folder of it that holds images is called train, val (valid,
    validation) or test; a mixture with other names is a problem.
    """
    try:
        listing = _list_folder(root, problems)
    except OSError as error:
        place = error.filename or str(root)
        problems.add(f"the folder {place!r} cannot be read: {error.strerror or error}")
        return None
    if not listing.files:
        suffixes = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
        problems.add(
            f"no image in class folders below {str(root)!r} (root/class/image or root/split/class/image; {suffixes})"
        )
        return None
    return listing


def _list_folder(root: Path, problems: Problems) -> FolderListing:
    top = _subfolders(root)
    filled = [name for name in top if _holds_images(root / name)]
    named = [name for name in filled if name.lower() in SPLIT_NAMES]
    by_split = bool(named) and len(named) == len(filled)
    if len(named) > 1 and not by_split:
        others = ", ".join(repr(name) for name in filled if name not in named)
        problems.add(f"the folders {', '.join(map(repr, named))} name splits, but {others} beside them do not")
    files: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    stray = len(_images(root, problems))
    empty: set[str] = set()
    places = [(name, name, "") for name in top]
    if by_split:
        stray += sum(len(_images(root / first, problems)) for first in named)
        places = [(f"{first}/{name}", name, first) for first in named for name in _subfolders(root / first)]
    for folder, name, first in places:
        found = [f"{folder}/{path}" for path in _images(root / folder, problems, deep=True)]
        files += found
        labels += [name] * len(found)
        splits += [SPLITS[SPLIT_NAMES[first.lower()]] if by_split else ""] * len(found)
        if not found:
            empty.add(name)
    warnings = [f"folder {name!r} holds no image and is no class" for name in sorted(empty - set(labels))]
    if stray:
        warnings.append(f"{stray:,} images lie outside any class folder and are left out")
    return FolderListing(files, labels, splits if by_split else None, tuple(warnings))


def _holds_images(folder: Path) -> bool:
    walk = os.walk(folder, onerror=_refuse)
    return any(name.lower().endswith(IMAGE_SUFFIXES) for _, _, names in walk for name in names)


def _refuse(error: OSError) -> None:
    raise error  # os.walk passes over what it cannot read, and images would be missing silently


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path, problems: Problems, deep: bool = False) -> list[str]:
    """Images in a folder, relative to it; what would be left out silently is an error instead."""
    found = []
    for place, inner, names in os.walk(folder, onerror=_refuse):
        inner[:] = sorted(name for name in inner if deep and not name.startswith("."))
        for name in inner:
            if os.path.islink(os.path.join(place, name)):
                path = os.path.join(place, name)
                problems.add(f"{path!r} links to a folder; links below a class are not followed")
        prefix = "" if place == str(folder) else os.path.relpath(place, folder).replace(os.sep, "/") + "/"
        for name in sorted(names):
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                if not (prefix + name).isprintable():
                    problems.add(f"the file name {prefix + name!r} is not printable UTF-8: rename it")
                found.append(prefix + name)
    return found


def check_files(
    root: Path, files: Sequence[str], splits: Sequence[int] | None, places: Sequence[str], problems: Problems
) -> tuple[str, ...]:
    """Normalised paths, after checking that each is a file inside `root` and named once.

    One folder listing per folder instead of one look-up per file: 200,000 files take a fraction of a second.

    Args:
        splits: split of each file, to say when a doubled one stands in two splits.
        places: where each file is named ("table.csv row 3"), for messages.
    """
    base = os.path.realpath(root)
    normal = [_normalised(path) for path in files]
    folders: dict[str, _Folder] = {}
    first: dict[str, int] = {}
    faults: dict[str, list[str]] = {}
    for i, path in enumerate(normal):
        if fault := _path_fault(path):
            faults.setdefault("path", []).append(f"{places[i]}: image {path[:200]!r} {fault}")
            continue
        earlier = first.setdefault(path, i)
        if earlier != i:
            text = f"{places[i]}: image {path!r} stands already at {places[earlier]}"
            if splits is not None and splits[i] != splits[earlier]:
                text += f", and in two splits ({SPLITS[splits[earlier]]} and {SPLITS[splits[i]]})"
            faults.setdefault("doubled", []).append(text)
            continue
        folder, _, name = path.rpartition("/")
        listing = folders.get(folder)
        if listing is None:
            listing = folders[folder] = _Folder(base, folder)
        if name in listing.files:
            continue
        fault = listing.fault(name)
        if fault:
            kind = "outside" if "outside" in fault else "missing"
            faults.setdefault(kind, []).append(f"{places[i]}: image {path!r} {fault}")
    for kind, texts in faults.items():
        problems.extend(texts[:SHOWN])
        if len(texts) > SHOWN:
            problems.add(f"{len(texts) - SHOWN:,} more images with this fault: {kind}")
    return tuple(normal)


def _normalised(path: str) -> str:
    if "./" in path or "//" in path or path.endswith("/"):
        # A path with `..` stays as it is: it is refused, and the message should show what was written.
        return path if ".." in path.split("/") else posixpath.normpath(path)
    return path


def _path_fault(path: str) -> str:
    if not path or path == ".":
        return "is not named"
    if "\0" in path:
        return "has a zero byte in its name"
    if path[0] in "/\\" or re.match(r"[A-Za-z]:[\\/]", path):
        return "is an absolute path outside the image root; give it relative to `images`"
    if ".." in path and ".." in re.split(r"[/\\]", path):
        return "leaves the image root"
    return ""


class _Folder:
    """The plain files of one folder, listed once; links are followed only when asked for."""

    def __init__(self, base: str, folder: str) -> None:
        self.base = base
        self.path = os.path.join(base, folder) if folder else base
        self.files: set[str] = set()
        self.error = ""
        try:
            if not _within(os.path.realpath(self.path), base):
                self.error = "lies outside the image root (a linked folder)"
                return
            with os.scandir(self.path) as entries:
                self.files = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        except (OSError, ValueError) as error:
            self.error = f"does not exist ({getattr(error, 'strerror', None) or error}: {folder or '.'!r})"

    def fault(self, name: str) -> str:
        if self.error:
            return self.error
        path = os.path.join(self.path, name)
        try:
            if os.path.isdir(path):
                return "is a folder"
            if not os.path.isfile(path):
                return "does not exist"
            inside = _within(os.path.realpath(path), self.base)
            return "" if inside else "links to a place outside the image root"
        except (OSError, ValueError) as error:
            return f"does not exist ({error})"


def _within(path: str, base: str) -> bool:
    return path == base or path.startswith(base.rstrip(os.sep) + os.sep)


# --- guesses for a first manifest ---------------------------------------------------------------------------

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
    """Recognise a table (or a folder that holds one) or class folders.

    Args:
        base: folder of the manifest to be; beside the table or in the folder when None.

    Raises:
        FairpruneError: nothing is recognised; the message says what is needed.
    """
    if path.is_file():
        return _guess_table(path, base or path.parent)
    if not path.is_dir():
        raise FairpruneError("no such file or folder", where=str(path))
    tables = [p for p in sorted(path.iterdir()) if p.suffix.lower() in (".csv", ".tsv", ".parquet", ".pq")]
    tables.sort(key=lambda p: p.stem.lower() != "table")
    for table in tables:
        columns = read_table(table, Problems(str(table)))
        if columns is not None and _image_column(columns) and _column(columns, _LABEL_NAMES):
            return _guess_table(table, base or path)
    return _guess_folder(path, base or path)


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
    if not all(cell.lower() in SPLIT_NAMES for cell in table.columns[split]):
        split = ""
    person = _column(table, _PERSON_NAMES) or ""
    low = {
        name: distinct(table.columns[name])
        for name in table.header
        if name not in (image, split, person, "") and 2 <= len(set(table.columns[name])) <= _MOST_GROUPS
    }
    label = _column(table, _LABEL_NAMES) or next(iter(low), "")
    classes = distinct(table.columns[label]) if label else ()
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


def _columns_hint(table: Table) -> str:
    return "write the manifest by hand; the columns are " + ", ".join(map(repr, table.header))


def _column(table: Table, names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(table.header)}
    return next((lower[name] for name in names if name in lower), None)


def _image_column(table: Table) -> str | None:
    def share(name: str) -> float:
        cells = table.columns[name][:1000]
        return sum(cell.lower().endswith(IMAGE_SUFFIXES) for cell in cells) / len(cells)

    likely = [name for name in table.header if share(name) >= 0.9]
    named = [name for name in likely if name.lower() in _IMAGE_NAMES]
    return next(iter(named or likely), None)


def _image_root(base: Path, files: Sequence[str]) -> tuple[str, tuple[Path, ...]]:
    probe = [name for name in files[:: max(1, len(files) // 20)] if "\0" not in name]
    for folder in [".", *(name for name in _subfolders(base))]:
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
