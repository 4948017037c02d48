"""The folder of decoded images: what is in it, how large it may become, and what goes first."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import cache_dir, read_plain
from fairprune_cli.core.locks import locked
from fairprune_cli.data import content_hashes
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.tables import shard_index

LIMIT = "FAIRPRUNE_CACHE_LIMIT"
DEFAULT_LIMIT = "50GB"
PIXELS, META = "pixels.u8", "meta.json"
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True)
class Entry:
    """The decoded images of one data set in one shape; `used` is seconds since 1970.

    Attributes:
        shape: None of a damaged entry.
    """

    folder: Path
    name: str
    images: int
    shape: ImageShape | None
    bytes: int
    used: float

    def document(self) -> dict[str, Any]:
        return {
            "entry": self.folder.name, "name": self.name, "images": self.images,
            "size": self.shape and self.shape.size, "channels": self.shape and self.shape.channels,
            "bytes": self.bytes, "used": self.used,
        }  # fmt: skip


def root() -> Path:
    return cache_dir() / "images"


def cache_limit() -> int:
    """Bytes that the entries may take together: FAIRPRUNE_CACHE_LIMIT, as in 500MB, or 50 GB.

    Raises:
        FairpruneError: it is no size.
    """
    text = os.environ.get(LIMIT) or DEFAULT_LIMIT
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?b?)\s*", text.lower())
    unit = _UNITS.get(match[2] if match and match[2].endswith("b") else (match[2] + "b" if match else "?"))
    if match is None or unit is None:
        raise FairpruneError(f"{text!r} is no size", where=LIMIT, hint="a number of bytes, or as 500MB, 20GB")
    return int(float(match[1]) * unit)


def entries() -> list[Entry]:
    """What the cache holds, the least recently used first."""
    found = []
    with contextlib.suppress(OSError):
        for folder in root().iterdir():
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            with contextlib.suppress(OSError):
                found.append(_entry(folder))
    return sorted(found, key=lambda entry: (entry.used, entry.folder.name))


def _entry(folder: Path) -> Entry:
    size = sum(file.stat().st_size for file in folder.iterdir())
    used = folder.stat().st_mtime
    try:
        used = (folder / META).stat().st_mtime
        meta = json.loads(read_plain(folder / META, "written_bytes"))
        count, *shape = [int(n) for n in meta["shape"]]
        return Entry(folder, str(meta.get("manifest", "")), count, ImageShape(*shape), size, used)
    except Exception:  # absent or damaged in any way
        return Entry(folder, "(damaged)", 0, None, size, used)


def touch(folder: Path) -> None:
    """Note that an entry was used."""
    with contextlib.suppress(OSError):
        os.utime(folder / META)


def make_room(needed: int, keep: Path) -> list[Entry]:
    """Remove the least recently used entries until `needed` more bytes stay within the limit; what was removed.

    An entry that another process has mapped goes on to serve it: its bytes are freed when the last one lets go.
    """
    _sweep()
    held = [entry for entry in entries() if entry.folder != keep]
    total, removed = sum(entry.bytes for entry in held) + needed, []
    for entry in held:
        if total <= cache_limit():
            break
        if _remove(entry.folder):
            total -= entry.bytes
            removed.append(entry)
    return removed


def clear_cache() -> list[Entry]:
    """Remove every entry, all kept hashes and indices of shards; what was removed."""
    _sweep()
    removed = [entry for entry in entries() if _remove(entry.folder)]
    for kept in (content_hashes.folder(), shard_index.index_folder()):
        shutil.rmtree(kept, ignore_errors=True)
    return removed


def _remove(folder: Path) -> bool:
    """Renamed first, so that nobody finds half an entry."""
    try:
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        os.rename(folder, aside / "old")
    except OSError:
        return False
    shutil.rmtree(aside, ignore_errors=True)
    return True


def _sweep() -> None:
    """Remove what builders that were killed have left behind: nobody holds the lock of such an entry."""
    with contextlib.suppress(OSError):
        for folder in root().glob(".*.*"):
            lock = root() / f"{folder.name.split('.')[1]}.lock"
            with entry_lock(lock, wait=False) as held:
                if held:
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def entry_lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold an entry's lock; whether it is held, without `wait` False when another process has it.

    Where there are no locks, as on some network folders, two processes decode twice, and the later rename finds the
    entry of the earlier one.
    """
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(locked(path, wait))
        except OSError:
            held = wait
        yield held
