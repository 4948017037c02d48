"""What image files hold, as hashes; files that have not changed since are not read again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_path, cache_dir, unchanged
from fairprune_cli.core.parallel import Progress, chunked, decoding_threads
from fairprune_cli.data.tables.shard_index import BYTES

_CHUNK = 256


def folder() -> Path:
    """Where the hashes are kept, a file per image root."""
    return cache_dir() / "contents"


def content_hashes(
    root: str, files: Sequence[str], progress: Progress | None = None, *, read: bool = True
) -> np.ndarray:
    """First 16 bytes of each file's SHA-256, uint8 [N, 16]; zeros for a file that cannot be read.

    Args:
        root: folder that the paths are relative to.
        progress: called with (0, N) now and then, as a sign of life.
        read: without it zeros also for files that would have to be read, as nothing is kept of them.
    """
    place = folder() / (hashlib.sha256(os.path.realpath(root).encode("utf-8", "surrogateescape")).hexdigest()[:32])
    places, known, old_hashes = _load(place)
    count = len(files)
    result = np.zeros((count, BYTES), dtype=np.uint8)
    facts = np.zeros((count, 4), dtype=np.int64)  # size, times of change of content and of entry, time of reading
    unread = []
    for i, file in enumerate(files):
        try:
            status = os.stat(os.path.join(root, file))
        except OSError:
            continue  # decoding will report it
        facts[i, :3] = status.st_size, status.st_mtime_ns, status.st_ctime_ns
        at = places.get(file, -1)
        if at >= 0 and unchanged(known[at].tolist(), facts[i].tolist()):
            facts[i, 3], result[i] = known[at, 3], old_hashes[at]
        else:
            unread.append(i)

    if not read:
        return result

    def hash_some(positions: Sequence[int]) -> None:
        for i in positions:
            facts[i, 3] = time.time_ns()
            with contextlib.suppress(OSError), open(os.path.join(root, files[i]), "rb") as stream:
                result[i] = np.frombuffer(hashlib.sha256(stream.read()).digest()[:BYTES], dtype=np.uint8)

    with ThreadPoolExecutor(decoding_threads()) as pool:
        for _ in pool.map(hash_some, chunked(unread, _CHUNK)):
            if progress is not None:
                progress(0, count)
    if unread:
        others = [name for name in places.keys() - set(files) if os.path.exists(os.path.join(root, name))]
        old = [places[name] for name in others]
        _save(place, [*files, *others], np.concatenate([facts, known[old]]), np.concatenate([result, old_hashes[old]]))
    return result


def _load(place: Path) -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """Row of each name, and the facts [n, 4] and hashes [n, 16] by row: a table, as there may be millions."""
    nothing = dict[str, int](), np.empty((0, 4), dtype=np.int64), np.empty((0, BYTES), dtype=np.uint8)
    try:
        with np.load(place.with_suffix(".npz"), allow_pickle=False) as stored:
            names = stored["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
            facts, hashes = stored["facts"], stored["hashes"]
        if facts.shape != (len(names), 4) or hashes.shape != (len(names), BYTES):
            return nothing
    except Exception:  # absent or damaged in any way: the files are read
        return nothing
    return {name: i for i, name in enumerate(names)}, facts, hashes


def _save(place: Path, files: Sequence[str], facts: np.ndarray, hashes: np.ndarray) -> None:
    """Keep the hashes; where the cache cannot be written, the next run reads the files again."""
    names = np.frombuffer("\0".join(files).encode("utf-8", "surrogateescape"), dtype=np.uint8)
    with (
        contextlib.suppress(FairpruneError),
        atomic_path(place.with_suffix(".npz")) as temporary,
        open(temporary, "wb") as stream,
    ):
        np.savez(stream, names=names, facts=facts, hashes=hashes)
