"""Sizes that depend on how many channels are left, as the network's code computes with them."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from types import CodeType, FrameType
from typing import Any

import numpy as np

from fairprune_cli.pruning.channels.marks import Ledger, Marks, Terms

Place = tuple[CodeType, int]
"""A function's code and a line of it."""
_COMPUTES = "the network's code computes with the number of channels"


def caller() -> FrameType:
    """Of the function that asks: the code that called it."""
    frame = inspect.currentframe()
    for _ in range(2):
        assert frame is not None
        frame = frame.f_back
    assert frame is not None
    return frame


class Number:
    """A whole number that shrinks with channels; it stands where the code would have a plain one.

    Sums, and products and quotients with plain numbers, are followed. Whatever else is done with it makes it a plain
    number, and then the channels that it counts have to stay.

    Args:
        ledger: of the walk that it belongs to.
        value: with all channels there.
        terms: what it is made of, up to a constant.
        places: of the code that asked for the sizes that it is made of.
    """

    def __init__(self, ledger: Ledger, value: int, terms: Terms, places: frozenset[Place] = frozenset()) -> None:
        self.ledger, self.value, self.terms, self.places = ledger, value, terms, places

    def plain(self, why: str = _COMPUTES) -> int:
        """The number for good."""
        self.ledger.same(self.terms, (), why)
        return self.value

    def _scaled(self, value: int, scale: Fraction) -> Number:
        return Number(self.ledger, value, tuple((ids, each * scale) for ids, each in self.terms), self.places)

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Number):
            return Number(self.ledger, self.value + other.value, self.terms + other.terms, self.places | other.places)
        if isinstance(other, int):
            return Number(self.ledger, self.value + other, self.terms, self.places)
        return self.plain() + other

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Number):
            return self + other._scaled(-other.value, Fraction(-1))
        return self + -other if isinstance(other, int) else self.plain() - other

    def __rsub__(self, other: Any) -> Any:
        return self._scaled(-self.value, Fraction(-1)) + other if isinstance(other, int) else other - self.plain()

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, int):
            return self._scaled(self.value * other, Fraction(other))
        return self.plain() * (other.plain() if isinstance(other, Number) else other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, int):
            return self._scaled(self.value // other, Fraction(1, other))
        return self.plain() // (other.plain() if isinstance(other, Number) else other)

    def _compared(self, other: Any, holds: Callable[[Any, Any], bool]) -> bool:
        if isinstance(other, Number):
            self.ledger.same(self.terms, other.terms, "the network's code compares numbers of channels")
            return holds(self.value, other.value)
        # A layer keeps a channel at least.
        return holds(self.value if other in (0, None) else self.plain(), other)

    def __eq__(self, other: object) -> bool:
        return self._compared(other, operator.eq)

    def __ne__(self, other: object) -> bool:
        return self._compared(other, operator.ne)

    def __lt__(self, other: Any) -> bool:
        return self._compared(other, operator.lt)

    def __le__(self, other: Any) -> bool:
        return self._compared(other, operator.le)

    def __gt__(self, other: Any) -> bool:
        return self._compared(other, operator.gt)

    def __ge__(self, other: Any) -> bool:
        return self._compared(other, operator.ge)

    __hash__ = None  # type: ignore[assignment]  # a table by widths would be asked by value

    def __bool__(self) -> bool:
        return self.value != 0

    def __index__(self) -> int:
        # Torch asks as well when it only passes the number on to the walk, which then takes this back.
        frame = caller()
        self.ledger.asked.append((self, (frame.f_code, frame.f_lasti), self.ledger.at))
        return self.value

    def __int__(self) -> int:
        return self.plain()

    def __float__(self) -> float:
        return float(self.plain())

    def __truediv__(self, other: Any) -> Any:
        return self.plain() / (other.plain() if isinstance(other, Number) else other)

    def __rtruediv__(self, other: Any) -> Any:
        return other / self.plain()

    def __rfloordiv__(self, other: Any) -> Any:
        return other // self.plain()

    def __neg__(self) -> Any:
        return self._scaled(-self.value, Fraction(-1))

    def __abs__(self) -> int:
        return abs(self.plain())

    def __repr__(self) -> str:
        return str(self.value)

    def __str__(self) -> str:
        return str(self.plain())

    def __format__(self, form: str) -> str:
        return format(self.plain(), form)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.plain(), name)


def _plainly(function: Callable[..., Any], turned: bool = False) -> Callable[..., Any]:
    def compute(self: Number, *others: Any) -> Any:
        given = [self.plain(), *(other.plain() if isinstance(other, Number) else other for other in others)]
        return function(*(given[::-1] if turned else given))

    return compute


_BINARY: dict[str, Callable[..., Any]] = {
    "mod": operator.mod, "pow": pow, "divmod": divmod, "and": operator.and_, "or": operator.or_, "xor": operator.xor,
    "lshift": operator.lshift, "rshift": operator.rshift,
}  # fmt: skip
_UNARY: dict[str, Callable[..., Any]] = {
    "invert": operator.invert, "pos": operator.pos, "round": round, "trunc": math.trunc, "floor": math.floor,
    "ceil": math.ceil,
}  # fmt: skip
for _name, _function in _BINARY.items():
    setattr(Number, f"__{_name}__", _plainly(_function))
    setattr(Number, f"__r{_name}__", _plainly(_function, turned=True))
for _name, _function in _UNARY.items():
    setattr(Number, f"__{_name}__", _plainly(_function))


class Sizes(tuple[Any, ...]):
    """As torch.Size, with a `Number` where channels lie."""

    __slots__ = ()

    def numel(self) -> Any:
        """Product of all sizes."""
        return math.prod(self)

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return Sizes(found) if isinstance(index, slice) else found


def size_along(
    ledger: Ledger, marks: Marks | None, axis: int, size: int, places: frozenset[Place] = frozenset()
) -> int | Number:
    """Size of one axis of a value."""
    if marks is None or marks.ids.shape[axis] == 1:
        return size
    ids = np.moveaxis(marks.ids, axis, 0).reshape(size, -1)[:, 0]
    return Number(ledger, size, ((ids, Fraction(1)),), places)


def without_numbers(value: Any) -> Any:
    """Nested arguments with plain numbers in place of each `Number`, which is left as free as it was."""
    if isinstance(value, Number):
        return value.value
    if isinstance(value, slice):
        return slice(*(without_numbers(part) for part in (value.start, value.stop, value.step)))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(without_numbers(part) for part in value))
    if isinstance(value, tuple | list):
        parts = [without_numbers(part) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    if isinstance(value, dict):
        return {key: without_numbers(part) for key, part in value.items()}
    return value


def numbers_in(value: Any) -> list[Number]:
    """All of them in nested arguments."""
    if isinstance(value, Number):
        return [value]
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [number for part in value for number in numbers_in(part)]
    return []
