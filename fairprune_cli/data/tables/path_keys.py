"""Images by a key of their path instead of the path: 16 bytes each, however long it is, found by binary search.

A key is two words of 64 bits, made with numbers that are drawn anew in every process. Of ten million paths two have
the same key with a probability below 1e-24, and nobody can choose paths that do.
"""

from __future__ import annotations

import posixpath
import secrets
import unicodedata

import numpy as np

from fairprune_cli.core.printable import tidy
from fairprune_cli.data.tables.columnar import Utf8

_SEEDS = tuple(secrets.randbits(64) for _ in range(2))
_WORD = 8


def plain_path(path: str) -> str:
    """A path in the one form of all its spellings: `./a.jpg`, `a//b.jpg`, `a\\b.jpg`, trimmed, composed (NFC)."""
    path = unicodedata.normalize("NFC", tidy(path)).replace("\\", "/")
    return path if ".." in path.split("/") or not path else posixpath.normpath(path)


def path_keys(paths: Utf8) -> np.ndarray:
    """Keys of paths, uint64 [n, 2]; paths of one `plain_path` have the same."""
    plain = _plain(paths)
    lengths = np.diff(plain.offsets)
    data = np.concatenate([plain.data, np.zeros(2 * _WORD, np.uint8)])
    words = np.ndarray((len(data) - _WORD + 1,), "<u8", data, strides=(1,))  # one at every byte
    lanes = [_mixed(lengths.astype(np.uint64) ^ np.uint64(seed)) for seed in _SEEDS]
    starts, left = plain.offsets[:-1], lengths
    for place in range(0, int(lengths.max(initial=0)), _WORD):
        some = np.flatnonzero(left > place)
        word = words[starts[some] + place]
        short = np.minimum(left[some] - place, _WORD).astype(np.uint64)
        # What stands behind the end belongs to the next path.
        word &= np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - np.uint64(8) * short)
        for lane, seed in zip(lanes, _SEEDS, strict=True):
            lane[some] = _mixed(lane[some] ^ word) + np.uint64(seed)
    return np.stack(lanes, 1)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Every bit depends on every bit (the finaliser of splitmix64, Steele, Lea and Flood, OOPSLA 2014); a bijection."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _plain(paths: Utf8) -> Utf8:
    """The paths in their plain form; as nearly all of them are in it already, the others are found by their bytes."""
    data, starts, ends = paths.data, paths.offsets[:-1], paths.offsets[1:]
    low, high = int(paths.offsets[0]), int(paths.offsets[-1])
    part = data[low:high]
    odd = np.flatnonzero((part <= 32) | (part >= 127) | (part == ord("\\"))) + low
    slashes = np.flatnonzero(part == ord("/")) + low
    after = data[np.minimum(slashes + 1, max(high - 1, 0))]
    at = np.concatenate([odd, slashes[(after == ord("/")) | (after == ord("."))]])
    rows = set(np.unique(np.searchsorted(ends, at, side="right")).tolist()) if len(at) else set()
    filled = np.flatnonzero(ends > starts)
    dotted = (data[starts[filled]] == ord(".")) | (data[ends[filled] - 1] == ord("/"))
    rows |= set(filled[dotted].tolist())
    if not rows:
        return paths
    return Utf8.of([plain_path(paths.text(i)) if i in rows else paths.text(i) for i in range(len(paths))])


class KeyTable:
    """Positions of keys: [N, 2] are given, and others are looked up among them."""

    def __init__(self, keys: np.ndarray) -> None:
        first = np.ascontiguousarray(keys[:, 0])
        self._keys = keys
        self._order = np.argsort(first).astype(np.uint32 if len(keys) < 1 << 32 else np.int64)
        self._first = first[self._order]

    def twice(self) -> np.ndarray:
        """Positions of keys that stand at an earlier one as well, int64, ascending."""
        at = np.flatnonzero(self._first[1:] == self._first[:-1])
        before, behind = (self._order[at + shift].astype(np.int64) for shift in (0, 1))
        same = self._keys[before, 1] == self._keys[behind, 1]
        return np.sort(np.maximum(before, behind)[same])

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Position of each key among those that were given, int64 [n]; -1 of one that is not there."""
        if not len(self._first):
            return np.full(len(keys), -1, np.int64)
        # In ascending order, so that neighbours are looked for near each other in memory.
        order = np.argsort(np.ascontiguousarray(keys[:, 0]))
        place = np.minimum(np.searchsorted(self._first, keys[order, 0]), len(self._first) - 1)
        found = np.full(len(keys), -1, np.int64)
        at = self._order[place]
        same = (self._first[place] == keys[order, 0]) & (self._keys[at, 1] == keys[order, 1])
        found[order[same]] = at[same]
        return found
