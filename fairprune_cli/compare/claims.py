"""Claims: a file per cell that is being computed, so that two processes never compute the same one at once."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.locks import locked, read_holder, write_holder

_YOUNG = 10.0  # seconds in which an unreadable claim may still be about to be written


@contextlib.contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Try to claim; inside the block the claim is ours if the value is true, and afterwards it is gone.

    A lock beside the claim is held as long as the claim, and falls with its process: a claim of this host whose lock
    is free is taken over. Locks may not reach other hosts, so one of another host is believed as long as it is there.

    Raises:
        FairpruneError: the folder cannot be written, or has no locks (exit code 3).
    """
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            ours = stack.enter_context(locked(path.with_name(f".{path.name}.lock"), wait=False)) and _write(path)
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


def _write(path: Path) -> bool:
    """Make the claim, over a dead one of this host; False when another host's is there."""
    if path.exists() and _dead(path):
        path.unlink(missing_ok=True)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    os.close(handle)
    write_holder(path)
    return True


def _dead(path: Path) -> bool:
    """Whether a claim whose lock is free has nobody any more."""
    content = read_holder(path)
    if content:
        return bool(content.get("host") == socket.gethostname())
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > _YOUNG
    return False
