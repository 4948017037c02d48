"""Tar shards as WebDataset lays them out: which there are, and where in them each image of a table lies.

A file's key is its path up to the first dot of its name, as WebDataset has it; the files of one key are one sample.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import Problem, Problems
from fairprune_cli.core.parallel import Progress
from fairprune_cli.core.printable import is_printable, tidy
from fairprune_cli.data.tables.image_names import is_image_name
from fairprune_cli.data.tables.image_paths import check_files
from fairprune_cli.data.tables.shard_index import HASH_BYTES, ShardFault, ShardIndex, Stamp, shard_index
from fairprune_cli.data.tables.table import SHOWN

MOST_SHARDS = 100_000
_THREADS = 8  # shards that are read at once: what a far-away storage makes one wait for passes meanwhile
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})", re.ASCII)
_ABSENT = -1


@dataclass(frozen=True, eq=False)
class ShardPlaces:
    """Where N images lie: `shard[i]` is a position in `names`, `offset[i]` and `size[i]` are bytes within it.

    Attributes:
        names: of the shards, paths below the image root.
        stamps: of the shards when their indices were read.
        shard: int32 [N], -1 of an image that is nowhere; offset, size: int64 [N].
        hashes: uint8 [N, 16], the first bytes of the SHA-256 of each image.
        unnamed: images in the shards that no row names, and the first of them.
    """

    names: tuple[str, ...]
    stamps: tuple[Stamp, ...]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    hashes: np.ndarray
    unnamed: tuple[int, str]

    def order(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows in the order in which they lie in the shards, int64."""
        rows = np.asarray(rows, dtype=np.int64)
        return rows[np.lexsort((self.offset[rows], self.shard[rows]))]

    def at(self, positions: np.ndarray) -> ShardPlaces:
        """The places of some of the images, by their positions (int64 [n])."""
        return replace(
            self, shard=self.shard[positions], offset=self.offset[positions], size=self.size[positions],
            hashes=self.hashes[positions],
        )  # fmt: skip


def expanded(pattern: str) -> list[str]:
    """The names that a pattern stands for: `{0000..0099}` for numbers of one width, `{train,val}` for each word.

    Raises:
        ValueError: braces that mean nothing, or more than 100,000 names; says which.
    """
    parts = _BRACES.split(pattern)
    choices = [[text] if n % 2 == 0 else _choices(text) for n, text in enumerate(parts)]
    if any(mark in text for text in parts[::2] for mark in "{}"):
        raise ValueError(f"{pattern!r} has braces within braces, or an open one; as in train-{{0000..0099}}.tar")
    if math.prod(map(len, choices)) > MOST_SHARDS:
        raise ValueError(f"{pattern!r} stands for more than {MOST_SHARDS:,} shards")
    names = [""]
    for some in choices:
        names = [name + text for name in names for text in some]
    return names


def _choices(text: str) -> list[str]:
    if match := _RANGE.fullmatch(text):
        first, last = int(match[1]), int(match[2])
        if not 0 <= last - first < MOST_SHARDS:
            raise ValueError(f"{{{text}}} runs downwards, or over more than {MOST_SHARDS:,} shards")
        padded = any(end[0] == "0" and len(end) > 1 for end in match.groups())
        width = max(map(len, match.groups())) if padded else 0
        return [f"{number:0{width}d}" for number in range(first, last + 1)]
    words = text.split(",")
    if len(words) < 2 or ".." in text:
        raise ValueError(f"{{{text}}} is neither a range, as {{0000..0099}}, nor a list of words, as {{train,val}}")
    return words


def key_of(name: str) -> str:
    """The WebDataset key of a file in a shard; "" of a hidden one."""
    folder, slash, base = name.rpartition("/")
    start = base.partition(".")[0]
    return folder + slash + start if start else ""


def _image_key(name: str) -> str:
    """The key of an image; "" of a file that is none by its suffix, and of a hidden one."""
    return key_of(name) if is_image_name(name) else ""


def open_shards(
    root: Path, names: Sequence[str], manifest: str, problems: Problems, progress: Progress | None = None
) -> Shards | None:
    """The shards' indices; None after noting what is wrong with any of them.

    Args:
        names: paths below root.
        manifest: file that names them, for messages.
        progress: called with (shards read, shards in all).
    """
    before = len(problems.found)
    names = check_files(root, names, None, manifest, [0] * len(names), problems, what="shard")
    if len(problems.found) > before:
        return None

    def read(name: str) -> ShardIndex | Problem:
        try:
            return shard_index(os.path.join(root, name))
        except ShardFault as fault:
            return Problem(f"{manifest}: shard {name!r} {fault.text}", f"{fault.code}-shard", name)

    found = []
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for one in pool.map(read, names):
                found.append(one)
                if progress is not None:
                    progress(len(found), len(names))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    problems.add_some([one for one in found if isinstance(one, Problem)], SHOWN, "shards that cannot be used")
    indices = [one for one in found if isinstance(one, ShardIndex)]
    return Shards(names, indices) if len(indices) == len(names) else None


