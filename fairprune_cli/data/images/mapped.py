"""A file of pixels mapped into memory, which is looked at before it is read: behind its end a process is killed.

Whoever reads a map of a file that was cut short meanwhile gets SIGBUS, which no Python code can answer. The file's size
is asked for before each batch, in a microsecond.
"""

from __future__ import annotations

from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import open_plain


def map_pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels in a file, uint8 of this shape, read-only.

    Raises:
        OSError: it cannot be opened.
        ValueError: it has not as many bytes.
    """
    with open_plain(path) as stream:
        mapped = mmap(stream.fileno(), 0, access=ACCESS_READ)
    return np.frombuffer(mapped, np.uint8).reshape(shape)


def refuse_cut_short(pixels: np.ndarray) -> None:
    """Refuse to read pixels whose file has become shorter since it was mapped; others are in memory.

    Raises:
        FairpruneError: it has (exit code 3).
    """
    owner: object = pixels
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(owner, mmap) and owner.size() < len(owner):
        raise FairpruneError(
            "the decoded images in the cache were cut short while they were in use", where="FAIRPRUNE_CACHE",
            hint="run again, and they are decoded anew; nothing else may write to the cache", code=ExitCode.RUNTIME,
        )  # fmt: skip
