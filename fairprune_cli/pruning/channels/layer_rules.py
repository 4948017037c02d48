"""What layers do to channels: which ones they mix, produce, pass on, and what silences them afterwards.

They are known by the functions that their code calls, so a network's own layers are followed as torch's are.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fairprune_cli.models.architectures.attention import SelfAttention
from fairprune_cli.pruning.channels.calls import (
    Call,
    Held,
    Operand,
    Result,
    Weight,
    along,
    operands_in,
    spread,
    unsilenced,
)
from fairprune_cli.pruning.channels.marks import Ints, Marks

_NOT_CHANNELS = "does not see it as channels"
Row = tuple[Ints, Ints]  # marks and sources along one axis


def label(tensor: str) -> str:
    """The layer that a weight is of."""
    return tensor.removesuffix(".weight").removesuffix(".in_proj_weight")


def _produced(call: Call, weight: Weight, axis: int, bias: Any, rows: Ints | None = None) -> Row:
    """Outputs of a layer with a weight and a bias; `rows` are others than the weight's own."""
    ledger = call.ledger
    out = weight.slot(ledger, axis) if rows is None else rows
    gates = set()
    if weight.dims[axis] >= 0:
        ledger.produce(weight.name, label(weight.name), weight.dims[axis])
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


def _entered(call: Call, entering: Row | None, inputs: Ints) -> None:
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
    entering = along(call, first, 1, _NOT_CHANNELS) if len(first.shape) > 1 else None
    written = groups != 1 and not (isinstance(groups, int) and call.declares)
    if (
        not isinstance(weight, Weight) or weight.dims != tuple(range(rank)) or len(first.shape) != rank
        or weight.mixed or written
    ):  # fmt: skip
        return call.refuse("it has the number of groups in its code" if written else "it has no weight of its own")
    if groups == 1:
        _entered(call, entering, weight.slot(call.ledger, 0 if transposed else 1))
        return spread(*_produced(call, weight, 1 if transposed else 0, bias), 1, rank)
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
    return spread(*_produced(call, weight, 0, bias, outputs), 1, rank)


def linear(call: Call) -> Result:
    """F.linear(x, weight, bias)."""
    first, weight = call.argument(0, "input"), call.argument(1, "weight")
    if isinstance(weight, Weight) and len(weight.shape) == 2:
        return _through(call, call.value(first), len(first.shape) - 1, weight, 1, call.argument(2, "bias"))
    return call.refuse("it has no weight of its own")


def _through(call: Call, first: Operand, axis: int, weight: Weight, inputs: int, bias: Any) -> Marks:
    """Along one axis of a value, through a matrix of which one axis is that of the inputs; in place of it the other."""
    entering = along(call, first, axis, _NOT_CHANNELS)
    _entered(call, entering, weight.slot(call.ledger, inputs))
    if entering is not None and inputs in weight.mixed:
        call.ledger.inexact.append(entering[0])
    out, source = _produced(call, weight, 1 - inputs, bias)
    if 1 - inputs in weight.mixed:
        call.ledger.fix(out, f"{call.where}: its weight is normed over its outputs")
    return spread(out, source, len(call.shape) - 1, len(call.shape))


def product(call: Call) -> Result:
    """matmul, bmm, mm, addmm: of a value and a matrix of the network, or of two values."""
    given = call.args[1:] if call.name == "addmm" else call.args
    bias = call.args[0] if call.name == "addmm" else None
    if len(given) < 2 or (call.name == "addmm" and set(call.kwargs) & {"alpha", "beta"}):
        return call.unknown()
    one, other = reversed(given[:2]) if call.name == "rmatmul" else given[:2]
    if isinstance(other, Weight) and len(other.shape) == 2 and isinstance(one, Operand) and len(one.shape) > 1:
        return _through(call, one, len(one.shape) - 1, other, 0, bias)
    if bias is not None or isinstance(one, Weight) or isinstance(other, Weight):
        return call.refuse("it is a product with a value of its own")
    if min(len(one.shape), len(other.shape)) < 2:
        return call.unknown()
    letters = string.ascii_lowercase[: len(call.shape) - 2]
    terms = [letters[len(letters) - len(value.shape) + 2 :] for value in (one, other)]
    return _contracted(call, (one, other), [f"{terms[0]}IK", f"{terms[1]}KJ"], f"{letters}IJ")


