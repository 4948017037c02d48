"""What functions and methods do to channels. One that is not known keeps all channels that enter it from removal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fairprune_cli.pruning.channels.layer_rules import Operand, spatial
from fairprune_cli.pruning.channels.marks import Ints, Ledger, Marks, collapse

KEEP_ZERO = {
    "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "hardtanh", "hardswish", "silu", "gelu", "elu", "mish",
    "tanh", "selu", "celu", "dropout", "dropout2d", "feature_dropout", "stochastic_depth", "drop_path", "contiguous",
    "clone", "detach", "to", "float", "half", "bfloat16", "type_as", "abs", "neg", "identity",
}  # fmt: skip
LOSE_ZERO = {"sigmoid", "sigmoid_", "hardsigmoid", "softplus", "exp", "cos"}
ADD = {"add", "add_", "iadd", "sub", "isub", "sub_"}
MULTIPLY = {"mul", "mul_", "imul", "multiply"}
DIVIDE = {"truediv", "div", "div_", "itruediv"}
SPATIAL = {"adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d", "interpolate"}
RESHAPE = {"reshape", "view", "flatten", "squeeze", "unsqueeze", "view_as"}
SILENT = {"size", "dim", "numel", "getattr", "stride", "_assert", "eq", "ndimension", "is_floating_point"}


class Call:
    """A call of a function or method in the network.

    Args:
        ledger: where everything is written down.
        name: of the function.
        where: what the user is told about its place.
        args, kwargs: as in the graph, tensors replaced by `Operand`.
        shape: of the result.
    """

    def __init__(
        self, ledger: Ledger, name: str, where: str, args: tuple[Any, ...], kwargs: dict[str, Any],
        shape: tuple[int, ...],
    ) -> None:  # fmt: skip
        self.ledger, self.name, self.where = ledger, name, where
        self.args, self.kwargs, self.shape = args, kwargs, shape

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def refuse(self, why: str) -> None:
        """All channels that enter stay."""
        for operand in operands_in((self.args, self.kwargs)):
            if operand.marks is not None:
                self.ledger.fix(operand.marks.ids, f"{self.where}: {why}")

    def marks(self) -> Marks | None:
        """Marks of the result."""
        name, first = self.name, self.args[0] if self.args else None
        if name == "cat":
            return self._cat()
        if name in ADD | MULTIPLY | DIVIDE:
            return self._elementwise()
        if not isinstance(first, Operand) or first.marks is None:
            self.refuse("not understood")
            return None
        if name in KEEP_ZERO:
            return first.marks
        if name in LOSE_ZERO:
            return Marks(first.marks.ids, np.zeros_like(first.marks.sources))
        if name in SPATIAL:
            return spatial(self.ledger, first, self.where)
        if name in RESHAPE:
            return self._reshape(first, first.marks)
        if name in ("permute", "transpose", "swapaxes", "swapdims"):
            return self._permute(first.marks)
        if name == "mean":
            return self._mean(first, first.marks)
        if name == "getitem":
            return self._item(first, first.marks)
        if name == "expand":
            return first.marks if first.marks.ids.ndim == len(self.shape) else self._unknown()
        return self._unknown()

    def _unknown(self) -> Marks | None:
        self.refuse(f"{self.name} is not understood")
        return None

    def _elementwise(self) -> Marks | None:
        operands = [operand for operand in self.args if isinstance(operand, Operand)]
        if len(operands_in(self.kwargs)):
            return self._unknown()
        rank = len(self.shape)
        marked = [operand for operand in operands if operand.marks is not None]
        # One channel that meets many stands for itself, not for each of them.
        many = max((operand.marks.ids.size for operand in marked if operand.marks is not None), default=0)
        for operand in list(marked):
            assert operand.marks is not None
            if operand.marks.ids.size == 1 < many:
                self.ledger.fix(operand.marks.ids, f"{self.where}: it meets many channels")
                marked.remove(operand)
        if not marked:
            return None
        ids, sources = _lifted(marked[0].marks, rank)
        for operand in marked[1:]:
            more, other = _lifted(operand.marks, rank)
            self.ledger.tie(ids, more)
            ids, more, sources, other = np.broadcast_arrays(ids, more, sources, other)
            ids = np.where(ids > 0, ids, more)
            sources = self._merged(sources, other)
        for operand in operands:
            if operand in marked:
                continue
            # A value without channels must not have a size of its own where there are channels.
            size = (1,) * (rank - len(operand.shape)) + operand.shape
            if any(size[axis] > 1 for axis, n in enumerate(ids.shape) if n > 1):
                self.ledger.fix(ids, f"{self.where}: it meets a value that cannot shrink")
                return None
        constant = len(marked) < len(self.args)
        if (self.name in ADD and constant) or (self.name in DIVIDE and self.args[0] not in marked):
            sources = np.zeros_like(sources)
        return collapse(ids, sources)

    def _merged(self, one: Ints, other: Ints) -> Ints:
        """A sum is silent when both parts are, a product when either is."""
        table = self.ledger.sources
        result = np.zeros_like(one)
        for a, b in np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).T.tolist():
            merged = a or b
            if self.name in ADD:
                merged = self.ledger.source(table[a] | table[b]) if a and b else 0
            result[(one == a) & (other == b)] = merged
        return result

    def _cat(self) -> Marks | None:
        parts = self.argument(0, "tensors")
        axis = self.argument(1, "dim", 0)
        if not isinstance(axis, int) or not all(isinstance(part, Operand) for part in parts):
            return self._unknown()
        axis %= len(self.shape)
        if all(part.marks is None for part in parts):
            return None
        blocks = []
        for part in parts:
            pair = (np.zeros((1,) * len(self.shape), np.int64),) * 2
            if part.marks is not None:
                pair = (part.marks.ids, part.marks.sources)
            shape = [max(p.marks.ids.shape[d] for p in parts if p.marks is not None) for d in range(len(self.shape))]
            shape[axis] = part.shape[axis]
            blocks.append([np.broadcast_to(half, shape) for half in pair])
        ids, sources = (np.concatenate(half, axis) for half in zip(*blocks, strict=True))
        return collapse(ids, sources)

    def _reshape(self, first: Operand, marks: Marks) -> Marks | None:
        sizes = self.args[1:]
        if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
            sizes = tuple(sizes[0])
        found = reshaped(marks, first.shape, self.shape)
        if len(found.axes) > 1:
            self.refuse("it splits the channels into parts")
            return None
        written = self.name in ("reshape", "view") and len(sizes) == len(self.shape)
        if written and any(isinstance(sizes[axis], int) and sizes[axis] != -1 for axis in found.axes):
            self.refuse("the network's code has the number of channels in it")
            return None
        return found

    def _permute(self, marks: Marks) -> Marks | None:
        rank = marks.ids.ndim
        order = list(range(rank))
        if self.name != "permute":
            a, b = self.argument(1, "dim0"), self.argument(2, "dim1")
            order[a], order[b] = order[b], order[a]
        else:
            dims = self.kwargs.get("dims", self.args[1:])
            dims = dims[0] if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
            order = [d % rank for d in dims]
        return marks.map(lambda part: np.transpose(part, order))

    def _mean(self, first: Operand, marks: Marks) -> Marks | None:
        dims = self.argument(1, "dim")
        dims = [dims] if isinstance(dims, int) else dims
        if dims is None or any(marks.ids.shape[d] > 1 for d in dims):
            self.refuse("it averages over channels")
            return None
        if len(self.shape) == len(first.shape):
            return marks
        return marks.map(lambda part: part.squeeze(tuple(d % part.ndim for d in dims)))

    def _item(self, first: Operand, marks: Marks) -> Marks | None:
        index = self.args[1] if isinstance(self.args[1], tuple) else (self.args[1],)
        if Ellipsis in index:
            at = index.index(Ellipsis)
            missing = len(first.shape) - sum(part is not None for part in index) + 1
            index = (*index[:at], *[slice(None)] * missing, *index[at + 1 :])
        axis = 0
        picked: list[int | slice | None] = []
        for part in index:
            if part is None:
                picked.append(None)
                continue
            if not isinstance(part, int | slice) or (marks.ids.shape[axis] > 1 and part != slice(None)):
                self.refuse("it takes a part of the channels")
                return None
            picked.append(0 if isinstance(part, int) else slice(None))
            axis += 1
        return marks.map(lambda part: part[tuple(picked)])


def operands_in(value: Any) -> list[Operand]:
    """All operands in nested arguments."""
    if isinstance(value, Operand):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [operand for part in value for operand in operands_in(part)]
    return []


def reshaped(marks: Marks, shape: Sequence[int], new: Sequence[int]) -> Marks:
    """Marks of a value of `shape` after it was given the shape `new`."""
    assert math.prod(shape) == math.prod(new)
    return marks.map(lambda part: np.broadcast_to(part, tuple(shape)).reshape(tuple(new)))


def _lifted(marks: Marks | None, rank: int) -> tuple[Ints, Ints]:
    """Marks with axes of size 1 in front, as broadcasting does."""
    assert marks is not None
    shape = (1,) * (rank - marks.ids.ndim) + marks.ids.shape
    return marks.ids.reshape(shape), marks.sources.reshape(shape)
