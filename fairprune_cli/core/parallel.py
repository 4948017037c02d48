"""Work on many small things in threads: how many, in which portions, and how its progress is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from fairprune_cli.core.errors import FairpruneError

MOST_THREADS = 1024  # that are asked for; no machine gains from more in one process
Progress = Callable[[int, int], None]
_T = TypeVar("_T")


def decoding_threads() -> int:
    """Threads for reading and decoding: one per core that this process may use, 8 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)


def refuse_too_many(threads: int, where: str) -> None:
    """Refuse more threads than this process is given, by starting as many: libgomp would end it without a word.

    Args:
        where: what asks for them.

    Raises:
        FairpruneError: more than `MOST_THREADS`, or than the system starts.
    """
    few = f"give as many as there are cores, {os.cpu_count() or 1} here, or fewer"
    if threads > MOST_THREADS:
        raise FairpruneError(f"{threads} threads are more than {MOST_THREADS}", where=where, hint=few)
    if threads <= (os.cpu_count() or 1):
        return
    started: list[threading.Thread] = []
    over = threading.Event()
    try:
        for _ in range(threads):
            one = threading.Thread(target=over.wait, daemon=True)
            one.start()
            started.append(one)
    except (RuntimeError, MemoryError):
        raise FairpruneError(
            f"{threads} threads are more than the {len(started)} that the system starts here", where=where, hint=few
        ) from None
    finally:
        over.set()
        for one in started:
            one.join()


def chunked(items: Sequence[_T], size: int) -> Iterable[Sequence[_T]]:
    """The items in order, `size` at a time; the last portion may be smaller."""
    return (items[start : start + size] for start in range(0, len(items), size))
