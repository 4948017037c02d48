"""Where images lie on disk: class folders, and the check that every image exists."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fairprune_cli.core.errors import Problem, Problems
from fairprune_cli.core.printable import is_printable, tidy
from fairprune_cli.data.tables.codes import table_of
from fairprune_cli.data.tables.image_names import image_suffixes, is_image_file, listed_suffixes
from fairprune_cli.data.tables.split_words import split_of
from fairprune_cli.data.tables.table import SHOWN, SPLITS

NameSplit = Callable[[str], str | None]
_SHOWN_WORDS = 8


def usual_split(word: str) -> str | None:
    """The split that a folder's name means, None for none."""
    code = split_of(word)
    return None if code is None else SPLITS[code]


@dataclass(frozen=True, eq=False)
class FolderListing:
    """Images of class folders: paths relative to the root, class and split folder (None without split folders)."""

    files: list[str]
    labels: list[str]
    splits: list[str] | None
    warnings: tuple[str, ...]


def list_folder(root: Path, problems: Problems, named: NameSplit = usual_split) -> FolderListing | None:
    """List `root/[split/]class/**/image`, sorted; hidden entries are passed over, other files counted in a warning.

    The first level names splits when every folder of it that holds images is called train, val or test, in any of the
    usual words; a mixture with other names is a problem, unless the only such folder holds no folders itself and so is
    a class.

    Args:
        named: the split (or a word for none of them) that a folder's name means, None where it means none.
    """
    try:
        listing = _list_folder(root, problems, named)
    except OSError as error:
        place = error.filename or str(root)
        problems.add(f"the folder {place!r} cannot be read: {error.strerror or error}")
        return None
    if not listing.files:
        suffixes = ", ".join(suffix[1:] for suffix in image_suffixes())
        problems.add(
            f"no image in class folders below {str(root)!r} (root/class/image or root/split/class/image; {suffixes})"
        )
        return None
    return listing


def _list_folder(root: Path, problems: Problems, named: NameSplit) -> FolderListing:
    top = subfolders(root)
    filled = [name for name in top if _holds_images(root / name)]
    parts = [name for name in filled if named(name) is not None]
    by_split = bool(parts) and len(parts) == len(filled)
    if not by_split and (len(parts) > 1 or (parts and _holds_classes(root / parts[0]))):
        others = [name for name in filled if name not in parts]
        words = ", ".join(f"{name}: {'drop' if name in others else named(name)}" for name in filled[:_SHOWN_WORDS])
        several = len(parts) > 1
        problems.add(
            f"the folder{'s' if several else ''} {', '.join(map(repr, parts))} name{'' if several else 's a'} "
            f"split{'s' if several else ''}, but {', '.join(map(repr, others))} beside {'them' if several else 'it'} "
            f"do{'' if len(others) > 1 else 'es'} not: say what each is, as in splits: {{names: {{{words}}}}}"
        )
    files: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    stray = len(_images(root, problems))
    empty: set[str] = set()
    left_out: Counter[str] = Counter()
    places = [(name, name, "") for name in top]
    if by_split:
        stray += sum(len(_images(root / first, problems)) for first in parts)
        places = [(f"{first}/{name}", name, first) for first in parts for name in subfolders(root / first)]
    for folder, name, first in places:
        found = [f"{folder}/{path}" for path in _images(root / folder, problems, deep=True, left_out=left_out)]
        files += found
        labels += [name] * len(found)
        splits += [first] * len(found)
        if not found:
            empty.add(name)
    if odd := sorted({name for name in labels if not is_printable(name)}):
        problems.add(f"names of class folders cannot be printed: {', '.join(map(repr, odd[:SHOWN]))}", "unprintable")
    classes = {name: tidy(name) for name in labels}
    if len(set(classes.values())) < len(classes):
        alike = (ascii(name) for name in sorted(classes) if list(classes.values()).count(tidy(name)) > 1)
        problems.add(f"class folders differ in white space or the form of Unicode alone: {', '.join(alike)}")
    warnings = [f"folder {name!r} holds no image and is no class" for name in sorted(empty - set(labels))]
    if stray:
        warnings.append(f"{stray:,} images lie outside any class folder and are left out")
    if count := left_out.total():
        kinds = listed_suffixes(left_out)
        warnings.append(f"{count:,} files in class folders are no images that can be opened and are left out: {kinds}")
    return FolderListing(files, [classes[name] for name in labels], splits if by_split else None, tuple(warnings))


def _holds_classes(folder: Path) -> bool:
    return any(_holds_images(folder / name) for name in subfolders(folder))


def _holds_images(folder: Path) -> bool:
    walk = os.walk(folder, onerror=_refuse)
    return any(is_image_file(place, name) for place, _, names in walk for name in names)


