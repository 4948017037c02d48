"""Locks between processes: held by the operating system, so that a lock falls with its process, however that ends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import read_plain
from fairprune_cli.core.provenance import command
from fairprune_cli.core.signals import to_be_undone

NAME = ".lock"  # of the lock of a folder, within it
_LONGEST = 500  # characters of a command


class InUse(FairpruneError):
    """Another process writes the same file or folder."""


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
    with to_be_undone():
        try:
            yield True
        finally:
            lock.release()


def write_holder(path: Path) -> None:
    """Say in a file who this process is: number, host, since when, and the command."""
    record = {
        "pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": command()[:_LONGEST],
    }  # fmt: skip
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")


def read_holder(path: Path) -> dict[str, Any]:
    """What `write_holder` wrote; {} where it cannot be read."""
    try:
        content = json.loads(read_plain(path, "written_bytes"))
    except (OSError, ValueError, RecursionError, FairpruneError):
        return {}
    return content if isinstance(content, dict) else {}


def holder(path: Path) -> str:
    """The same in words."""
    found = read_holder(path)
    if not found:
        return "another process"
    text = f"process {found.get('pid', '?')} on {found.get('host', '?')}"
    text += f" since {found['since']}" if found.get("since") else ""
    return text + (f" ({found['command']})" if found.get("command") else "")


@contextlib.contextmanager
def written_alone(path: Path, folder: bool = False) -> Iterator[None]:
    """Be the only process that writes a file or folder; a lock in its place says who, and is gone afterwards.

    Where the file system has no locks, or refuses the lock's file, nobody is refused.

    Args:
        folder: whether `path` is one, which is made; where the block leaves it empty, it goes again.

    Raises:
        InUse: another process writes it.
    """
    lock = _lock_of(path, folder)
    made = [one for one in (lock.parent, *lock.parent.parents) if not one.exists()]
    with to_be_undone(), contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, made or ([path] if folder and not any(path.iterdir()) else []))
        held: bool | None = None
        with contextlib.suppress(OSError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            held = stack.enter_context(locked(lock, wait=False))
            if not held and not lock.exists():  # its holder has just removed it
                held = stack.enter_context(locked(lock, wait=False))
        if held is False:
            raise _in_use(path, lock)
        if held:
            stack.callback(_remove, lock)  # while it is held, so that nobody else's is removed
            with contextlib.suppress(OSError):
                write_holder(lock)
        yield


def refuse_in_use(path: Path, folder: bool = False) -> None:
    """Refuse what another process writes, before the work whose result it is to hold; nothing is made.

    Raises:
        InUse: another process writes it.
    """
    lock = _lock_of(path, folder)
    with contextlib.suppress(OSError):
        if lock.exists():  # it may be one of the dead
            with locked(lock, wait=False) as held:
                if not held and lock.exists():
                    raise _in_use(path, lock)


def holds_nothing(folder: Path) -> bool:
    """Whether a folder holds nothing but what a process that was killed at its beginning left: a lock, temporaries."""
    return all(one.name == NAME or (one.name.startswith(".") and one.suffix == ".tmp") for one in folder.iterdir())


def _lock_of(path: Path, folder: bool) -> Path:
    return path / NAME if folder else path.with_name(f".{path.name}{NAME}")


def _in_use(path: Path, lock: Path) -> InUse:
    return InUse(
        f"is being written by {holder(lock)}", where=str(path), hint="wait for its end, stop it, or give another --out"
    )


def _remove(lock: Path) -> None:
    with contextlib.suppress(OSError):
        lock.unlink()


def _remove_empty(folders: Sequence[Path]) -> None:
    """The innermost first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
