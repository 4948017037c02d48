"""What image files hold, as hashes; files that have not changed since are not read again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISREG

import numpy as np

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_path, cache_dir, kept_of, unchanged
from fairprune_cli.core.parallel import Progress, chunked, decoding_threads
from fairprune_cli.data.tables.shard_index import HASH_BYTES, Stamp, stamp_of

_CHUNK = 256
_NO_FILE = (-1, 0, 0)


def folder() -> Path:
    """Where the hashes are kept, a file per image root."""
    return cache_dir() / "contents"


def content_hash(data: bytes) -> np.ndarray:
    """First 16 bytes of the SHA-256, uint8 [16]."""
    return np.frombuffer(hashlib.sha256(data).digest()[:HASH_BYTES], dtype=np.uint8)


def content_numbers(hashes: np.ndarray) -> np.ndarray:
    """A number for what each image holds, int64 [N], the same for equal bytes; one of its own for what was not read.

    Args:
        hashes: uint8 [N, 16], zeros for what was not read.
    """
    whole = np.ascontiguousarray(hashes).view(f"V{HASH_BYTES}").ravel()
    numbers = np.unique(whole, return_inverse=True)[1].astype(np.int64)
    unread = np.flatnonzero(~hashes.any(1))
    numbers[unread] = len(hashes) + unread
    return numbers


def content_hashes(
    root: str, files: Sequence[str], progress: Progress | None = None, *, read: bool = True
) -> np.ndarray:
    """First 16 bytes of each file's SHA-256, uint8 [N, 16]; zeros for a file that cannot be read.

    Args:
        root: folder that the paths are relative to.
        progress: called with (files done, N), where there are files to read.
        read: without it zeros also for files that would have to be read, as nothing is kept of them.
    """
    place = kept_of(folder(), root)
    places, known, old_hashes = _load(place)
    count = len(files)
    result = np.zeros((count, HASH_BYTES), dtype=np.uint8)
    facts = np.zeros((count, 4), dtype=np.int64)  # size, times of change of content and of entry, time of reading
    facts[:, :3] = np.array([_stamp(f"{root}/{file}") for file in files], dtype=np.int64).reshape(count, 3)
    at = np.fromiter((places.get(file, -1) for file in files), dtype=np.int64, count=count)
    kept = np.flatnonzero(at >= 0)
    kept = kept[unchanged(known[at[kept]], facts[kept, :3])]
    facts[kept, 3], result[kept] = known[at[kept], 3], old_hashes[at[kept]]
    if not read:
        return result
    there = facts[:, 0] >= 0
    there[kept] = False
    unread = np.flatnonzero(there).tolist()

    def hash_some(positions: Sequence[int]) -> None:
        for i in positions:
            facts[i, 3] = time.time_ns()
            with contextlib.suppress(OSError), open(f"{root}/{files[i]}", "rb") as stream:
                result[i] = content_hash(stream.read())

    with ThreadPoolExecutor(decoding_threads()) as pool:
        done = count - len(unread)
        for some, _ in zip(chunked(unread, _CHUNK), pool.map(hash_some, chunked(unread, _CHUNK)), strict=True):
            done += len(some)
            if progress is not None:
                progress(done, count)
    if unread:
        others = [name for name in places.keys() - set(files) if os.path.exists(os.path.join(root, name))]
        old = [places[name] for name in others]
        _save(place, [*files, *others], np.concatenate([facts, known[old]]), np.concatenate([result, old_hashes[old]]))
    return result


def _stamp(path: str) -> Stamp:
    """Of a plain file; a size of -1 for all else: a pipe would be waited for, and what is not there is told later."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return _NO_FILE
    return stamp_of(status) if S_ISREG(status.st_mode) else _NO_FILE


def _load(place: Path) -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """Row of each name, and the facts [n, 4] and hashes [n, 16] by row: a table, as there may be millions."""
    nothing = dict[str, int](), np.empty((0, 4), dtype=np.int64), np.empty((0, HASH_BYTES), dtype=np.uint8)
    try:
        with np.load(place, allow_pickle=False) as stored:
            names = stored["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
            facts, hashes = stored["facts"], stored["hashes"]
        if facts.shape != (len(names), 4) or hashes.shape != (len(names), HASH_BYTES):
            return nothing
    except Exception:  # absent or damaged in any way: the files are read
        return nothing
    return {name: i for i, name in enumerate(names)}, facts, hashes


def _save(place: Path, files: Sequence[str], facts: np.ndarray, hashes: np.ndarray) -> None:
    """Keep the hashes; where the cache cannot be written, the next run reads the files again."""
    names = np.frombuffer("\0".join(files).encode("utf-8", "surrogateescape"), dtype=np.uint8)
    with (
        contextlib.suppress(FairpruneError),
        atomic_path(place) as temporary,
        open(temporary, "wb") as stream,
    ):
        np.savez(stream, names=names, facts=facts, hashes=hashes)
