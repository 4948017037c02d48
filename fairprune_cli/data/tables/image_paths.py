"""Whether each image that is named is there: a file below the image root, named once."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from fairprune_cli.core.errors import Problem, Problems
from fairprune_cli.core.limits import limit
from fairprune_cli.core.printable import is_printable, tidy
from fairprune_cli.data.tables.codes import table_of
from fairprune_cli.data.tables.table import SHOWN, SPLITS

MANY_FAULTS = "many-faults"
"""The code of what says that no further row was looked at."""


def check_files(
    root: Path,
    files: Sequence[str],
    splits: Sequence[int] | None,
    table: str,
    rows: Sequence[int],
    problems: Problems,
    *,
    what: str = "image",
    fault_of: Callable[[str], tuple[str, str] | None] | None = None,
    spare: Sequence[bool] | None = None,
    absent: list[int] | None = None,
) -> tuple[str, ...]:
    """Paths as they are stored, after checking that each is a file inside `root` and named once.

    One folder listing per folder instead of one look-up per file: 200,000 files take a fraction of a second.

    Args:
        splits: split of each file, to say when a doubled one stands in two splits.
        table, rows: where each file is named, for messages; row 0 for none.
        what: that a file should be, for messages.
        fault_of: what is wrong with a path that may be used, as code and text, instead of the look into its folder.
        spare: which files nobody is going to open: that they are missing is no fault.
        absent: takes the positions of those.
    """
    look_up = _Folders(root).look_up if fault_of is None else lambda path: (path, fault_of(path))
    most = limit("table_faults")
    normal = [_normalised(path) for path in files]
    first: dict[str, int] = {}
    faults: dict[str, list[Problem]] = {}

    def place(n: int) -> str:
        return f"{table_of(table, rows[n])} row {rows[n]}" if rows[n] else table

    def note(kind: str, text: str) -> None:
        faults.setdefault(kind, []).append(Problem(f"{place(i)}: {text}", kind, path, int(rows[i])))

    for i, path in enumerate(normal):
        if max(map(len, faults.values()), default=0) > most:
            text = f"more than {most:,} {what}s with a fault; those from {place(i)} on were not looked at"
            problems.add(text, MANY_FAULTS)
            break
        if fault := _path_fault(path):
            note("outside" if "root" in fault else "path", f"{what} {path[:200]!r} {fault}")
            continue
        earlier = first.setdefault(path, i)
        if earlier != i:
            two = splits is not None and splits[i] != splits[earlier] and (splits[earlier], splits[i])
            both = f", and in two splits ({SPLITS[two[0]]} and {SPLITS[two[1]]})" if two else ""
            note("doubled", f"{what} {path!r} stands already at {place(earlier)}{both}")
            continue
        normal[i], found = look_up(path)
        if found and found[0] == "missing" and spare is not None and spare[i]:
            if absent is not None:
                absent.append(i)
        elif found:
            note(found[0], f"{what} {path!r} {found[1]}")
    for kind, some in faults.items():
        problems.add_some(some, SHOWN, f"{what}s with this fault: {kind}")
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
    """The folders below an image root, each listed when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._base = os.path.realpath(root)
        self._listed: dict[str, _Folder] = {}

    def look_up(self, path: str) -> tuple[str, tuple[str, str] | None]:
        """A path as it stands on disk, and what is wrong with it, as code and text.

        Cells of a table are composed, and names on disk need not be: copies from a Mac are decomposed.
        """
        folder, slash, name = path.rpartition("/")
        listing = self._folder(folder)
        if name in listing.files:
            return path, None
        if not path.isascii():
            for other in (folder, unicodedata.normalize("NFD", folder)):
                if found := self._folder(other).composed.get(name):
                    return other + slash + found, None
        text = listing.fault(name)
        return path, ("outside" if "outside" in text else "missing", text) if text else None

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
