"""A long column of few distinct words: each word once, and a number for each row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import overload

import numpy as np


class CodedCells(Sequence[str]):
    """Cells as positions among their distinct values.

    Attributes:
        values: the distinct ones. codes: int32 [N], the position of each cell.
    """

    def __init__(self, values: Sequence[str], codes: np.ndarray) -> None:
        self.values, self.codes = values, codes

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[str]: ...
    def __getitem__(self, i: int | slice) -> str | Sequence[str]:
        return CodedCells(self.values, self.codes[i]) if isinstance(i, slice) else self.values[self.codes[i]]

    def __iter__(self) -> Iterator[str]:
        return (self.values[code] for code in self.codes.tolist())

    def at(self, positions: Sequence[int]) -> CodedCells:
        """Some of them."""
        return CodedCells(self.values, self.codes[np.asarray(positions, np.int64)])


def distinct(cells: Sequence[str]) -> Collection[str]:
    """The values that occur."""
    if isinstance(cells, CodedCells):
        return [cells.values[i] for i in np.unique(cells.codes).tolist()]
    return set(cells)


def replaced(cells: Sequence[str], by: Mapping[str, str]) -> Sequence[str]:
    """The cells with others in their place; `by` has every one that occurs."""
    if isinstance(cells, CodedCells):
        return CodedCells([by.get(value, value) for value in cells.values], cells.codes)
    return [by[cell] for cell in cells]
