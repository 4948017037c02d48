"""What functions make of a weight that has several dimensions: another weight with the same dimensions, or fewer.

A weight that the code centres, scales or rounds before a layer uses it, a table of places of which a part is taken: the
channels along each dimension are those of the parameter, until one of them meets the image's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from fairprune_cli.pruning.channels import shape_rules
from fairprune_cli.pruning.channels.calls import Call, Operand, Weight, operands_in
from fairprune_cli.pruning.channels.function_rules import (
    ADD,
    DIVIDE,
    KEEP_ZERO,
    LOSE_ZERO,
    MULTIPLY,
    REDUCE,
    RESIZES,
    reduced_axes,
)
from fairprune_cli.pruning.channels.layer_rules import layer_of
from fairprune_cli.pruning.channels.marks import Ints
from fairprune_cli.pruning.channels.part_rules import is_whole, whole_index
from fairprune_cli.pruning.channels.shape_rules import PERMUTES, axis_order, sizes_given
from fairprune_cli.pruning.channels.sizes import Number

Weights = list[Weight | None]
_IN_CODE = "the network's code has the number of channels in it"


def weights_after(call: Call) -> Weights | None:
    """What a call on weights gives, if it is a weight again; None where it is not, or is none of theirs."""
    first = call.args[0] if call.args else None
    if call.kwargs.get("out") is not None or not call.shapes:
        return None
    if isinstance(first, Weight) and len(call.shapes) == 1 and call.name in (*KEEP_ZERO, *PERMUTES, "normalize"):
        found = _rearranged(call, first)
        return None if found is None else [found]
    operands = operands_in((call.args, call.kwargs))
    wide = [one for one in operands if isinstance(one, Weight) and len(one.axes) > 1]
    if not wide or not all(isinstance(one, Weight) or one.constant for one in operands):
        return None
    if call.name in (*ADD, *MULTIPLY, *DIVIDE, "expand_as") and any(one.shape == call.shape for one in wide):
        return [_elementwise(call, next(one for one in wide if one.shape == call.shape), operands)]
    if first is not wide[0]:
        return None
    return _of_one(call, wide[0])


def _of_one(call: Call, weight: Weight) -> Weights | None:
    """A function of a weight and numbers."""
    name, same = call.name, call.shape == weight.shape
    if name in REDUCE:
        return _reduced(call, weight)
    if name in ("reshape", "view", "flatten", "squeeze", "unsqueeze", "view_as", "reshape_as"):
        sizes = sizes_given(call)
        return None if sizes is None else [_reshaped(call, weight, sizes)]
    if name in (*LOSE_ZERO, "clamp", "clip", "hardtanh", "clamp_min", "clamp_max") and same:
        return [replace(weight, trained=False)]
    if name in ("expand", "broadcast_to", "repeat"):
        return _copied(call, weight)
    if name == "getitem":
        return _picked(call, weight)
    if name == "batch_norm":
        return _normed(call, weight)
    if name in RESIZES:
        call.numbers((call.args[1:], call.kwargs))
        return [_without(call, weight, range(2, len(weight.shape)))]
    return None


def _rearranged(call: Call, weight: Weight) -> Weight | None:
    """A weight whose axes change places, that is normed, or only passed on."""
    if call.name == "normalize":
        return shape_rules.weight_normed(call, weight)
    if call.name in PERMUTES:
        order = axis_order(call, len(weight.shape))
        return None if order is None else weight.permuted(order)
    return weight if call.shape == weight.shape else None


def _elementwise(call: Call, weight: Weight, operands: Sequence[Operand | Weight]) -> Weight:
    """Dimensions that meet go together. Zeros stay zeros where the function keeps them."""
    call.numbers((call.args, call.kwargs))
    trained = weight.trained and call.name != "expand_as"
    trained &= call.name in (*ADD, *MULTIPLY) or call.args[0] is weight
    given = (*call.args, *(value for key, value in call.kwargs.items() if key not in ("alpha", "rounding_mode")))
    if call.name in ADD:
        trained &= all(_silent_with(call, weight, value) for value in given if value is not weight)
    for other in operands:
        if other is weight:
            continue
        if isinstance(other, Operand) and other.marks is not None and not other.marks.axes:
            call.fix(other, "it meets many channels")
        for axis, size in enumerate(other.shape, len(weight.shape) - len(other.shape)):
            if size > 1:
                _meet(call, weight, axis, other)
    return replace(weight, trained=trained)


def _meet(call: Call, weight: Weight, axis: int, other: Operand | Weight) -> None:
    at = axis - len(weight.shape) + len(other.shape)
    if isinstance(other, Weight) and axis in weight.parts and other.parts.get(at) == weight.parts[axis]:
        for one, two in zip(weight.slots(call.ledger, axis), other.slots(call.ledger, at), strict=True):
            call.ledger.tie(one, two)
        return
    ids: Ints = weight.slot(call.ledger, axis)
    if isinstance(other, Weight):
        call.ledger.tie(ids, other.slot(call.ledger, at))
    elif other.marks is not None and other.marks.axes == [at]:
        call.ledger.tie(ids, other.marks.ids.ravel())
    else:
        call.ledger.fix(ids, f"{call.where}: it meets a value that cannot shrink")


def _silent_with(call: Call, weight: Weight, other: Any) -> bool:
    """Whether another term is zero where a weight is."""
    if isinstance(other, Weight):
        return other.name == weight.name and other.trained
    if isinstance(other, Operand):
        sources = [] if other.marks is None else [call.ledger.sources[at] for at in set(other.marks.sources.ravel())]
        return bool(sources) and all(gates and gates <= {weight.name} for gates in sources)
    return isinstance(other, int | float) and other == 0


def _reduced(call: Call, weight: Weight) -> Weights | None:
    """Over some axes: what lies there counts, zeros too, so that a removal is not the same as a mask."""
    dims = reduced_axes(call)
    if not dims or not all(isinstance(d, int) for d in dims):
        return None
    gone = {d % len(weight.shape) for d in dims}
    for axis in gone:
        call.ledger.inexact += weight.slots(call.ledger, axis)
    kept = [axis for axis in range(len(weight.shape)) if axis not in gone or len(call.shape) == len(weight.shape)]
    result = Weight(
        call.shape, weight.name, tuple(-1 if axis in gone else weight.dims[axis] for axis in kept),
        weight.trained and REDUCE[call.name],
        parts={at: weight.parts[axis] for at, axis in enumerate(kept) if axis in weight.parts and axis not in gone},
    )  # fmt: skip
    others = result if call.name in ("var_mean", "std_mean") else None  # else the positions of what was taken
    return [result, *[others] * (len(call.shapes) - 1)]


def _normed(call: Call, weight: Weight) -> Weights | None:
    """F.batch_norm of a weight, filters along its second axis, by its own statistics."""
    statistics, scale, bias = call.argument(1, "running_mean"), call.argument(3, "weight"), call.argument(4, "bias")
    if statistics is not None or len(call.args) > 8:  # torch.batch_norm has them in another order
        return None
    for axis in {*range(len(weight.shape))} - {1}:
        call.ledger.inexact += weight.slots(call.ledger, axis)
    for one in (call.value(one) for one in (scale, bias) if one is not None):
        ids = weight.slot(call.ledger, 1)
        call.ledger.tie(ids, np.zeros_like(ids) if one.marks is None else one.marks.ids.ravel())
    return [replace(weight, trained=weight.trained and bias is None)]


def _reshaped(call: Call, weight: Weight, sizes: Sequence[Any]) -> Weight:
    """Dimensions that come apart are lost, those that come together can come apart again."""
    atoms: list[tuple[int, int]] = []  # (size, the tensor's dimension or -1), in the order in which they lie
    for axis, size in enumerate(weight.shape):
        atoms += [(each, dim) for dim, each in weight.parts.get(axis, ())] or [(size, weight.dims[axis])]
    left = [atom for atom in atoms if atom[0] > 1]
    axes = [axis for axis, size in enumerate(call.shape) if size > 1]
    dims, parts = [-1] * len(call.shape), {}
    while left:
        # The least of both that are the same numbers.
        before, after = [left.pop(0)], [axes.pop(0)]
        while (gap := math.prod(a[0] for a in before) - math.prod(call.shape[a] for a in after)) != 0:
            if gap < 0:
                before.append(left.pop(0))
            else:
                after.append(axes.pop(0))
        axis, size = after[0], sizes[after[0]]
        free = len(after) == 1 and all(dim >= 0 for _, dim in before)
        if free and len(before) == 1 and _follows(call, weight, before[0], size):
            dims[axis] = before[0][1]
        elif free and len(before) > 1 and isinstance(size, int) and size == shape_rules.FREE:
            parts[axis] = tuple((dim, each) for each, dim in before)
        else:
            call.numbers([sizes[one] for one in after], "a value that cannot shrink is given its width")
            _lose(call, weight, before)
    return Weight(call.shape, weight.name, tuple(dims), weight.trained, parts=parts)


def _follows(call: Call, weight: Weight, atom: tuple[int, int], size: Any) -> bool:
    """A size that changes with the dimension that it is given: counted, or declared by the layer of the weight."""
    layer = call.layer[1]
    own = isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and layer_of(weight.name) == call.layer[0]
    if own and isinstance(size, int) and (atom[1], size) == (0, layer.out_channels):
        return True
    return call.same(size, _ids(call, weight, atom))


def _ids(call: Call, weight: Weight, atom: tuple[int, int]) -> Ints:
    return call.ledger.slot(weight.name, atom[1], atom[0])


def _lose(call: Call, weight: Weight, atoms: Sequence[tuple[int, int]]) -> None:
    for atom in atoms:
        if atom[1] >= 0:
            call.ledger.fix(_ids(call, weight, atom), f"{call.where}: {_IN_CODE}")


def _copied(call: Call, weight: Weight) -> Weights | None:
    """expand and repeat along axes that have nothing."""
    given = call.args[1:] or (next(iter(call.kwargs.values()), ()),)
    sizes = list(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else list(given)
    more = len(call.shape) - len(weight.shape)
    if len(sizes) != len(call.shape):
        return None
    dims, parts = [-1] * len(sizes), {more + axis: part for axis, part in weight.parts.items()}
    if any(isinstance(size, Number) and axis - more not in weight.axes for axis, size in enumerate(sizes)):
        return None
    for axis, size in enumerate(sizes):
        before = axis - more
        if before not in weight.axes:
            continue
        if call.name == "repeat":
            if not isinstance(size, int) or size != 1:
                return None
            dims[axis] = weight.dims[before]
        elif before in weight.parts or not call.same(size, weight.slot(call.ledger, before)):
            for ids in weight.slots(call.ledger, before):
                call.ledger.fix(ids, f"{call.where}: {_IN_CODE}")
        else:
            dims[axis] = weight.dims[before]
    return [Weight(call.shape, weight.name, tuple(dims), weight.trained, parts=parts)]


def _picked(call: Call, weight: Weight) -> Weights | None:
    """weight[index]: what is taken whole is as it was."""
    index = whole_index(call, len(weight.shape))
    if index is None:
        return None
    dims: list[int] = []
    parts: dict[int, tuple[tuple[int, int], ...]] = {}
    axis = 0
    for part in index:
        if part is None:
            dims.append(-1)
            continue
        whole = is_whole(part, weight.shape[axis])
        if not whole:
            call.numbers((part,))
            for ids in weight.slots(call.ledger, axis):
                call.ledger.fix(ids, f"{call.where}: it takes a part of the channels")
        if whole and axis in weight.parts:
            parts[len(dims)] = weight.parts[axis]
        if not isinstance(part, int):
            dims.append(weight.dims[axis] if whole else -1)
        axis += 1
    for at in range(axis, len(weight.shape)):
        if at in weight.parts:
            parts[len(dims)] = weight.parts[at]
        dims.append(weight.dims[at])
    return [Weight(call.shape, weight.name, tuple(dims), weight.trained, parts=parts)]


def _without(call: Call, weight: Weight, axes: Sequence[int]) -> Weight:
    """Nothing can be removed along these axes any more."""
    for axis in axes:
        call.ledger.fix(weight.slot(call.ledger, axis), f"{call.where}: it meets a value that cannot shrink")
    dims = tuple(-1 if axis in axes else dim for axis, dim in enumerate(weight.dims))
    return Weight(call.shape, weight.name, dims, weight.trained, parts=weight.parts)