def _refuse(error: OSError) -> None:
    raise error  # os.walk passes over what it cannot read, and images would be missing silently


def images_below(root: Path, problems: Problems) -> list[str]:
    """All images below a folder, relative to it, folder by folder; hidden entries and other files are passed over."""
    try:
        return _images(root, problems, deep=True)
    except OSError as error:
        problems.add(f"the folder {error.filename or str(root)!r} cannot be read: {error.strerror or error}")
        return []


def subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path, problems: Problems, deep: bool = False, left_out: Counter[str] | None = None) -> list[str]:
    """Images in a folder, relative to it; what would be left out silently is an error instead.

    Args:
        left_out: where files that are no images are counted, by suffix.
    """
    found = []
    for place, inner, names in os.walk(folder, onerror=_refuse):
        inner[:] = sorted(name for name in inner if deep and not name.startswith("."))
        for name in inner:
            if os.path.islink(os.path.join(place, name)):
                path = os.path.join(place, name)
                problems.add(f"{path!r} links to a folder; links below a class are not followed")
        prefix = "" if place == str(folder) else os.path.relpath(place, folder).replace(os.sep, "/") + "/"
        for name in sorted(names):
            if name.startswith("."):
                continue
            if not is_image_file(place, name):
                if left_out is not None:
                    left_out[os.path.splitext(name)[1].lower()] += 1
            else:
                if not is_printable(prefix + name):
                    problems.add(f"the file name {prefix + name!r} is not printable UTF-8: rename it", "unprintable")
                found.append(prefix + name)
    return found


def check_files(
    root: Path,
    files: Sequence[str],
    splits: Sequence[int] | None,
    table: str,
    rows: Sequence[int],
    problems: Problems,
) -> tuple[str, ...]:
    """Normalised paths, after checking that each is a file inside `root` and named once.

    One folder listing per folder instead of one look-up per file: 200,000 files take a fraction of a second.

    Args:
        splits: split of each file, to say when a doubled one stands in two splits.
        table, rows: where each file is named, for messages; row 0 for none.
    """
    places = [f"{table_of(table, row)} row {row}" if row else table for row in rows]
    base = os.path.realpath(root)
    normal = [_normalised(path) for path in files]
    folders = _Folders(base)
    first: dict[str, int] = {}
    faults: dict[str, list[Problem]] = {}

    def note(kind: str, text: str) -> None:
        faults.setdefault(kind, []).append(Problem(f"{places[i]}: {text}", kind, path, int(rows[i])))

    for i, path in enumerate(normal):
        if fault := _path_fault(path):
            note("outside" if "root" in fault else "path", f"image {path[:200]!r} {fault}")
            continue
        earlier = first.setdefault(path, i)
        if earlier != i:
            text = f"image {path!r} stands already at {places[earlier]}"
            if splits is not None and splits[i] != splits[earlier]:
                text += f", and in two splits ({SPLITS[splits[earlier]]} and {SPLITS[splits[i]]})"
            note("doubled", text)
            continue
        there, fault = folders.look_up(path)
        normal[i] = there
        if fault:
            note("outside" if "outside" in fault else "missing", f"image {path!r} {fault}")
    for kind, found in faults.items():
        problems.add_some(found, SHOWN, f"images with this fault: {kind}")
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
    if not is_printable(path):
        return "has a name that cannot be printed: rename it"
    if path[0] in "/\\" or re.match(r"[A-Za-z]:[\\/]", path):
        return "is an absolute path outside the image root; give it relative to `images`"
    if ".." in path and ".." in re.split(r"[/\\]", path):
        return "leaves the image root"
    return ""


class _Folders:
    """The folders below a root, each listed once."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._listed: dict[str, _Folder] = {}

    def look_up(self, path: str) -> tuple[str, str]:
        """A path as it stands on disk, and what is wrong with it ("" for nothing).

        Cells of a table are composed, and names on disk need not be: copies from a Mac are decomposed.
        """
        folder, slash, name = path.rpartition("/")
        listing = self._folder(folder)
        if name in listing.files:
            return path, ""
        if not path.isascii():
            for other in (folder, unicodedata.normalize("NFD", folder)):
                if found := self._folder(other).composed.get(name):
                    return other + slash + found, ""
        return path, listing.fault(name)

    def _folder(self, name: str) -> _Folder:
        if name not in self._listed:
            self._listed[name] = _Folder(self._base, name)
        return self._listed[name]


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

    @cached_property
    def composed(self) -> dict[str, str]:
        """The names that are not ASCII, by their composed form."""
        return {tidy(name): name for name in self.files if not name.isascii()}

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