class _Names:
    """Files by name and by key, as positions from 0; -2 - n for several of which n is the first.

    Names count in their composed form, as cells of a table have them: shards from a Mac have them decomposed.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.by_name: dict[str, int] = {}
        self.by_key: dict[str, int] = {}
        for n, name in enumerate(map(_composed, names)):
            _note(self.by_name, name, n)
            if key := _image_key(name):
                _note(self.by_key, key, n)

    def find(self, path: str) -> int:
        """The file of this name, else the only image with its key; -1 for none."""
        found = self.by_name.get(path, _ABSENT)
        return self.by_key.get(key_of(path), _ABSENT) if found == _ABSENT else found


def _composed(name: str) -> str:
    return name if name.isascii() else tidy(name)


def _note(places: dict[str, int], name: str, n: int) -> None:
    first = places.setdefault(name, n)
    if 0 <= first < n:
        places[name] = -2 - first


class Shards:
    """The files of some shards, counted from 0 through all of them, and which of them a table has named."""

    def __init__(self, names: Sequence[str], indices: Sequence[ShardIndex]) -> None:
        self.names = tuple(names)
        self.indices = tuple(indices)
        self.starts = np.cumsum([0, *(len(index.names) for index in indices)])
        self.all = _Names(name for index in indices for name in index.names)
        self.taken = np.zeros(int(self.starts[-1]), dtype=bool)
        self._position = {_composed(name): n for n, name in enumerate(names)}
        self._within: dict[int, _Names] = {}

    @property
    def warnings(self) -> list[str]:
        endless = [name for name, index in zip(self.names, self.indices, strict=True) if not index.whole]
        if not endless:
            return []
        said = f"{len(endless):,} shard{'s have' if len(endless) > 1 else ' has'} no end mark, as {endless[0]!r}"
        return [f"{said}: written to the end?"]

    def find(self, path: str) -> int:
        """The file that a table calls so, -1 for none, -2 - n for several of which n is the first.

        A file's name counts first, then its key; `SHARD.tar/NAME` is looked for in one shard alone.
        """
        found = self.all.find(path)
        before, mark, name = path.partition(".tar/")
        if found == _ABSENT and mark and (shard := self._position.get(before + mark[:-1])) is not None:
            if shard not in self._within:
                self._within[shard] = _Names(self.indices[shard].names)
            inner, start = self._within[shard].find(name), int(self.starts[shard])
            found = inner + start if inner >= 0 else inner - start if inner < _ABSENT else _ABSENT
        return found

    def fault(self, path: str) -> tuple[str, str] | None:
        """What is wrong with a row that names this image, as code and text; each may be named once."""
        found = self.find(path)
        if found == _ABSENT:
            example = next(iter(self.all.by_key), "")
            keys = f"; keys are as {example!r}" if example else "; there is no image in them"
            return "missing", f"is in no shard, neither by its name nor by its key {key_of(path)!r}{keys}"
        if found < 0:
            first = self._place(-2 - found)
            return "doubled", f"is in the shards more than once, first as {first!r}: write so which is meant"
        if not is_printable(place := self._place(found)):
            return "path", f"is {place!r}, a name that cannot be printed: rename it in the shard"
        if self.taken[found]:
            return "doubled", f"stands already in an earlier row, by another name: it is {place!r}"
        self.taken[found] = True
        return None

    def _shard_of(self, numbers: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.starts, numbers, side="right") - 1

    def _place(self, number: int) -> str:
        shard = int(self._shard_of(np.array(number)))
        return f"{self.names[shard]}/{self.indices[shard].names[number - int(self.starts[shard])]}"

    def hashes(self, files: Sequence[str]) -> np.ndarray:
        """Of the images that a table calls so, uint8 [N, 16]; zeros where there is none."""
        numbers = np.fromiter(map(self.find, files), dtype=np.int64, count=len(files))
        found = np.zeros((len(files), HASH_BYTES), dtype=np.uint8)
        found[numbers >= 0] = np.concatenate([index.hashes for index in self.indices])[numbers[numbers >= 0]]
        return found

    def places(self, files: Sequence[str]) -> ShardPlaces:
        """Where the images of a table lie, once `fault` has seen all of them."""
        numbers = np.fromiter(map(self.find, files), dtype=np.int64, count=len(files))
        there = numbers >= 0
        shard = np.where(there, self._shard_of(numbers), -1).astype(np.int32)
        offset, size = (np.zeros(len(files), dtype=np.int64) for _ in range(2))
        hashes = np.zeros((len(files), HASH_BYTES), dtype=np.uint8)
        for of_rows, name in ((offset, "offsets"), (size, "sizes"), (hashes, "hashes")):
            of_rows[there] = np.concatenate([getattr(index, name) for index in self.indices])[numbers[there]]
        stamps = tuple(index.stamp for index in self.indices)
        return ShardPlaces(self.names, stamps, shard, offset, size, hashes, self._unnamed())

    def _unnamed(self) -> tuple[int, str]:
        """Images that no row has named, and the first of them."""
        keys = (_image_key(name) for index in self.indices for name in index.names)
        bare = [n for n, (key, taken) in enumerate(zip(keys, self.taken.tolist(), strict=True)) if key and not taken]
        return len(bare), self._place(bare[0]) if bare else ""
