"""What products do to channels: of a value and a matrix, of two values, and attention, which is made of them."""

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
)
from fairprune_cli.pruning.channels.layer_rules import NOT_CHANNELS, Row, entered, produced, through
from fairprune_cli.pruning.channels.marks import Marks


def product(call: Call) -> Result:
    """matmul, bmm, mm, addmm: of a value and a matrix of the network, or of two values."""
    given = call.args[1:] if call.name == "addmm" else call.args
    bias = call.args[0] if call.name == "addmm" else None
    if len(given) < 2 or (call.name == "addmm" and set(call.kwargs) & {"alpha", "beta"}):
        return call.unknown()
    one, other = reversed(given[:2]) if call.name == "rmatmul" else given[:2]
    if isinstance(other, Weight) and len(other.shape) == 2 and isinstance(one, Operand) and len(one.shape) > 1:
        return through(call, one, len(one.shape) - 1, other, 0, bias)
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
    found = through(call, one, names[0].index(inner[0]), other, names[1].index(inner[0]), None)
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
        entered(call, along(call, sequence, len(sequence.shape) - 1, NOT_CHANNELS), inputs)
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
    found = spread(*produced(call, mixing, 0, after), len(call.shape) - 1, len(call.shape))
    if len(call.shapes) > 1:
        return [found, Held(rows, f"{call.where}: its weights are used")]
    return found


RULES: Mapping[str, Callable[[Call], Result]] = {
    **dict.fromkeys(("matmul", "imatmul", "rmatmul", "mm", "bmm", "addmm"), product), "einsum": einsum,
    "scaled_dot_product_attention": scaled_attention,
}  # fmt: skip
