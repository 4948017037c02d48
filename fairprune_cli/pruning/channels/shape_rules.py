"""What reshapes, permutations and copies do to channels.

A value's channels lie along one axis, and stay along one: what would spread them over two ties those that stand in one
line (the heads of one column, say, where the code takes as many columns as there are), or keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fairprune_cli.pruning.channels.calls import ONE, Call, Operand, Result, Weight, all_silent, spread
from fairprune_cli.pruning.channels.marks import Ints, Ledger, Marks
from fairprune_cli.pruning.channels.sizes import Number, Place, size_along

PERMUTES = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "T", "mT")
FREE = -1  # a size that follows from the others


def reshape(call: Call) -> Result:
    """reshape, view, flatten, squeeze, unsqueeze, view_as, unflatten."""
    first, sizes = call.first, sizes_given(call)
    if sizes is None:
        return call.unknown()
    if call.name == "squeeze" and first.marks is not None:
        _keep_squeezed(call, first.marks)
    return _reshaped(call, first, sizes)


def sizes_given(call: Call) -> list[Any] | None:
    """The result's sizes as the code gives them; None where it gives them in another way."""
    rank = len(call.shape)
    sizes: list[Any] = [FREE] * rank
    if call.name in ("reshape", "view"):
        given = call.args[1:] or (call.kwargs.get("shape", call.kwargs.get("size", ())),)
        sizes = list(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else list(given)
        if len(sizes) != rank or not all(isinstance(size, int | Number) for size in sizes):
            return None
    elif call.name in ("view_as", "reshape_as"):
        sizes = sizes_of(call.ledger, call.argument(1, "other"))
    elif call.name == "unflatten":
        axis, parts = call.argument(1, "dim"), call.argument(2, "sizes", call.kwargs.get("unflattened_size"))
        if not isinstance(axis, int) or not isinstance(parts, tuple | list):
            return None
        axis %= len(call.args[0].shape)
        sizes[axis : axis + len(parts)] = parts
    return sizes


def sizes_of(ledger: Ledger, like: Operand | Weight, places: frozenset[Place] = frozenset()) -> list[Any]:
    """Sizes of a value or of a weight, as they depend on channels."""
    if isinstance(like, Operand):
        return [size_along(ledger, like.marks, axis, size, places) for axis, size in enumerate(like.shape)]
    return [
        Number(ledger, size, ((like.slot(ledger, axis), ONE),), places) if axis in like.axes else size
        for axis, size in enumerate(like.shape)
    ]


def _keep_squeezed(call: Call, marks: Marks) -> None:
    """An axis that channels lie along would be gone if one was left of them."""
    given: Any = (*call.args[1:], *call.kwargs.values())
    given = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
    named = {axis % len(call.args[0].shape) for axis in given if isinstance(axis, int)}
    if marks.axes and (not given or marks.axes[0] in named):
        call.ledger.keep_two(marks.ids)


def _reshaped(call: Call, first: Operand, sizes: list[Any]) -> Marks | None:
    marks, rank = first.marks, len(call.shape)
    if marks is None or not marks.axes:
        call.numbers(sizes, "a value that cannot shrink is given its width")
        return None if marks is None else Marks(marks.ids.reshape((1,) * rank), marks.sources.reshape((1,) * rank))
    ids, sources = marks.ids.ravel(), marks.sources.ravel()
    at = _positions(first.shape, marks.axes[0], call.shape)
    axes = [axis for axis, size in enumerate(at.shape) if size > 1]
    literal = [isinstance(size, int) and size != FREE for size in sizes]
    call.numbers([size for axis, size in enumerate(sizes) if axis not in axes])
    if len(axes) == 2:
        rows = at.reshape([at.shape[axis] for axis in axes])
        free = [axis for axis in axes if not literal[axis]]
        wide = rows.shape[1]
        if len(free) != 1 or ids.size % wide or (rows % wide != np.arange(wide)).any() or not _in_order(rows, ids.size):
            return _split(call, marks, sizes)
        along = axes.index(free[0])
        # What lies across goes together, and stands for all of it.
        lines = ids[rows] if along else ids[rows].T
        call.ledger.tie(lines[:1], lines)
        merged = sources[rows] if along else sources[rows].T
        ids, sources = lines[0], all_silent(call.ledger, merged)
        axes = free
    elif len(axes) == 1:
        ids, sources = ids[at.ravel()], sources[at.ravel()]
    else:
        return _split(call, marks, sizes)
    if not call.same(sizes[axes[0]], ids):
        call.refuse("the network's code has the number of channels in it")
        return None
    return spread(ids, sources, axes[0], rank)


def _split(call: Call, marks: Marks, sizes: list[Any]) -> Marks | None:
    call.ledger.fix(marks.ids, f"{call.where}: it splits the channels into parts")
    return call.numbers(sizes)


def _positions(shape: Sequence[int], axis: int, new: Sequence[int]) -> Ints:
    """Position along `axis` that each entry comes from, after a reshape; axes along which it does not differ are 1."""
    assert math.prod(shape) == math.prod(new)
    line = np.arange(shape[axis], dtype=np.int64).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    at = np.broadcast_to(line, tuple(shape)).reshape(tuple(new))
    for a, size in enumerate(at.shape):
        if size > 1 and (at == at.take([0], a)).all():
            at = at.take([0], a)
    return at


def _in_order(rows: Ints, size: int) -> bool:
    """Whether the lines follow one another as in the value, over and over."""
    lines = size // rows.shape[1]
    return bool((rows[:, 0] // rows.shape[1] == np.arange(len(rows)) % lines).all())


def axis_order(call: Call, rank: int) -> list[int] | None:
    """Where each axis of the result comes from."""
    name = call.name
    if name == "permute":
        dims = call.kwargs.get("dims", call.args[1:])
        dims = dims[0] if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
        return [d % rank for d in dims]
    order = list(range(rank))
    if name in ("t", "T", "mT"):
        return order[:-2] + order[-2:][::-1] if rank <= 2 or name == "mT" else order[::-1]
    a, b = (
        call.argument(1, "dim0", call.kwargs.get("source")),
        call.argument(2, "dim1", call.kwargs.get("destination")),
    )
    if name in ("movedim", "moveaxis"):
        sizes = np.moveaxis(np.empty(tuple(range(2, rank + 2))), a, b).shape
        return [size - 2 for size in sizes]
    if not isinstance(a, int) or not isinstance(b, int):
        return None
    order[a], order[b] = order[b], order[a]
    return order


def permute(call: Call) -> Result:
    first = call.first
    order = axis_order(call, len(first.shape))
    if order is None:
        return call.unknown()
    return None if first.marks is None else first.marks.map(lambda part: np.transpose(part, order))


def expand(call: Call) -> Result:
    """expand, expand_as, broadcast_to: copies along axes of size 1."""
    first, rank = call.first, len(call.shape)
    if call.name == "expand_as":
        sizes = sizes_of(call.ledger, call.argument(1, "other"))
    else:
        given = call.args[1:] or (call.kwargs.get("size", ()),)
        sizes = list(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else list(given)
    marks = first.marks
    if marks is not None and marks.axes:
        axis = marks.axes[0] + rank - len(first.shape)
        call.numbers([size for a, size in enumerate(sizes) if a != axis])
        if not call.same(sizes[axis], marks.ids.ravel()):
            return call.refuse("the network's code has the number of channels in it")
        return spread(marks.ids.ravel(), marks.sources.ravel(), axis, rank)
    if marks is not None:
        call.ledger.fix(marks.ids, f"{call.where}: it meets many channels")
    return as_many(call, sizes)


def as_many(call: Call, sizes: Sequence[Any]) -> Marks | None:
    """A new value that has as many channels as another has, along one axis."""
    numbers = [axis for axis, size in enumerate(sizes) if isinstance(size, Number)]
    one = sizes[numbers[0]] if len(numbers) == 1 else None
    if isinstance(one, Number) and len(one.terms) == 1 and one.terms[0][1] == 1 and len(one.terms[0][0]) == one.value:
        ids = one.terms[0][0]
        return spread(ids, np.zeros_like(ids), numbers[0], len(sizes))
    return call.numbers(sizes)


def repeat(call: Call) -> Result:
    """repeat and tile: the channels several times over."""
    first = call.first
    given = call.args[1:] or (call.kwargs.get("repeats", call.kwargs.get("dims", ())),)
    times = list(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else list(given)
    if first.marks is None:
        once = (1,) * (len(call.shape) - len(first.shape)) + first.shape
        many = [size for time, size in zip(times, once, strict=True) if isinstance(time, Number)]
        return as_many(call, times) if many == [1] else call.numbers(times)
    if not all(isinstance(time, int) for time in times) or len(times) < len(first.shape):
        return call.unknown()
    if not first.marks.axes:
        if any(a > b for a, b in zip(call.shape[-len(first.shape) :], first.shape, strict=True) if b == 1):
            call.ledger.fix(first.marks.ids, f"{call.where}: it meets many channels")
            return None
        return first.marks if len(call.shape) == len(first.shape) else call.unknown()
    axis = first.marks.axes[0] + len(call.shape) - len(first.shape)
    ids, sources = (np.tile(half.ravel(), times[axis]) for half in (first.marks.ids, first.marks.sources))
    return spread(ids, sources, axis, len(call.shape))


def unfold(call: Call) -> Result:
    """F.unfold, where each channel gives its window's places, and Tensor.unfold, which makes windows of one axis."""
    first = call.first
    marks = first.marks
    if marks is None:
        return call.numbers(call.args[1:])
    if len(call.args) == 4 and len(call.shape) == len(first.shape) + 1:
        axis = call.args[1]
        if isinstance(axis, int) and marks.axes and marks.ids.shape[axis] == 1:
            return marks.map(lambda part: np.expand_dims(part, -1))
        return call.unknown()
    if marks.axes != [1] or len(first.shape) != 4 or len(call.shape) != 3:
        return call.unknown()
    times = call.shape[1] // first.shape[1]
    return spread(np.repeat(marks.ids.ravel(), times), np.repeat(marks.sources.ravel(), times), 1, 3)


def repeat_interleave(call: Call) -> Result:
    first, times, axis = call.first, call.argument(1, "repeats"), call.argument(2, "dim")
    if first.marks is None:
        return call.numbers((times, axis))
    if not isinstance(times, int) or not isinstance(axis, int) or not first.marks.axes:
        return call.unknown()
    axis %= len(first.shape)
    return first.marks if first.marks.ids.shape[axis] == 1 else first.marks.map(lambda half: half.repeat(times, axis))


def weight_normed(call: Call, weight: Weight) -> Weight | None:
    """F.normalize of a weight."""
    dim = call.argument(2, "dim", 1)
    if not isinstance(dim, int):
        return None
    return replace(weight, mixed=weight.mixed | {dim % len(weight.shape)})


RULES: Mapping[str, Callable[[Call], Result]] = {
    **dict.fromkeys(("reshape", "view", "flatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "unflatten",
                     "ravel", "unsafe_view"), reshape),
    **dict.fromkeys(PERMUTES, permute),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand), **dict.fromkeys(("repeat", "tile"), repeat),
    "repeat_interleave": repeat_interleave, "unfold": unfold,
}  # fmt: skip
