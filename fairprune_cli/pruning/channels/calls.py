"""A call of a function on values of the network, as the rules see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from torch import nn

from fairprune_cli.pruning.channels.marks import Ints, Ledger, Marks, Terms
from fairprune_cli.pruning.channels.sizes import Number, numbers_in

ONE = Fraction(1)


@dataclass(frozen=True, eq=False)
class Held:
    """Of a value that may be looked at or not: these channels stay if it is."""

    ids: Ints
    why: str


Result = Marks | None | list[Marks | Held | None]


@dataclass(frozen=True, eq=False)
class Operand:
    """A value that goes into an operation.

    Attributes:
        shape: its sizes.
        marks: its channels; None where it has none, and then its sizes never change.
        constant: it does not depend on the image.
    """

    shape: tuple[int, ...]
    marks: Marks | None
    constant: bool = False


@dataclass(frozen=True, eq=False)
class Weight:
    """A parameter or buffer of the network, whole; its axes may have changed places.

    Attributes:
        shape: its sizes.
        name: of the tensor.
        dims: the tensor's dimension that each axis is; -1 where it is none of them.
        trained: whether it is a parameter, whose zeros a mask can hold.
        mixed: axes over which it was normed, so that zeros are not absence.
        parts: the tensor's dimensions, with their sizes, that lie one after the other along an axis.
    """

    shape: tuple[int, ...]
    name: str
    dims: tuple[int, ...]
    trained: bool
    mixed: frozenset[int] = field(default_factory=frozenset)
    parts: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def slot(self, ledger: Ledger, axis: int) -> Ints:
        """Marks of one axis; what lies there in parts stays."""
        if self.dims[axis] < 0:
            for ids in self.slots(ledger, axis):
                ledger.fix(ids, f"{self.name} is reshaped")
            return np.zeros(self.shape[axis], np.int64)
        return ledger.slot(self.name, self.dims[axis], self.shape[axis])

    def slots(self, ledger: Ledger, axis: int) -> list[Ints]:
        """Marks of all of the tensor's dimensions that an axis is made of."""
        if self.dims[axis] >= 0:
            return [self.slot(ledger, axis)]
        return [ledger.slot(self.name, dim, size) for dim, size in self.parts.get(axis, ())]

    @property
    def axes(self) -> list[int]:
        """Axes that have channels, or might have."""
        return [a for a, size in enumerate(self.shape) if size > 1 and (self.dims[a] >= 0 or a in self.parts)]

    @property
    def upright(self) -> bool:
        """Whether each axis is the tensor's own."""
        return all(dim == axis or size == 1 for axis, (dim, size) in enumerate(zip(self.dims, self.shape, strict=True)))

    def permuted(self, order: list[int]) -> Weight:
        at = {axis: position for position, axis in enumerate(order)}
        shape, dims = tuple(self.shape[axis] for axis in order), tuple(self.dims[axis] for axis in order)
        parts = {at[axis]: part for axis, part in self.parts.items()}
        return Weight(shape, self.name, dims, self.trained, frozenset(at[axis] for axis in self.mixed), parts)

    def fix(self, ledger: Ledger, why: str) -> None:
        """It stays whole."""
        for axis, size in enumerate(self.shape):
            if size > 1:
                ledger.fix(self.slot(ledger, axis), why)

    def spread(self, ledger: Ledger, axis: int | None = None) -> Marks | None:
        """Marks of it as a value: such as a scale per channel, or a table of which one axis has channels.

        Args:
            axis: that has them. None for the only one that can, and then the result is None where there are several.
        """
        axes = self.axes if axis is None else [axis % len(self.shape)]
        if len(axes) != 1 or axes[0] not in self.axes or axes[0] in self.parts:
            return None
        for other in {*self.axes} - {*axes}:
            ledger.fix(self.slot(ledger, other), "it meets a value that cannot shrink")
        ids = self.slot(ledger, axes[0])
        source = 0
        if self.dims[axes[0]] == 0 and self.trained:
            source = ledger.source(frozenset({ledger.gate(self.name, ids)}))
        shape = [-1 if axis == axes[0] else 1 for axis in range(len(self.shape))]
        return Marks(ids.reshape(shape), np.full(ids.shape, source).reshape(shape))


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a function or method in the network.

    Attributes:
        ledger: where everything is written down.
        name: of the function.
        where: what the user is told about its place.
        layer: the innermost module whose code it stands in, and its name.
        args, kwargs: as in the code, tensors replaced by `Operand` or `Weight`.
        shapes: of the result, or of each.
        declares: it is the code of a layer of torch's on its own tensors, whose declared widths follow a removal.
    """

    ledger: Ledger
    name: str
    where: str
    layer: tuple[str, nn.Module]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    declares: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first result."""
        return self.shapes[0]

    @property
    def first(self) -> Operand:
        """The value that the function is of."""
        return self.value(self.argument(0, "input"))

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def value(self, operand: Any, axis: int | None = None) -> Operand:
        """A weight as a value, channels along one axis where it has several, and values as they are."""
        if isinstance(operand, Weight):
            marks = operand.spread(self.ledger, axis)
            if marks is None:
                operand.fix(self.ledger, f"{self.where}: it is a value of its own")
            return Operand(operand.shape, marks, constant=True)
        return operand if isinstance(operand, Operand) else Operand((), None, constant=True)

    def values(self, given: Iterable[Any]) -> list[Operand | None]:
        """Tensors among the arguments as values that broadcast.

        A weight with several dimensions, such as a table of places, has its channels where the others have theirs.
        """
        given = list(given)
        found = [
            self.value(one) if isinstance(one, Operand) or (isinstance(one, Weight) and len(one.axes) < 2) else None
            for one in given
        ]
        marked = [(one, one.marks) for one in found if one is not None and one.marks is not None]
        ends = {axis - len(one.shape) for one, marks in marked for axis in marks.axes}
        end = ends.pop() if len(ends) == 1 else None
        return [
            self.value(one, None if end is None or end < -len(one.shape) else end) if value is None and
            isinstance(one, Weight) else value
            for one, value in zip(given, found, strict=True)
        ]  # fmt: skip

    def numbers(self, value: Any, why: str = "it is given a number of channels") -> Marks | None:
        """What is counted in these arguments stays; there is nothing more to say of the result."""
        for number in numbers_in(value):
            number.plain(why)
        return None

    def refuse(self, why: str) -> Marks | None:
        """All channels that enter stay, and none come out."""
        for operand in operands_in((self.args, self.kwargs)):
            self.fix(operand, why)
        return self.numbers((self.args, self.kwargs), why)

    def fix(self, operand: Operand | Weight, why: str) -> None:
        if isinstance(operand, Weight):
            operand.fix(self.ledger, f"{self.where}: {why}")
        elif operand.marks is not None:
            self.ledger.fix(operand.marks.ids, f"{self.where}: {why}")

    def unknown(self) -> Marks | None:
        return self.refuse(f"{self.name} is not understood")

    def same(self, number: Any, row: Ints, terms: Terms = ()) -> bool:
        """A size in the code is that of an axis with these channels; False where it is written out."""
        if isinstance(number, Number):
            self.ledger.same(number.terms, ((row, ONE), *terms), "another number of channels is its size")
            return True
        return number == -1