def einsum(call: Call) -> Result:
    equation: Any = call.args[0]
    values: Any = call.args[1:]
    values = values[0] if len(values) == 1 and isinstance(values[0], tuple | list) else values
    if not isinstance(equation, str) or len(values) != 2 or "." in equation or "->" not in equation:
        return call.unknown()
    terms, output = equation.replace(" ", "").split("->")
    names = terms.split(",")
    if any(len(set(term)) < len(term) for term in (*names, output)):
        return call.unknown()
    if isinstance(values[0], Weight):
        values, names = values[::-1], names[::-1]
    one, other = values
    if isinstance(one, Weight):
        return call.unknown()
    if not isinstance(other, Weight):
        return _contracted(call, (one, other), names, output)
    inner = [letter for letter in names[1] if letter not in output]
    outer = [letter for letter in names[1] if letter in output]
    if len(inner) != 1 or len(outer) != 1 or outer[0] in names[0] or inner[0] not in names[0]:
        return call.unknown()
    found = _through(call, one, names[0].index(inner[0]), other, names[1].index(inner[0]), None)
    return spread(found.ids.ravel(), found.sources.ravel(), output.index(outer[0]), len(output))


def _contracted(call: Call, values: Sequence[Operand], terms: Sequence[str], output: str) -> Marks | None:
    """A product of two values, summed over the letters that are not in the output."""
    rows: list[tuple[str, Row] | None] = []
    for value, term in zip(values, terms, strict=True):
        if value.marks is not None and not value.marks.axes:
            call.fix(value, "it is a product of values")
        axes = value.marks.axes if value.marks is not None else []
        rows.append((term[axes[0]], (value.marks.ids.ravel(), value.marks.sources.ravel()))
                    if axes and value.marks is not None else None)  # fmt: skip
    found = [row for row in rows if row is not None]
    if not found:
        return None
    letter = found[0][0]
    sizes = [value.shape[term.index(letter)] for value, term in zip(values, terms, strict=True) if letter in term]
    both = len(found) == 2
    if any(other != letter for other, _ in found) or (sum(size > 1 for size in sizes) > 1 and not both):
        for row in found:
            call.ledger.fix(row[1][0], f"{call.where}: it meets a value that cannot shrink")
        return None
    ids, sources = found[0][1]
    if both:
        call.ledger.tie(ids, found[1][1][0])
        sources = np.where(sources > 0, sources, found[1][1][1])
    if letter in output:
        return spread(ids, sources, output.index(letter), len(output))
    call.ledger.read(ids, sources)
    return None


def norm_per_channel(call: Call) -> Result:
    """batch_norm and instance_norm: scale and shift of each channel by itself."""
    names = ("input", "running_mean", "running_var", "weight", "bias")
    tensors = [call.argument(at, name) for at, name in enumerate(names)]
    if call.name == "batch_norm" and len(call.args) == 9:
        tensors = [call.args[0], call.args[3], call.args[4], call.args[1], call.args[2]]  # torch.batch_norm
    own, entering = [tensor for tensor in tensors[1:] if tensor is not None], along(call, call.first, 1, _NOT_CHANNELS)
    if not all(isinstance(tensor, Weight) and len(tensor.shape) == 1 for tensor in own):
        return call.refuse("it has no weight of its own")
    for tensor in own:
        if entering is None:
            call.ledger.fix(tensor.slot(call.ledger, 0), "inputs")
        else:
            call.ledger.tie(entering[0], tensor.slot(call.ledger, 0))
    if entering is None:
        return None
    source = _affine(call, tensors[3], tensors[4])
    passes = call.name == "instance_norm" and tensors[1] is None and source is None
    sources = entering[1] if passes else np.full_like(entering[0], source or 0)
    return spread(entering[0], sources, 1, len(call.shape))


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
    entering, own = along(call, call.first, 1, _NOT_CHANNELS), [one for one in (weight, bias) if one is not None]
    if not all(isinstance(one, Weight) and len(one.shape) == 1 for one in own) or not isinstance(groups, int):
        return call.refuse("it has no weight of its own")
    if groups > 1 and not (own and call.declares):
        return call.refuse("it has the number of groups in its code")
    for one in own:
        if entering is None:
            call.ledger.fix(one.slot(call.ledger, 0), "inputs")
        else:
            call.ledger.tie(entering[0], one.slot(call.ledger, 0))
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
    entering = along(call, first, 1, _NOT_CHANNELS) if len(first.shape) > 1 else None
    if not isinstance(weight, Weight) or len(weight.shape) != 1 or entering is None:
        return call.refuse("it has slopes for what cannot shrink")
    call.ledger.tie(entering[0], weight.slot(call.ledger, 0))
    return spread(*entering, 1, len(call.shape))


