"""Where images lie on disk in class folders, one per class or one per split and class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fairprune_cli.core.errors import Problems
from fairprune_cli.core.printable import is_printable, tidy
from fairprune_cli.data.tables.image_names import image_suffixes, is_image_file, listed_suffixes
from fairprune_cli.data.tables.split_words import split_of
from fairprune_cli.data.tables.table import SHOWN

NameSplit = Callable[[str], str | None]
_SHOWN_WORDS = 8


@dataclass(frozen=True, eq=False)
class FolderListing:
    """Images of class folders: paths relative to the root, class and split folder (None without split folders)."""

    files: list[str]
    labels: list[str]
    splits: list[str] | None
    warnings: tuple[str, ...]


def list_folder(root: Path, problems: Problems, named: NameSplit = split_of) -> FolderListing | None:
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
    if odd := sorted({name for name in set(labels) if not is_printable(name)}):
        problems.add(f"names of class folders cannot be printed: {', '.join(map(repr, odd[:SHOWN]))}", "unprintable")
    classes = {name: tidy(name) for name in set(labels)}
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