def operands_in(value: Any) -> list[Operand | Weight]:
    """All operands in nested arguments."""
    if isinstance(value, Operand | Weight):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [operand for part in value for operand in operands_in(part)]
    return []


def along(call: Call, operand: Operand, axis: int, why: str) -> tuple[Ints, Ints] | None:
    """(marks, sources) of an axis, [size each]; channels along any other axis are fixed for the reason."""
    marks = operand.marks
    if marks is None or not marks.ids.any():
        return None
    axis %= len(operand.shape)
    if marks.axes and marks.axes != [axis]:
        call.ledger.fix(marks.ids, f"{call.where} {why}")
        return None
    if not marks.axes and operand.shape[axis] > 1:
        call.ledger.fix(marks.ids, f"{call.where} {why}")
        return None
    return marks.ids.ravel(), marks.sources.ravel()


def spread(ids: Ints, sources: Ints, axis: int, rank: int) -> Marks:
    """Marks of a value whose channels lie along one axis."""
    shape = [1] * rank
    shape[axis] = -1
    return Marks(ids.reshape(shape), np.broadcast_to(sources, ids.shape).reshape(shape))


def unsilenced(marks: Marks | None) -> Marks | None:
    """The same channels, which no zeros silence any more."""
    return None if marks is None else Marks(marks.ids, np.zeros_like(marks.sources))


def both_silent(ledger: Ledger, one: Ints, other: Ints) -> Ints:
    """Sources of what is zero where both are."""
    one, other = np.broadcast_arrays(one, other)
    result = np.zeros_like(one)
    for a, b in np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).T.tolist():
        if a and b:
            result[(one == a) & (other == b)] = ledger.source(ledger.sources[a] | ledger.sources[b])
    return result


def all_silent(ledger: Ledger, lines: Ints) -> Ints:
    """[n] sources of what is zero where all lines of sources, [m, n], are."""
    result = lines[0]
    for line in lines[1:]:
        result = result if (line == result).all() else both_silent(ledger, result, line)
    return result
