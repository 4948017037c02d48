"""What norms and slopes per channel do to channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fairprune_cli.pruning.channels.calls import (
    Call,
    Result,
    Weight,
    along,
    spread,
    unsilenced,
)
from fairprune_cli.pruning.channels.layer_rules import NOT_CHANNELS
from fairprune_cli.pruning.channels.marks import Ints


def norm_per_channel(call: Call) -> Result:
    """batch_norm and instance_norm: scale and shift of each channel by itself."""
    names = ("input", "running_mean", "running_var", "weight", "bias")
    tensors = [call.argument(at, name) for at, name in enumerate(names)]
    if call.name == "batch_norm" and len(call.args) == 9:
        tensors = [call.args[0], call.args[3], call.args[4], call.args[1], call.args[2]]  # torch.batch_norm
    own, entering = [tensor for tensor in tensors[1:] if tensor is not None], along(call, call.first, 1, NOT_CHANNELS)
    if not all(isinstance(tensor, Weight) and len(tensor.shape) == 1 for tensor in own):
        return call.refuse("it has no weight of its own")
    _go_along(call, own, entering)
    if entering is None:
        return None
    source = _affine(call, tensors[3], tensors[4])
    passes = call.name == "instance_norm" and tensors[1] is None and source is None
    sources = entering[1] if passes else np.full_like(entering[0], source or 0)
    return spread(entering[0], sources, 1, len(call.shape))


def _go_along(call: Call, own: list[Weight], entering: tuple[Ints, Ints] | None) -> None:
    """Tensors with an entry per channel shrink with the channels that enter, or stay where none of these may go."""
    for one in own:
        if entering is None:
            call.ledger.fix(one.slot(call.ledger, 0), "inputs")
        else:
            call.ledger.tie(entering[0], one.slot(call.ledger, 0))


def _affine(call: Call, weight: Any, bias: Any) -> int | None:
    """The source of what a scale and a shift have gone over; None where there are neither."""
    present = [one for one in (weight, bias) if one is not None]
    if not present:
        return None
    if weight is None or not all(isinstance(one, Weight) and one.trained for one in present):
        return 0
    return call.ledger.source(frozenset(call.ledger.gate(one.name, one.slot(call.ledger, 0)) for one in present))


def group_norm(call: Call) -> Result:
    """Groups go as a whole. The one of GroupNorm(1, C) is normed over all channels, as a layer norm does."""
    groups, weight, bias = (call.argument(at, name) for at, name in enumerate(("num_groups", "weight", "bias"), 1))
    entering, own = along(call, call.first, 1, NOT_CHANNELS), [one for one in (weight, bias) if one is not None]
    if not all(isinstance(one, Weight) and len(one.shape) == 1 for one in own) or not isinstance(groups, int):
        return call.refuse("it has no weight of its own")
    if groups > 1 and not (own and call.declares):
        return call.refuse("it has the number of groups in its code")
    _go_along(call, own, entering)
    if entering is None:
        return None
    ids = entering[0].reshape(groups, -1)
    source = _affine(call, weight, bias) or 0
    if groups > 1:
        call.ledger.tie(ids[:, :1], ids)
    else:
        call.ledger.inexact.append(entering[0])
    return spread(entering[0], np.full_like(entering[0], source), 1, len(call.shape))


def layer_norm(call: Call) -> Result:
    """Mean and variance are taken over all channels, so zeros are not absence; also RMS norm."""
    shape, weight = call.argument(1, "normalized_shape"), call.argument(2, "weight")
    bias = call.argument(3, "bias") if call.name == "layer_norm" else None
    marks, rank, own = call.first.marks, len(call.shape), [one for one in (weight, bias) if one is not None]
    shape = shape if isinstance(shape, tuple | list) else (shape,)
    if not all(isinstance(one, Weight) and len(one.shape) == len(shape) for one in own):
        return call.refuse("it has no weight of its own")
    if marks is None or not marks.axes:
        for one in own:
            one.fix(call.ledger, "inputs")
        call.numbers(shape)
        return None if marks is None else call.refuse("it is normed over places")
    axis = marks.axes[0]
    inside = axis - (rank - len(shape))
    if inside < 0:
        for one in own:
            one.fix(call.ledger, "inputs")
        call.numbers(shape)
        return unsilenced(marks)
    ids = marks.ids.ravel()
    if not (call.same(shape[inside], ids) or (call.declares and own)):
        return call.refuse("the network's code has the number of channels in it")
    for one in own:
        call.ledger.tie(ids, one.slot(call.ledger, inside))
    call.ledger.inexact.append(ids)
    source = (_affine(call, weight, bias) or 0) if inside == 0 else 0
    return spread(ids, np.full_like(ids, source), axis, rank)


def prelu(call: Call) -> Result:
    """A slope for all, or one for each channel."""
    first, weight = call.first, call.argument(1, "weight")
    if isinstance(weight, Weight) and weight.shape == (1,):
        return first.marks
    entering = along(call, first, 1, NOT_CHANNELS) if len(first.shape) > 1 else None
    if not isinstance(weight, Weight) or len(weight.shape) != 1 or entering is None:
        return call.refuse("it has slopes for what cannot shrink")
    call.ledger.tie(entering[0], weight.slot(call.ledger, 0))
    return spread(*entering, 1, len(call.shape))


RULES: Mapping[str, Callable[[Call], Result]] = {
    "batch_norm": norm_per_channel, "instance_norm": norm_per_channel, "group_norm": group_norm,
    "layer_norm": layer_norm, "rms_norm": layer_norm, "prelu": prelu,
}  # fmt: skip
