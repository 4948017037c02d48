"""What layers do to channels: which ones they mix, produce, pass on, and what silences them afterwards.

A layer that is not known here mixes channels in a way that nobody understands, so all that enter it stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from fairprune_cli.models.architectures.attention import SelfAttention
from fairprune_cli.pruning.channels.marks import Ints, Ledger, Marks

KEEP_ZERO = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardtanh, nn.Hardswish, nn.SiLU, nn.GELU, nn.ELU, nn.CELU, nn.SELU, nn.Mish,
    nn.Tanh, nn.Softsign, nn.Tanhshrink, nn.Hardshrink, nn.Softshrink, nn.Identity,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
LOSE_ZERO = (nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, nn.LogSigmoid)
SPATIAL = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d, nn.Upsample)
NORMS = (nn.modules.batchnorm._BatchNorm,)
LEAVES = (*NORMS, nn.LayerNorm, SelfAttention)


@dataclass(frozen=True, eq=False)
class Operand:
    """A value that goes into an operation: its shape, and its marks where it has any."""

    shape: tuple[int, ...]
    marks: Marks | None


class Layer:
    """A layer of the network under its name, with the slots of its own tensors.

    Args:
        ledger: where everything is written down.
        name: path of the module.
        module: the layer.
        names: names of the network's tensors by id.
    """

    def __init__(self, ledger: Ledger, name: str, module: nn.Module, names: dict[int, str]) -> None:
        self.ledger, self.name, self.module = ledger, name, module
        self.names = names

    def slot(self, leaf: str, dim: int) -> Ints | None:
        """Marks of a dimension of one of its tensors; None where the layer has no such tensor."""
        tensor = self._tensor(leaf)
        return None if tensor is None else self.ledger.slot(self.names[id(tensor)], dim, tensor.shape[dim])

    def gates(self, *leaves: str, rows: Ints | None = None) -> int:
        """The source whose gates are these tensors (all their rows, or those marked in `rows`)."""
        present = [leaf for leaf in leaves if self._tensor(leaf) is not None]
        found = set()
        for leaf in present:
            own = self.slot(leaf, 0)
            assert own is not None
            found.add(self.ledger.gate(self.names[id(self._tensor(leaf))], own if rows is None else rows))
        return self.ledger.source(frozenset(found))

    def per_channel(self, ids: Ints, *leaves: str) -> None:
        """Tie the first dimension of these tensors to the channels."""
        for leaf in leaves:
            own = self.slot(leaf, 0)
            if own is not None:
                self.ledger.tie(ids, own)

    def _tensor(self, leaf: str) -> Tensor | None:
        found = self.module._parameters.get(leaf, self.module._buffers.get(leaf))
        return found if found is not None and id(found) in self.names else None


def along(ledger: Ledger, operand: Operand, axis: int, why: str) -> tuple[Ints, Ints] | None:
    """(marks, sources) of an axis, [size each]; channels spread over any other axis are fixed for the reason."""
    marks, size = operand.marks, operand.shape[axis]
    if marks is None or not marks.ids.any():
        return None
    if marks.ids.shape[axis] == 1 and (size > 1 or len(marks.axes)):
        ledger.fix(marks.ids, why)
        return None
    ids, sources = (np.moveaxis(part, axis, -1).reshape(-1, size) for part in (marks.ids, marks.sources))
    for row in ids[1:]:
        ledger.tie(ids[0], row)
    return ids[0], np.where((sources == sources[0]).all(0), sources[0], 0)


def apply_layer(layer: Layer, operands: list[Operand], rank: int) -> Marks | None:
    """Marks of what the layer gives, a value of `rank` dimensions."""
    module, ledger, first = layer.module, layer.ledger, operands[0]
    if isinstance(module, nn.Conv2d):
        return _spread(_convolution(layer, first, module), 1, rank)
    if isinstance(module, nn.Linear):
        return _spread(_linear(layer, first), rank - 1, rank)
    if isinstance(module, SelfAttention):
        return _spread(_attention(layer, first, module), rank - 1, rank)
    if isinstance(module, NORMS):
        return _spread(_norm(layer, first, 1, "weight", "bias", "running_mean", "running_var"), 1, rank)
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        axis = first.shape.index(module.normalized_shape[0], 1) if module.normalized_shape[0] in first.shape[1:] else 0
        axis = rank - 1 if type(module).forward is nn.LayerNorm.forward else axis
        if axis:
            return _spread(_layer_norm(layer, first, axis), axis, rank)
    if first.marks is None:
        return None
    if isinstance(module, KEEP_ZERO):
        return first.marks
    if isinstance(module, LOSE_ZERO):
        return Marks(first.marks.ids, np.zeros_like(first.marks.sources))
    if isinstance(module, SPATIAL):
        return spatial(ledger, first, layer.name)
    if isinstance(module, nn.Flatten):
        return None  # a reshape; the walk knows the shapes
    for operand in operands:
        if operand.marks is not None:
            ledger.fix(operand.marks.ids, f"{layer.name} ({type(module).__name__}) is not understood")
    return None


def spatial(ledger: Ledger, operand: Operand, name: str) -> Marks | None:
    """Pooling and the like work on each channel by itself, in the last two dimensions."""
    marks = operand.marks
    if marks is not None and any(size > 1 for size in marks.ids.shape[-2:]):
        ledger.fix(marks.ids, f"{name} pools over channels")
        return None
    return marks


def _spread(found: tuple[Ints, Ints] | None, axis: int, rank: int) -> Marks | None:
    """Marks of a value whose channels lie along one axis."""
    if found is None:
        return None
    shape = [1] * rank
    shape[axis] = -1
    return Marks(found[0].reshape(shape), np.broadcast_to(found[1], found[0].shape).reshape(shape))


def _enter(layer: Layer, operand: Operand, axis: int) -> tuple[Ints, Ints] | None:
    return along(layer.ledger, operand, axis, f"{layer.name} does not see it as channels")


def _produce(layer: Layer) -> tuple[Ints, Ints] | None:
    """Outputs of a layer with a weight and a bias."""
    out = layer.slot("weight", 0)
    if out is None:
        return None
    layer.per_channel(out, "bias")
    return out, np.full_like(out, layer.gates("weight", "bias"))


def _convolution(layer: Layer, operand: Operand, module: nn.Conv2d) -> tuple[Ints, Ints] | None:
    ledger, entering = layer.ledger, _enter(layer, operand, 1)
    produced = _produce(layer)
    if module.groups == 1:
        inputs = layer.slot("weight", 1)
        if entering is not None:
            ledger.read(*entering)
            if inputs is None:
                ledger.fix(entering[0], f"{layer.name} has no weight of its own")
            else:
                ledger.tie(entering[0], inputs)
        elif inputs is not None:
            ledger.fix(inputs, "inputs")
        return produced
    if produced is None or entering is None:
        for found in (produced, entering):
            if found is not None:
                ledger.fix(found[0], f"{layer.name} is a grouped convolution of what cannot shrink")
        return produced
    # A group is removed as a whole: its inputs, its filters, its outputs.
    ids, outputs = entering[0].reshape(module.groups, -1), produced[0].reshape(module.groups, -1)
    ledger.tie(ids[:, :1], ids)
    ledger.tie(ids[:, :1], outputs)
    if ids.shape[1] > 1:
        ledger.read(*entering)
    return produced


def _linear(layer: Layer, operand: Operand) -> tuple[Ints, Ints] | None:
    entering, inputs = _enter(layer, operand, len(operand.shape) - 1), layer.slot("weight", 1)
    if entering is not None:
        layer.ledger.read(*entering)
        if inputs is None:
            layer.ledger.fix(entering[0], f"{layer.name} has no weight of its own")
        else:
            layer.ledger.tie(entering[0], inputs)
    elif inputs is not None:
        layer.ledger.fix(inputs, "inputs")
    return _produce(layer)


def _attention(layer: Layer, operand: Operand, module: SelfAttention) -> tuple[Ints, Ints] | None:
    """Heads go as a whole; the zeros of its values silence one."""
    ledger, entering = layer.ledger, _enter(layer, operand, 2)
    inputs, rows = layer.slot("in_proj_weight", 1), layer.slot("in_proj_weight", 0)
    out = Layer(ledger, f"{layer.name}.out_proj", module.out_proj, layer.names)
    mixed = out.slot("weight", 1)
    if inputs is None or rows is None or mixed is None:
        if entering is not None:
            ledger.fix(entering[0], f"{layer.name} has no weight of its own")
        return None
    if entering is not None:
        ledger.read(*entering)
        ledger.tie(entering[0], inputs)
    else:
        ledger.fix(inputs, "inputs")
    layer.per_channel(rows, "in_proj_bias")
    heads = rows.reshape(3, module.heads, module.head_width)
    ledger.tie(heads[:1, :, :1], heads)
    ledger.tie(heads[0], mixed.reshape(module.heads, module.head_width))
    values = np.zeros_like(rows).reshape(heads.shape)
    values[2] = heads[2]
    source = layer.gates("in_proj_weight", "in_proj_bias", rows=values.ravel())
    ledger.read(heads[2].ravel(), np.full(heads[2].size, source))
    return _produce(out)


def _norm(layer: Layer, operand: Operand, axis: int, *leaves: str) -> tuple[Ints, Ints] | None:
    """Scale and shift of each channel by itself."""
    entering = _enter(layer, operand, axis)
    if entering is None:
        for leaf in leaves:
            own = layer.slot(leaf, 0)
            if own is not None:
                layer.ledger.fix(own, "inputs")
        return None
    layer.per_channel(entering[0], *leaves)
    return entering[0], np.full_like(entering[0], layer.gates("weight", "bias"))


def _layer_norm(layer: Layer, operand: Operand, axis: int) -> tuple[Ints, Ints] | None:
    """As a norm of each channel, but its mean and variance are taken over all of them, so zeros are not absence."""
    found = _norm(layer, operand, axis, "weight", "bias")
    if found is not None:
        layer.ledger.inexact.append(found[0])
    return found
