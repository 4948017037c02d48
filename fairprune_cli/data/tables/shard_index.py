"""What a tar shard holds: each file's name, place, size and hash, read in one pass and kept until the shard changes.

Read with the standard library's tarfile, which gives the place of each file, so that a table in any order can be read
from shards, and which lives as long as Python does. A reader of streams gives no places; and all of them end a shard
silently at a damaged header, which is an error here. Nothing is ever unpacked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_path, cache_dir, kept_of, unchanged

HASH_BYTES = 16  # of SHA-256 that are kept of each image or file
Stamp = tuple[int, int, int]
_VERSION = 1
_READ = 1 << 20
_LARGEST_HEADER = 1 << 20  # extended headers hold names; tarfile reads them whole
_BLOCK = 512


class ShardFault(Exception):
    """A shard that cannot be used: `code` is unreadable, compressed, truncated or damaged."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The n files of a shard, in its order.

    Attributes:
        names: as in the shard, without a leading `./`.
        offsets, sizes: int64 [n], in bytes; where the content begins in the shard, and its length.
        hashes: uint8 [n, 16], the first bytes of the SHA-256 of each content.
        whole: whether the shard has its end mark.
        stamp: of the shard when this was read.
    """

    names: tuple[str, ...]
    offsets: np.ndarray
    sizes: np.ndarray
    hashes: np.ndarray
    whole: bool
    stamp: Stamp


def stamp_of(status: os.stat_result) -> Stamp:
    """Size in bytes, and times of change of content and of entry in ns."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def index_folder() -> Path:
    """Where indices are kept, a file per shard."""
    return cache_dir() / "shards"


def shard_index(path: str) -> ShardIndex:
    """The index of a shard; it is read from its beginning to its end, unless that was done since it last changed.

    Raises:
        ShardFault: it cannot be read, is compressed, cut short or damaged.
    """
    place = kept_of(index_folder(), path)
    try:
        with open(path, "rb", buffering=_READ) as stream:
            stamp, now = stamp_of(os.fstat(stream.fileno())), time.time_ns()
            if (kept := _load(place, stamp)) is not None:
                return kept
            index = _Reading(stream, stamp).index()
    except OSError as error:
        raise ShardFault("unreadable", f"cannot be read: {error.strerror or error}") from error
    _save(place, index, now)
    return index


class _Reading:
    """One pass over a shard. Also the stream that tarfile sees, which refuses headers that no tool writes."""

    def __init__(self, stream: IO[bytes], stamp: Stamp) -> None:
        self.stream, self.stamp = stream, stamp
        self.tell = stream.tell
        self.rows: dict[str, int] = {}
        self.names: list[str] = []
        self.places: list[tuple[int, int]] = []
        self.hashes: list[bytes] = []

    def seek(self, position: int) -> int:
        if not 0 <= position <= self.stamp[0]:
            raise ShardFault("truncated", f"is cut short{self._behind()}")
        return self.stream.seek(position)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise ShardFault("damaged", f"is damaged: a header of {size:,} bytes{self._behind()}")
        return self.stream.read(size)

    def index(self) -> ShardIndex:
        start = self.stream.read(6)
        if start[:2] == b"\x1f\x8b" or start[:3] == b"BZh" or start[:4] in (b"\xfd7zX", b"\x28\xb5\x2f\xfd"):
            raise ShardFault("compressed", "is compressed, as its images are already: write it as plain .tar")
        self.seek(0)
        try:
            with tarfile.open(fileobj=self, mode="r:") as archive:  # type: ignore[call-overload]
                while (member := archive.next()) is not None:
                    archive.members = []  # else all of them are kept
                    self._take(member)
                end = archive.offset
        except (ShardFault, OSError):
            raise
        except Exception as error:  # damaged headers make tarfile raise nearly anything
            raise ShardFault("damaged", f"is no tar archive or damaged: {error}{self._behind()}") from error
        whole = self._ends(end)
        places = np.array(self.places, dtype=np.int64).reshape(-1, 2)
        hashes = np.frombuffer(b"".join(self.hashes), dtype=np.uint8).reshape(-1, HASH_BYTES)
        return ShardIndex(tuple(self.names), places[:, 0].copy(), places[:, 1].copy(), hashes, whole, self.stamp)

    def _take(self, member: tarfile.TarInfo) -> None:
        if member.size < 0:  # tarfile would go back to where it was
            raise ShardFault("damaged", f"is damaged: a file of {member.size} bytes{self._behind()}")
        name = member.name.removeprefix("./")
        if member.islnk():  # the same file once more
            at = self.rows.get(member.linkname.removeprefix("./"))
            if at is not None:
                self._add(name, self.places[at], self.hashes[at])
        elif member.issparse():
            raise ShardFault("damaged", f"holds {name!r} with holes left out: write it without --sparse")
        elif member.isreg():
            self.seek(member.offset_data)
            digest, left = hashlib.sha256(), member.size
            while left:
                part = self.stream.read(min(left, _READ))
                if not part:
                    raise ShardFault("truncated", f"is cut short, within {name!r}")
                digest.update(part)
                left -= len(part)
            self._add(name, (member.offset_data, member.size), digest.digest()[:HASH_BYTES])

    def _add(self, name: str, place: tuple[int, int], digest: bytes) -> None:
        self.rows[name] = len(self.names)
        self.names.append(name)
        self.places.append(place)
        self.hashes.append(digest)

    def _ends(self, end: int) -> bool:
        """Whether the end mark is there. tarfile takes a damaged header for the end, and what follows is not read."""
        self.seek(end)
        mark = self.stream.read(_BLOCK)
        if any(mark):
            kind, text = ("truncated", "is cut short") if len(mark) < _BLOCK else ("damaged", "is damaged: no header")
            raise ShardFault(kind, f"{text}{self._behind()}")
        while part := self.stream.read(_READ):
            if any(part):
                text = "goes on behind its end mark: join archives with `tar --concatenate`"
                raise ShardFault("damaged", f"{text}{self._behind()}")
        return len(mark) == _BLOCK

    def _behind(self) -> str:
        return f", behind {self.names[-1]!r}" if self.names else ""


def _load(place: Path, stamp: Stamp) -> ShardIndex | None:
    """What was kept of a shard with this stamp; None without."""
    try:
        with np.load(place, allow_pickle=False) as stored:
            if int(stored["version"]) != _VERSION or not unchanged(stored["facts"], np.array(stamp)):
                return None
            names = tuple(stored["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1])
            places = stored["offsets"], stored["sizes"], stored["hashes"]
            index = ShardIndex(names, *places, bool(stored["whole"]), stamp)
    except Exception:  # absent or damaged in any way: the shard is read
        return None
    count = len(names)
    sound = index.offsets.shape == index.sizes.shape == (count,) and index.hashes.shape == (count, HASH_BYTES)
    return index if sound else None


def _save(place: Path, index: ShardIndex, read: int) -> None:
    """Keep the index; where the cache cannot be written, the next run reads the shard again."""
    text = "".join(f"{name}\0" for name in index.names).encode("utf-8", "surrogateescape")
    with (
        contextlib.suppress(FairpruneError),
        atomic_path(place, lasting=False) as temporary,  # its parts have checksums
        open(temporary, "wb") as stream,
    ):
        np.savez(
            stream, version=_VERSION, facts=np.array([*index.stamp, read]), names=np.frombuffer(text, dtype=np.uint8),
            offsets=index.offsets, sizes=index.sizes, hashes=index.hashes, whole=index.whole,
        )  # fmt: skip
