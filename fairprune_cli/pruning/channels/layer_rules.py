"""What layers do to channels: which ones they mix, produce, pass on, and what silences them afterwards.

They are known by the functions that their code calls, so a network's own layers are followed as torch's are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fairprune_cli.pruning.channels.calls import (
    Call,
    Operand,
    Result,
    Weight,
    along,
    spread,
)
from fairprune_cli.pruning.channels.marks import Ints, Marks
from fairprune_cli.pruning.channels.sizes import Number

NOT_CHANNELS = "does not see it as channels"
Row = tuple[Ints, Ints]  # marks and sources along one axis


def layer_of(tensor: str) -> str:
    """The layer that a weight is of."""
    return tensor.removesuffix(".weight").removesuffix(".in_proj_weight")


def produced(call: Call, weight: Weight, axis: int, bias: Any, rows: Ints | None = None) -> Row:
    """Outputs of a layer with a weight and a bias; `rows` are others than the weight's own."""
    ledger = call.ledger
    out = weight.slot(ledger, axis) if rows is None else rows
    gates = set()
    if weight.dims[axis] >= 0:
        ledger.produce(weight.name, layer_of(weight.name), weight.dims[axis])
    if weight.dims[axis] == 0 and weight.trained:
        gates.add(ledger.gate(weight.name, weight.slot(ledger, axis)))
    if isinstance(bias, Weight) and len(bias.shape) == 1:
        ledger.tie(out, bias.slot(ledger, 0))
        if gates and bias.trained:
            gates.add(ledger.gate(bias.name, bias.slot(ledger, 0)))
        else:
            gates.clear()
    elif bias is not None:
        call.fix(call.value(bias), "it is the bias of a layer")
        ledger.fix(out, f"{call.where}: its bias cannot shrink")
    return out, np.full_like(out, ledger.source(frozenset(gates)))


def entered(call: Call, entering: Row | None, inputs: Ints) -> None:
    """A layer mixes these channels by these columns of its weight."""
    if entering is None:
        call.ledger.fix(inputs, "inputs")
        return
    call.ledger.read(*entering)
    call.ledger.tie(entering[0], inputs)


def convolution(call: Call) -> Result:
    first, weight, bias = call.first, call.argument(1, "weight"), call.argument(2, "bias")
    groups, rank = call.argument(6, "groups", 1), len(call.shape)
    transposed = "transpose" in call.name
    if isinstance(groups, Number):
        return _as_many_groups(call, groups, bias)
    entering = along(call, first, 1, NOT_CHANNELS) if len(first.shape) > 1 else None
    written = groups != 1 and not (isinstance(groups, int) and call.declares)
    if (
        not isinstance(weight, Weight) or not weight.upright or len(first.shape) != rank
        or weight.mixed or written
    ):  # fmt: skip
        return call.refuse("it has the number of groups in its code" if written else "it has no weight of its own")
    if groups == 1:
        entered(call, entering, weight.slot(call.ledger, 0 if transposed else 1))
        return spread(*produced(call, weight, 1 if transposed else 0, bias), 1, rank)
    rows = weight.slot(call.ledger, 0)
    if entering is None:
        call.ledger.fix(rows, f"{call.where} is a grouped convolution of what cannot shrink")
    # A group is removed as a whole: its inputs, its filters, its outputs.
    whole = rows.reshape(groups, -1)
    call.ledger.tie(whole[:, :1], whole)
    if entering is not None:
        call.ledger.tie(whole[:, :1], entering[0].reshape(groups, -1))
        if first.shape[1] > groups:
            call.ledger.read(*entering)
    outputs = np.repeat(whole[:, 0], call.shape[1] // groups) if transposed else None
    return spread(*produced(call, weight, 0, bias, outputs), 1, rank)


def _as_many_groups(call: Call, groups: Number, bias: Any) -> Result:
    """Each channel by itself, as many as there are: by a kernel of its own or by copies of one."""
    first, weight, rank = call.first, call.argument(1, "weight"), len(call.shape)
    entering = along(call, first, 1, NOT_CHANNELS) if len(first.shape) > 1 else None
    own = isinstance(weight, Weight) and weight.upright and not weight.mixed
    alone = isinstance(weight, Operand | Weight) and weight.shape[:2] == (groups.value, 1)
    if not alone or entering is None or first.shape[1] != groups.value or len(first.shape) != rank:
        return call.refuse("it has the number of groups in its code")
    call.same(groups, entering[0])
    if own:
        call.ledger.tie(entering[0], weight.slot(call.ledger, 0))
        if not weight.trained and bias is None:
            return spread(*entering, 1, rank)
        return spread(*produced(call, weight, 0, bias), 1, rank)
    kernels = along(call, call.value(weight), 0, NOT_CHANNELS)
    if kernels is None:
        return call.refuse("it has no weight of its own")
    call.ledger.tie(entering[0], kernels[0])
    if bias is None:
        return spread(*entering, 1, rank)
    if isinstance(bias, Weight):
        call.ledger.tie(entering[0], bias.slot(call.ledger, 0))
    else:
        call.fix(call.value(bias), "it is the bias of a layer")
        call.ledger.fix(entering[0], f"{call.where}: its bias cannot shrink")
    return spread(entering[0], np.zeros_like(entering[0]), 1, rank)


def embedding(call: Call) -> Result:
    """Rows of a table, as many as are asked for: the channels lie along its second dimension."""
    table, index = call.argument(1, "weight"), call.argument(0, "input")
    if isinstance(index, Weight) and len(index.axes) > 1:
        table, index = index, table  # torch.embedding
    if not isinstance(table, Weight) or len(table.shape) != 2 or call.value(index).marks is not None:
        return call.unknown()
    if call.argument(3, "max_norm") is not None or table.dims != (0, 1):
        return call.unknown()
    marks = table.spread(call.ledger, 1)
    if marks is None:
        return None
    return spread(marks.ids.ravel(), marks.sources.ravel(), len(call.shape) - 1, len(call.shape))


def linear(call: Call) -> Result:
    """F.linear(x, weight, bias)."""
    first, weight = call.argument(0, "input"), call.argument(1, "weight")
    if isinstance(weight, Weight) and len(weight.shape) == 2:
        return through(call, call.value(first), len(first.shape) - 1, weight, 1, call.argument(2, "bias"))
    return call.refuse("it has no weight of its own")


def through(call: Call, first: Operand, axis: int, weight: Weight, inputs: int, bias: Any) -> Marks:
    """Along one axis of a value, through a matrix of which one axis is that of the inputs; in place of it the other."""
    entering = along(call, first, axis, NOT_CHANNELS)
    entered(call, entering, weight.slot(call.ledger, inputs))
    if entering is not None and inputs in weight.mixed:
        call.ledger.inexact.append(entering[0])
    out, source = produced(call, weight, 1 - inputs, bias)
    if 1 - inputs in weight.mixed:
        call.ledger.fix(out, f"{call.where}: its weight is normed over its outputs")
    return spread(out, source, len(call.shape) - 1, len(call.shape))


RULES: Mapping[str, Callable[[Call], Result]] = {
    **dict.fromkeys([f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)], convolution),
    "linear": linear,
    "embedding": embedding,
}
