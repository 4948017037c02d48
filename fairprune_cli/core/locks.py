"""Locks between processes: held by the operating system, so that a lock falls with its process, however that ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock; the file stays behind, which means nothing: only a process can hold it.

    Not reentrant: another call for the same path waits or is refused in the holder's own process too, and a process
    that would wait for itself is told so (RuntimeError).

    Yields:
        Whether it is held: always with `wait`, else False when another process, or another call, has it.

    Raises:
        OSError: the file cannot be made, or a network file system has no locks.
    """
    # Without the kernel's locks the library would fall back to a file that outlives its process.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    except NotImplementedError as error:
        raise OSError(f"the file system has no locks: {error}") from error
    try:
        yield True
    finally:
        lock.release()
