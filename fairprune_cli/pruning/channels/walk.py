"""The walk over a network: torch.fx records its operations, each passes marks on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torchvision.ops import StochasticDepth

from fairprune_cli.data.manifest.image_shape import Shape
from fairprune_cli.models.inference import blank_images, evaluating
from fairprune_cli.pruning.channels.function_rules import RESHAPE, SILENT, Call, operands_in, reshaped
from fairprune_cli.pruning.channels.layer_rules import LEAVES, Layer, Operand, apply_layer
from fairprune_cli.pruning.channels.marks import Ledger, Marks
from fairprune_cli.pruning.channels.resolve import resolved_coupling
from fairprune_cli.pruning.channels.spaces import OUTPUTS, Coupling


class _Tracer(fx.Tracer):
    """Records operations; a module whose own code cannot be recorded is one operation."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, LEAVES) or super().is_leaf_module(module, name)

    def call_module(self, module: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(module, StochasticDepth):
            return args[0]
        before = len(self.graph.nodes)
        try:
            return super().call_module(module, forward, args, kwargs)
        except Exception:
            # Its code decides by values, which there are none of here.
            for node in reversed(list(self.graph.nodes)[before:]):
                self.graph.erase_node(node)
            return self.create_proxy("call_module", self.path_of_module(module), args, kwargs)


class _Walk(fx.Interpreter):
    """Runs the recorded operations on an image, for the shapes, and moves marks along."""

    def __init__(self, model: nn.Module, graph: fx.Graph, ledger: Ledger) -> None:
        super().__init__(fx.GraphModule(model, graph))
        self.ledger = ledger
        self.marks: dict[fx.Node, Any] = {}
        self.names = {
            id(tensor): name for name, tensor in (*reversed(list(model.named_buffers())), *model.named_parameters())
        }
        self.layers = dict(model.named_modules())
        self.shapes: dict[fx.Node, fx.Node] = {}  # the value whose shape it is
        self.sizes: dict[fx.Node, tuple[fx.Node, int]] = {}  # the value and axis whose size it is
        self.at = ""

    def run_node(self, n: fx.Node) -> Any:
        self.at = str(n.target) if n.op == "call_module" else n.name
        result = super().run_node(n)
        self.marks[n] = self._mark(n, result)
        return result

    def _mark(self, node: fx.Node, result: Any) -> Any:
        if node.op == "output":
            for operand in self._operands(node.args):
                if operand.marks is not None:
                    self.ledger.fix(operand.marks.ids, OUTPUTS)
            return None
        if node.op == "get_attr":
            return self._free(result)
        if node.op == "placeholder":
            return None
        name = str(node.target if node.op == "call_method" else getattr(node.target, "__name__", node.target))
        if name == "getitem" and isinstance(self.marks.get(node.args[0]), tuple):  # type: ignore[arg-type]
            return self.marks[node.args[0]][node.args[1]]  # type: ignore[index]
        operands = self._operands((node.args, node.kwargs))
        if not isinstance(result, Tensor):
            self._note_size(node, name)
            pair = isinstance(result, tuple) and result and isinstance(result[0], Tensor) and result[1:] == (None,)
            if pair and node.op == "call_module":
                return self._layer(node, operands, result[0]), None
            if name not in SILENT:
                Call(self.ledger, name, self._where(node), operands, {}, ()).refuse(f"{name} is not understood")
            return None
        if node.op == "call_module":
            return self._layer(node, operands, result)
        if name in RESHAPE and operands and operands[0].marks is None:
            self._borrow_sizes(node)
        args, kwargs = self._with_operands(node.args), self._with_operands(node.kwargs)
        return Call(self.ledger, name, self._where(node), args, kwargs, tuple(result.shape)).marks()

    def _layer(self, node: fx.Node, operands: tuple[Operand, ...], result: Tensor) -> Marks | None:
        name = str(node.target)
        module = self.layers[name]
        if not operands:
            return None
        first = operands[0]
        if isinstance(module, nn.Flatten) and first.marks is not None:
            found = reshaped(first.marks, first.shape, result.shape)
            if len(found.axes) <= 1:
                return found
        return apply_layer(Layer(self.ledger, name, module, self.names), list(operands), result.dim())

    def _note_size(self, node: fx.Node, name: str) -> None:
        """Remember numbers that are the size of an axis."""
        source, more = node.args[0] if node.args else None, node.args[1:]
        if not isinstance(source, fx.Node):
            return
        if (name == "getattr" and more == ("shape",)) or (name == "size" and not more):
            self.shapes[node] = source
        elif name == "size" and isinstance(more[0], int):
            self.sizes[node] = (source, more[0])
        elif name == "getitem" and source in self.shapes and isinstance(more[0], int):
            self.sizes[node] = (self.shapes[source], more[0])

    def _borrow_sizes(self, node: fx.Node) -> None:
        """A value that cannot shrink is given the size of an axis of another: then that cannot shrink either."""
        for number in node.all_input_nodes:
            source, axis = self.sizes.get(number, (node, 0))
            marks = self.marks.get(source)
            if isinstance(marks, Marks) and marks.ids.shape[axis] > 1:
                self.ledger.fix(marks.ids, f"{self._where(node)}: a value that cannot shrink is given its width")

    def _free(self, value: Any) -> Marks | None:
        """A parameter that the network uses by itself, such as a scale per channel."""
        if not isinstance(value, Tensor) or id(value) not in self.names:
            return None
        axes = [axis for axis, size in enumerate(value.shape) if size > 1]
        if len(axes) != 1 or value.dim() < 1:
            return None
        name = self.names[id(value)]
        ids = self.ledger.slot(name, axes[0], value.shape[axes[0]])
        source = 0
        if axes[0] == 0:
            source = self.ledger.source(frozenset({self.ledger.gate(name, ids)}))
        shape = [-1 if axis == axes[0] else 1 for axis in range(value.dim())]
        return Marks(ids.reshape(shape), np.full(ids.shape, source).reshape(shape))

    def _where(self, node: fx.Node) -> str:
        """The module whose code the operation stands in."""
        stack = node.meta.get("nn_module_stack") or {}
        inside = list(stack)[-1] if stack else ""
        return f"{inside} ({node.name})" if inside else node.name

    def _with_operands(self, value: Any) -> Any:
        if isinstance(value, fx.Node):
            found = self.env[value]
            if not isinstance(found, Tensor):
                return value  # a number computed from sizes
            marks = self.marks.get(value)
            return Operand(tuple(found.shape), marks if isinstance(marks, Marks) else None)
        if isinstance(value, tuple | list):
            return tuple(self._with_operands(part) for part in value)
        if isinstance(value, dict):
            return {key: self._with_operands(part) for key, part in value.items()}
        if isinstance(value, slice):
            return slice(*(self._with_operands(part) for part in (value.start, value.stop, value.step)))
        return value

    def _operands(self, value: Any) -> tuple[Operand, ...]:
        return tuple(operands_in(self._with_operands(value)))


class WalkFailed(Exception):
    """The network cannot be walked; `at` is the layer or operation where it ended, if it was known."""

    def __init__(self, at: str, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}")
        self.at = at


def coupling(model: nn.Module, shape: Shape) -> Coupling:
    """All channels that can be removed.

    Args:
        model: left as it was.
        shape: of the images.

    Raises:
        WalkFailed: its forward cannot be recorded, or does not take such an image.
    """
    ledger = Ledger()
    with evaluating(model), torch.no_grad():
        try:
            graph = _Tracer().trace(model)
        except Exception as error:
            raise WalkFailed("", error) from error
        walk = _Walk(model, graph, ledger)
        try:
            walk.run(blank_images(model, 1, shape))
        except Exception as error:
            cause = error.__cause__ or error
            raise WalkFailed(walk.at, cause) from error
    return resolved_coupling(model, ledger, walk.names)