def scaled_attention(call: Call) -> Result:
    """F.scaled_dot_product_attention of heads, which go as a whole."""
    values = [call.value(call.argument(at, name)) for at, name in enumerate(("query", "key", "value"))]
    mask = call.argument(3, "attn_mask")
    if mask is not None and call.value(mask).marks is not None:
        return call.unknown()
    axes = {axis for value in values if value.marks is not None for axis in value.marks.axes}
    if not axes:
        return None
    size = 1 if mask is None else (1, 1, 1, 1, *call.value(mask).shape)[-len(call.shape) :][min(axes)]
    if axes & {len(call.shape) - 1, len(call.shape) - 2} or len(axes) > 1 or size > 1:
        return call.unknown()
    if any(value.marks is None or not value.marks.axes for value in values):
        return call.refuse("it meets a value that cannot shrink")
    known = [value.marks for value in values if value.marks is not None]
    for more in known[1:]:
        call.ledger.tie(known[0].ids, more.ids)
    return known[2]


def attention(call: Call) -> Result:
    """`SelfAttention`: heads go as a whole; the zeros of its values silence one."""
    ledger, (name, module) = call.ledger, call.layer
    assert isinstance(module, SelfAttention)
    given = dict(zip(("query", "key", "value"), call.args, strict=False)) | call.kwargs
    weight, bias, mixing, after = (
        given.pop(key, None) for key in ("in_proj_weight", "in_proj_bias", "out_weight", "out_bias")
    )
    entering = {id(one): one for one in (given.pop(key) for key in ("query", "key", "value"))}.values()
    if not isinstance(weight, Weight) or not isinstance(mixing, Weight) or len(call.args) > 3:
        return call.refuse("it has no weight of its own")
    for one in operands_in(given):
        call.fix(one, "it masks attention")
    inputs, rows = weight.slot(ledger, 1), weight.slot(ledger, 0)
    mask = given.get("attn_mask")
    if isinstance(mask, Operand | Weight) and len(mask.shape) > 2:
        ledger.fix(rows, f"{call.where}: it is given a mask for each head")
    for sequence in map(call.value, entering):
        _entered(call, along(call, sequence, len(sequence.shape) - 1, _NOT_CHANNELS), inputs)
    ledger.produce(weight.name, name, 0)
    heads = rows.reshape(3, module.heads, module.head_width)
    ledger.tie(heads[:1, :, :1], heads)
    if isinstance(bias, Weight):
        ledger.tie(rows, bias.slot(ledger, 0))
    ledger.tie(heads[0], mixing.slot(ledger, 1).reshape(module.heads, module.head_width))
    values = np.zeros_like(rows).reshape(heads.shape)
    values[2] = heads[2]
    gates = {ledger.gate(one.name, values.ravel()) for one in (weight, bias) if isinstance(one, Weight)}
    ledger.read(heads[2].ravel(), np.full(heads[2].size, ledger.source(frozenset(gates))))
    found = spread(*_produced(call, mixing, 0, after), len(call.shape) - 1, len(call.shape))
    if len(call.shapes) > 1:
        return [found, Held(rows, f"{call.where}: its weights are used")]
    return found


RULES: Mapping[str, Callable[[Call], Result]] = {
    **dict.fromkeys([f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)], convolution),
    "linear": linear, **dict.fromkeys(("matmul", "imatmul", "rmatmul", "mm", "bmm", "addmm"), product),
    "einsum": einsum, "batch_norm": norm_per_channel, "instance_norm": norm_per_channel, "group_norm": group_norm,
    "layer_norm": layer_norm, "rms_norm": layer_norm, "prelu": prelu,
    "scaled_dot_product_attention": scaled_attention,
}  # fmt: skip
