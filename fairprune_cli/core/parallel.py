"""Work on many small things in threads: how many, in which portions, and how its progress is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Progress = Callable[[int, int], None]
_T = TypeVar("_T")


def decoding_threads() -> int:
    """Threads for reading and decoding: one per core that this process may use, 8 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)


def chunked(items: Sequence[_T], size: int) -> Iterable[Sequence[_T]]:
    """The items in order, `size` at a time; the last portion may be smaller."""
    return (items[start : start + size] for start in range(0, len(items), size))
