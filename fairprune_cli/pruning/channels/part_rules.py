"""What taking apart and putting together does to channels: parts, concatenations, borders, shuffles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fairprune_cli.pruning.channels.calls import ONE, Call, Operand, Result, all_silent, both_silent, spread, unsilenced
from fairprune_cli.pruning.channels.marks import Ints, Marks
from fairprune_cli.pruning.channels.sizes import Number


def item(call: Call) -> Result:
    """x[index]: parts of other axes, and halves (thirds, ...) of the channels by their number."""
    first = call.first
    marks, index = first.marks, whole_index(call, len(first.shape))
    if index is None:
        return call.refuse("it picks by a list")
    if marks is None:
        return call.numbers(index)
    axis = 0
    picked: list[int | slice | None] = []
    for part in index:
        if part is None:
            picked.append(None)
            continue
        if marks.ids.shape[axis] > 1 and not is_whole(part, marks.ids.shape[axis]):
            marks = _part(call, marks, axis, part)
            if marks is None:
                return None
        else:
            call.numbers((part,))
        picked.append(0 if isinstance(part, int) else slice(None))
        axis += 1
    return marks.map(lambda part: part[tuple(picked)])


def whole_index(call: Call, rank: int) -> tuple[int | slice | None, ...] | None:
    """The index in x[index], without dots; None where it is not made of numbers and slices."""
    index = call.argument(1, "index")
    index = index if isinstance(index, tuple) else (index,)
    if not all(part is None or part is Ellipsis or isinstance(part, int | slice | Number) for part in index):
        return None
    if any(part is Ellipsis for part in index):
        at = next(i for i, part in enumerate(index) if part is Ellipsis)
        missing = rank - sum(part is not None for part in index) + 1
        index = (*index[:at], *[slice(None)] * missing, *index[at + 1 :])
    return tuple(part.plain() if isinstance(part, Number) else part for part in index)


def is_whole(part: Any, size: int) -> bool:
    """Whether an index leaves an axis as it is, now and when it has shrunk."""
    if not isinstance(part, slice) or part.step not in (None, 1):
        return False
    start, stop = part.start, part.stop
    return (start is None or (isinstance(start, int) and start == 0)) and (
        stop is None or (isinstance(stop, int) and stop >= size)
    )


def _part(call: Call, marks: Marks, axis: int, part: Any) -> Marks | None:
    """Channels from one multiple of size / k to the next, where the code says so by their number."""
    size = marks.ids.shape[axis]
    ends = [] if not isinstance(part, slice) or part.step not in (None, 1) else [part.start or 0, part.stop]
    values = [end.value if isinstance(end, Number) else end for end in ends]
    if ends and ends[1] is None:
        values[1] = size
    inner = [value for value in values if value not in (0, size)]
    if min(value or 0 for value in [*values, 0]) < 0:
        return call.refuse("it counts channels from the end")
    if not ends or not all(end in (0, None) or isinstance(end, Number) for end in (ends[0], ends[1])):
        return call.refuse("it takes a part of the channels")
    wide = math.gcd(size, *inner)
    ids = marks.ids.ravel()
    call.ledger.tie(ids.reshape(-1, wide)[:1], ids.reshape(-1, wide))
    for end, value in zip(ends, values, strict=True):
        if isinstance(end, Number):
            call.ledger.same(end.terms, ((ids[:value], ONE),), "another number of channels is where it is cut")
    return spread(ids[values[0] : values[1]], marks.sources.ravel()[values[0] : values[1]], axis, marks.ids.ndim)


def take_apart(call: Call) -> Result:
    """chunk, split and unbind, of channels and of other axes."""
    first, name = call.first, call.name
    marks, count = first.marks, len(call.shapes)
    many = call.argument(1, "chunks" if "chunk" in name else "split_size_or_sections", call.kwargs.get("split_size"))
    axis = call.argument(1, "dim", 0) if name == "unbind" else call.argument(2, "dim", 0)
    if marks is None:
        call.numbers(many)
        return [None] * count
    axis %= len(first.shape)
    if marks.ids.shape[axis] == 1:
        call.numbers(many)
        return [marks.map(lambda part: part.squeeze(axis)) if name == "unbind" else marks] * count
    widths = [shape[axis] for shape in call.shapes] if name != "unbind" else [0]
    counted = "chunk" in name or (isinstance(many, Number) and name == "split")
    if not counted or len(set(widths)) > 1:
        return call.refuse("it takes a part of the channels")
    lines, sources = marks.ids.reshape(count, -1), marks.sources.reshape(count, -1)
    call.ledger.tie(lines[:1], lines)
    call.same(many, lines[0])
    return [spread(line, source, axis, marks.ids.ndim) for line, source in zip(lines, sources, strict=True)]


def concatenate(call: Call) -> Result:
    """cat and stack."""
    values, axis = call.argument(0, "tensors"), call.argument(1, "dim", call.kwargs.get("axis", 0))
    if not isinstance(axis, int) or not isinstance(values, tuple | list):
        return call.unknown()
    axis %= len(call.shape)
    found = [value or Operand((), None) for value in call.values(values)]
    if call.name == "stack":
        found = [_lifted_at(value, axis) for value in found]
    found = [value for value in found if math.prod(value.shape)]
    crossing = {a for value in found if value.marks is not None for a in value.marks.axes} - {axis}
    if all(value.marks is None for value in found):
        return None
    if not crossing:
        halves: list[list[Ints]] = [[], []]
        for value in found:
            shape = [1] * len(call.shape)
            shape[axis] = value.shape[axis]
            none = np.zeros((1,) * len(shape), np.int64)
            pair = (none, none) if value.marks is None else (value.marks.ids, value.marks.sources)
            for half, part in zip(halves, pair, strict=True):
                half.append(np.broadcast_to(part, shape))
        return Marks(np.concatenate(halves[0], axis), np.concatenate(halves[1], axis))
    return together(call, found, crossing)


def _lifted_at(value: Operand, axis: int) -> Operand:
    marks = None if value.marks is None else value.marks.map(lambda part: np.expand_dims(part, axis))
    return Operand((*value.shape[:axis], 1, *value.shape[axis:]), marks)


def together(call: Call, values: Sequence[Operand], crossing: set[int]) -> Marks | None:
    """Values whose channels lie along one and the same axis, and go together; silent where all are."""
    if len(crossing) > 1 or any(value.marks is None or set(value.marks.axes) != crossing for value in values):
        for value in values:
            if value.marks is not None:
                call.ledger.fix(value.marks.ids, f"{call.where}: it meets a value that cannot shrink")
        return None
    known = [value.marks for value in values if value.marks is not None]
    ids, sources = known[0].ids, known[0].sources
    for more in known[1:]:
        call.ledger.tie(ids, more.ids)
        sources = both_silent(call.ledger, sources, more.sources)
    return Marks(ids, sources)


def pad(call: Call) -> Result:
    """F.pad: beside channels stands what is no channel."""
    first, sizes = call.first, call.argument(1, "pad")
    mode, value = call.argument(2, "mode", "constant"), call.argument(3, "value", None)
    marks = first.marks
    if marks is None:
        return call.numbers(sizes)
    if not marks.axes or not isinstance(sizes, tuple | list):
        return call.unknown()
    axis, rank = marks.axes[0], len(first.shape)
    at = 2 * (rank - 1 - axis)
    own = tuple(sizes[at : at + 2]) or (0, 0)
    call.numbers(sizes)
    if any(isinstance(size, Number) for size in own) or min(own) < 0 or (any(own) and mode != "constant"):
        return call.refuse("it pads channels")
    ids, sources = (np.pad(half.ravel(), own) for half in (marks.ids, marks.sources))
    result = spread(ids, sources, axis, rank)
    # What pads with less than everything does so for a pool, which takes the most.
    return result if mode != "constant" or not value or value == -math.inf else unsilenced(result)


def shuffled(call: Call) -> Result:
    """Channels that change places with one another, or with places in the image."""
    first, name = call.first, call.name
    marks, rank = first.marks, len(first.shape)
    factor = call.argument(1, "groups" if "channel" in name else "upscale_factor", call.kwargs.get("downscale_factor"))
    if marks is None:
        return call.numbers(factor)
    axis = 1 if "channel" in name else rank - 3
    if marks.axes != [axis] or not isinstance(factor, int):
        return call.unknown()
    ids, sources = marks.ids.ravel(), marks.sources.ravel()
    if name == "pixel_unshuffle":
        return spread(np.repeat(ids, factor**2), np.repeat(sources, factor**2), axis, rank)
    lines = factor if "channel" in name else -1
    rows, source = ids.reshape(lines, ids.size // factor if lines > 0 else factor**2), sources
    if name == "pixel_shuffle":
        call.ledger.tie(rows[:, :1], rows)
        return spread(rows[:, 0], all_silent(call.ledger, sources.reshape(rows.shape).T), axis, rank)
    call.ledger.tie(rows[:1], rows)
    return spread(rows.T.ravel(), source.reshape(rows.shape).T.ravel(), axis, rank)


def gated(call: Call) -> Result:
    """F.glu: one half times the sigmoid of the other, which goes with it."""
    first, axis = call.first, call.argument(1, "dim", -1)
    marks = first.marks
    if marks is None:
        return None
    axis %= len(first.shape)
    if marks.ids.shape[axis] == 1:
        return marks
    lines = marks.ids.reshape(2, -1)
    call.ledger.tie(lines[0], lines[1])
    return spread(lines[0], marks.sources.reshape(2, -1)[0], axis, marks.ids.ndim)


def select(call: Call) -> Result:
    """select, narrow, roll, flip: along axes without channels."""
    first = call.first
    axes = call.argument(2, "dims") if call.name == "roll" else call.argument(1, "dim", call.kwargs.get("dims"))
    if call.name == "flip":
        axes = call.args[1:] if len(call.args) > 2 else axes
    axes = (axes,) if isinstance(axes, int) else axes
    if first.marks is None:
        return call.numbers((call.args, call.kwargs))
    if not axes or not all(isinstance(a, int) and first.marks.ids.shape[a] == 1 for a in axes):
        return call.refuse("it takes a part of the channels")
    call.numbers((call.args, call.kwargs))
    return first.marks.map(lambda part: part.squeeze(axes[0])) if call.name == "select" else first.marks


RULES: Mapping[str, Callable[[Call], Result]] = {
    "getitem": item, **dict.fromkeys(("chunk", "split", "unbind", "unsafe_chunk", "unsafe_split"), take_apart),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), concatenate), "pad": pad,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle"), shuffled),
    "glu": gated, **dict.fromkeys(("select", "narrow", "roll", "flip"), select),
}  # fmt: skip
