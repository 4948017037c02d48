"""Marks on the values of a network: which channel each entry along an axis belongs to, and what silences it.

Every index of a tensor's dimension that may shrink has a number, its mark. The marks of a value are an array that
broadcasts to the value's shape, so an axis along which they do not differ has size 1: a feature map [B, C, H, W] has
marks [1, C, 1, 1]. Mark 0 is no channel. Operations move marks about as they move numbers, and tie those that meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from types import CodeType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

Terms = tuple[tuple[Ints, Fraction], ...]
"""A number that depends on widths: how many of these channels are left, each kind times a factor, added up."""


@dataclass(frozen=True, eq=False)
class Marks:
    """Of one value.

    Attributes:
        ids: numbers of channels, broadcastable to the value's shape.
        sources: the same shape; number of the set of gates (see `Ledger.source`) whose zeros make the entry zero.
    """

    ids: Ints
    sources: Ints

    def map(self, function: Callable[[Ints], Ints]) -> Marks:
        """The same rearrangement of both arrays, axes that do not differ collapsed afterwards."""
        return collapse(function(self.ids), function(self.sources))

    @property
    def axes(self) -> list[int]:
        """Axes along which marks differ."""
        return [axis for axis, size in enumerate(self.ids.shape) if size > 1]


def collapse(ids: Ints, sources: Ints) -> Marks:
    for axis in range(ids.ndim):
        if ids.shape[axis] > 1:
            first = ids.take([0], axis)
            if (ids == first).all():
                same = (sources == sources.take([0], axis)).all(axis, keepdims=True)
                ids, sources = first, np.where(same, sources.take([0], axis), 0)
    return Marks(ids, np.broadcast_to(sources, ids.shape))


@dataclass
class Ledger:
    """Everything that a walk finds out: ties, channels that must stay, and gates in front of readers."""

    count: int = 1
    ties: list[tuple[Ints, Ints]] = field(default_factory=list)
    fixed: list[tuple[Ints, str]] = field(default_factory=list)
    reads: list[tuple[Ints, Ints]] = field(default_factory=list)
    inexact: list[Ints] = field(default_factory=list)
    slots: dict[tuple[str, int], Ints] = field(default_factory=dict)
    gates: dict[str, Ints] = field(default_factory=dict)
    sources: list[frozenset[str]] = field(default_factory=lambda: [frozenset()])
    producers: dict[str, tuple[str, int]] = field(default_factory=dict)
    equal: list[tuple[Terms, Terms, str]] = field(default_factory=list)
    several: list[Ints] = field(default_factory=list)
    asked: list[tuple[Any, tuple[CodeType, int], str]] = field(default_factory=list)
    at: str = ""

    def slot(self, tensor: str, dim: int, size: int) -> Ints:
        """The marks of a tensor's dimension."""
        if (tensor, dim) not in self.slots:
            self.slots[tensor, dim] = np.arange(self.count, self.count + size)
            self.count += size
        return self.slots[tensor, dim]

    def gate(self, tensor: str, rows: Ints) -> str:
        """Declare that zeros in these rows of a tensor's first dimension (others 0) silence their channels."""
        self.gates[tensor] = rows
        return tensor

    def source(self, gates: frozenset[str]) -> int:
        """The number of a set of gates; the empty set has 0, for what no zeros silence."""
        if gates not in self.sources:
            self.sources.append(gates)
        return self.sources.index(gates)

    def tie(self, one: Ints, other: Ints) -> None:
        """These channels go together, pair by pair; a channel that meets none has to stay."""
        one, other = (part.ravel() for part in np.broadcast_arrays(one, other))
        both = (one > 0) & (other > 0)
        self.ties.append((one[both], other[both]))
        self.fix(one[~both], "it meets a value that cannot shrink")
        self.fix(other[~both], "it meets a value that cannot shrink")

    def fix(self, ids: Ints, why: str) -> None:
        """These channels stay."""
        if ids.any():
            self.fixed.append((np.unique(ids[ids > 0]), why))

    def read(self, ids: Ints, sources: Ints) -> None:
        """A layer mixes these channels, after they went through the gates of `sources`."""
        self.reads.append((ids, sources))

    def produce(self, tensor: str, layer: str, dim: int) -> None:
        """Declare that a layer's weight produces the channels of one of its dimensions."""
        self.producers.setdefault(tensor, (layer, dim))

    def keep_two(self, ids: Ints) -> None:
        """Of these channels, which the code would take for none if there was one, two stay at least."""
        self.several.append(ids.ravel())

    def passed_on(self, code: CodeType, instruction: int) -> None:
        """What this instruction asked numbers for, it asked to pass them on to the walk."""
        self.asked = [one for one in self.asked if one[1] != (code, instruction)]

    def settle(self) -> None:
        """Numbers that were asked for and not passed on are plain for good."""
        for number, _, at in self.asked:
            self.at = at
            number.plain()
        self.asked.clear()

    def same(self, one: Terms, other: Terms, why: str) -> None:
        """The two numbers differ by as much as they do now, whatever is removed; what would change that stays."""
        self.equal.append((one, other, f"{self.at}: {why}" if self.at else why))

    def unequal(self, roots: Ints) -> Iterable[tuple[Ints, str]]:
        """Channels that must stay for all of `same` to hold, with the reasons."""
        for one, other, why in self.equal:
            terms = [(ids, float(scale)) for ids, scale in one] + [(ids, -float(scale)) for ids, scale in other]
            if not terms:
                continue
            ids = np.concatenate([roots[part] for part, _ in terms])
            found, at = np.unique(ids, return_inverse=True)
            changes = np.bincount(at, np.concatenate([np.full(part.size, scale) for part, scale in terms]))
            wrong = found[(np.abs(changes) > 1e-9) & (found > 0)]
            if wrong.size:
                yield wrong, why

    def roots(self) -> Ints:
        """[count] the smallest mark that each one is tied to."""
        parent = np.arange(self.count)
        if not self.ties:
            return parent
        one, other = (np.concatenate(side) for side in zip(*self.ties, strict=True))
        while True:
            a, b = parent[one], parent[other]
            low, new = np.minimum(a, b), parent.copy()
            np.minimum.at(new, a, low)
            np.minimum.at(new, b, low)
            while (new[new] != new).any():
                new = new[new]
            if (new == parent).all():
                return parent
            parent = new
