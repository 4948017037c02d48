"""Which entries of a tensor are kept, as one bit each or as run lengths: pure arithmetic on numpy arrays.

Both encodings list the kept entries in row-major order and are canonical: one mask has one encoding,
and a reader refuses every other byte string. `docs/format.md` is the specification.
"""

from __future__ import annotations

import math

import numpy as np

from fairprune_cli.models.file.header import ENCODINGS

ESCAPE = 255  # 255 pruned entries in a row, and no kept entry after them


class EncodingError(ValueError):
    """Bytes that no mask of the stated size encodes to; the message says what is wrong."""


def bitmask_bytes(total: int) -> int:
    """Bytes that the bitmask of `total` entries takes."""
    return (total + 7) // 8


def pack_bitmask(mask: np.ndarray) -> np.ndarray:
    """bool [n] -> uint8 [ceil(n / 8)]: entry i is bit 1 << i % 8 of byte i // 8; unused bits are 0."""
    return np.packbits(mask, bitorder="little")


def unpack_bitmask(packed: np.ndarray, total: int) -> np.ndarray:
    """uint8 [ceil(n / 8)] -> int64 [kept]: row-major positions of the kept entries, rising.

    Raises:
        EncodingError: wrong length, or a bit set beyond the last entry.
    """
    if packed.size != bitmask_bytes(total):
        raise EncodingError(f"the bitmask has {packed.size} bytes, {bitmask_bytes(total)} belong to {total} entries")
    if total % 8 and packed[-1] >> (total % 8):
        raise EncodingError("the bitmask has bits set beyond the last entry")
    # Positions, not the mask: assignment through positions is two to four times as fast in numpy.
    return np.flatnonzero(np.unpackbits(packed, count=total, bitorder="little").view(bool))


def _runs(mask: np.ndarray) -> np.ndarray:
    """int64 [kept + 1]: pruned entries before each kept one, and after the last."""
    kept = np.flatnonzero(mask)
    return np.diff(kept, prepend=-1, append=mask.size) - 1


def gaps_bytes(mask: np.ndarray) -> int:
    """Bytes that `pack_gaps(mask)` takes."""
    runs = _runs(mask)
    return int((runs // ESCAPE).sum()) + runs.size - 1


def pack_gaps(mask: np.ndarray) -> np.ndarray:
    """bool [n] -> uint8 [m]: for every kept entry the run of pruned entries before it.

    A run of r is r // 255 bytes of 255, then one byte r % 255. The run after the last kept entry is
    only its r // 255 bytes of 255: the shape tells the rest. So m bytes never stand for more than
    255 m + 254 entries, and a reader can bound what it allocates by the size of the file.
    """
    runs = _runs(mask)
    escapes = runs // ESCAPE
    packed = np.full(int(escapes.sum()) + runs.size - 1, ESCAPE, dtype=np.uint8)
    packed[np.cumsum(escapes[:-1] + 1) - 1] = runs[:-1] % ESCAPE
    return packed


def unpack_gaps(packed: np.ndarray, total: int) -> np.ndarray:
    """uint8 [m] -> int64 [kept]: row-major positions of the kept entries, rising.

    Raises:
        EncodingError: the runs reach beyond `total` entries or stop 255 or more short of it.
    """
    ends_run = packed != ESCAPE
    reached = packed.astype(np.int64)
    reached += ends_run
    np.cumsum(reached, out=reached)
    covered = int(reached[-1]) if reached.size else 0
    if not 0 <= total - covered < ESCAPE:
        raise EncodingError(f"the gaps cover {covered} entries of {total}")
    return reached[ends_run] - 1


def choose(mask: np.ndarray, itemsize: int, *, dense_is_exact: bool) -> str:
    """The encoding with the fewest bytes for a mask bool [n] over entries of `itemsize` bytes.

    Args:
        dense_is_exact: the kept entries are exactly the nonzero ones. Without that a dense tensor
            could not tell a kept zero from a pruned entry, so dense is not offered.
    """
    values = int(np.count_nonzero(mask)) * itemsize
    sizes = {
        "dense": mask.size * itemsize if dense_is_exact else math.inf,
        "bitmask": values + bitmask_bytes(mask.size),
        "gaps": values + gaps_bytes(mask),
    }
    return min(ENCODINGS, key=lambda name: sizes[name])
