"""Claims: a file per cell that is being computed, so that two processes never compute the same one at once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairprune_cli.core.errors import ExitCode, FairpruneError

_YOUNG = 10.0  # seconds in which an unreadable claim may still be about to be written


@contextlib.contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Try to claim; inside the block the claim is ours if the value is true, and afterwards it is gone.

    A claim of a process that died on this host is taken over. One of another host is believed as long as it is there.

    Raises:
        FairpruneError: the folder cannot be written (exit code 3).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ours = _acquire(path)
    except OSError as error:
        raise FairpruneError(
            f"cannot write: {error.strerror or error}", where=str(path), hint="give another --out",
            code=ExitCode.RUNTIME,
        ) from error  # fmt: skip
    try:
        yield ours
    finally:
        if ours:
            path.unlink(missing_ok=True)


def _acquire(path: Path) -> bool:
    # Who finds a dead claim removes it and makes a new one; without the lock a second process that found the same
    # dead claim could remove the new one.
    with open(path.parent / ".lock", "a", encoding="utf-8") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if path.exists() and _stale(path):
            path.unlink(missing_ok=True)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        mine = {"pid": os.getpid(), "born": _born(os.getpid()), "host": socket.gethostname()}
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(mine, stream)
        return True


def holder(path: Path) -> str:
    """Who holds a claim, in words."""
    content = _read(path)
    return f"process {content.get('pid', '?')} on {content.get('host', '?')}" if content else "another process"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _stale(path: Path) -> bool:
    content = _read(path)
    if not content:
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime > _YOUNG
        return False
    if content.get("host") != socket.gethostname() or not isinstance(content.get("pid"), int):
        return False
    try:
        os.kill(content["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    # The number of a dead process may have been given to another one since.
    return content.get("born") != _born(content["pid"])


def _born(pid: int) -> str | None:
    """When the process began, in the kernel's ticks; None where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None
