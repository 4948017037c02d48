"""Sees a network run: every function that its code calls passes marks on, whatever way the code goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import StochasticDepth

from fairprune_cli.models.architectures.attention import SelfAttention
from fairprune_cli.pruning.channels import function_rules, norm_rules, product_rules, shape_rules, weight_rules
from fairprune_cli.pruning.channels.calls import Call, Held, Operand, Result, Weight, operands_in
from fairprune_cli.pruning.channels.marks import Ledger
from fairprune_cli.pruning.channels.sizes import Number, Place, Sizes, caller, numbers_in, without_numbers
from fairprune_cli.pruning.channels.spaces import OUTPUTS

SILENT = frozenset({
    "dim", "ndim", "ndimension", "dtype", "device", "layout", "requires_grad", "is_floating_point", "is_complex",
    "is_contiguous", "is_cuda", "is_meta", "is_leaf", "is_nested", "is_sparse", "is_quantized", "is_mps", "grad_fn",
    "get_device", "repr", "format", "str", "names", "itemsize", "element_size", "assert", "assert_async", "grad",
    "is_inference", "is_same_size", "is_conj", "is_neg", "is_tensor", "storage_offset", "has_names", "hash", "id",
    "is_signed", "is_mkldnn", "type", "retain_grad", "register_hook", "volatile", "output_nr", "version",
    "result_type", "can_cast", "is_vulkan", "is_xpu", "is_cpu", "is_ipu", "is_xla", "is_ort", "is_mtia", "is_maia",
    "is_sparse_csr", "dir", "reduce_ex", "setattr",
})  # fmt: skip
SIZES = frozenset({"shape", "size", "numel", "nelement", "len"})
# Layers whose own code looks at their declared widths, which follow a removal.
DECLARED = (
    nn.modules.conv._ConvNd, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm,
)  # fmt: skip
_NORMS = (nn.modules.instancenorm._InstanceNorm,)
_TAG = "_fairprune_channels"


class Decides(BaseException):
    """The code of this module goes one way or another by the values of the image."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module


class _Again(TorchDispatchMode):
    """Operators that compiled code calls come back as functions, so that none passes unseen."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Observer(TorchFunctionMode):
    """Sees every function that is called on a tensor, and the layers around it.

    Args:
        model: in eval or in train mode.
        ledger: where everything is written down.
        opaque: modules that are one operation that nobody understands.
        plain: places of the code which, when they ask for a number of channels, have to be given a plain one.
    """

    def __init__(
        self, model: nn.Module, ledger: Ledger, opaque: frozenset[str], plain: frozenset[Place] = frozenset()
    ) -> None:
        super().__init__()
        self.ledger, self.opaque, self.plain = ledger, opaque, plain
        self.places: set[Place] = set()
        tensors = (*reversed(list(model.named_buffers())), *model.named_parameters())
        self.names = {id(tensor): name for name, tensor in tensors}
        self.parameters = {id(parameter) for parameter in model.parameters()}
        self.layers = {id(module): name for name, module in model.named_modules()}
        self.stack: list[tuple[str, nn.Module]] = [("", model)]
        self.visited: set[str] = set()
        self.last, self.inside = "", False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, _name(func)
        if self.inside:
            return func(*args, **kwargs)
        frame = caller()
        self.ledger.passed_on(frame.f_code, frame.f_lasti)
        tensors = [value for value in _tensors((args, kwargs)) if self._follows(value)]
        if not tensors and not numbers_in((args, kwargs)):
            return func(*args, **kwargs)
        if name in SIZES and tensors:
            return self._size(name, args, kwargs, (frame.f_code, frame.f_lineno))
        self.ledger.at = self._where(name)
        given = self._operands(args), self._operands(kwargs)
        result = func(*without_numbers(args), **without_numbers(kwargs))
        if name in SILENT and next(_tensors(result), None) is None:
            return result
        self._passed_on(name, tensors, given, result)
        return result

    def _passed_on(self, name: str, tensors: list[Tensor], given: tuple[Any, Any], result: Any) -> None:
        """Write down what a function did, and give what came of it its marks."""
        results = [result] if isinstance(result, Tensor) else [*_tensors(result)]
        constant = all(value.constant for value in map(self._operand, tensors) if isinstance(value, Operand))
        call = self._call(name, *given, results)
        if not results:
            # A number, or nothing: what was written into a value, or what the code goes by.
            call.refuse(f"{name} is not understood")
            if result is not None and not constant:
                raise Decides(self.stack[-1][0])
            return
        weights = weight_rules.weights_after(call)
        self._tag(results, function_rules.marks_after(call) if weights is None else weights, constant)

    def _call(self, name: str, args: Any, kwargs: Any, results: list[Tensor]) -> Call:
        layer = self.stack[-1]
        own = {self.names.get(id(tensor)) for tensor in layer[1]._parameters.values()} - {None}
        weights = [one.name for one in operands_in((args, kwargs)) if isinstance(one, Weight)]
        declares = isinstance(layer[1], DECLARED) and not own.isdisjoint(weights)
        shapes = tuple(tuple(value.shape) for value in results) or ((),)
        return Call(self.ledger, name, self._where(name), layer, args, kwargs, shapes, declares)

    def _tag(self, results: list[Tensor], found: Result | list[Weight | None], constant: bool) -> None:
        marks = found if isinstance(found, list) else [found, *[None] * (len(results) - 1)]
        for value, one in zip(results, marks, strict=True):
            setattr(value, _TAG, (self.ledger, one, constant))

    def _follows(self, value: Tensor) -> bool:
        return hasattr(value, _TAG) or id(value) in self.names

    def _operand(self, value: Tensor) -> Operand | Weight:
        shape = tuple(value.shape)
        if id(value) in self.names:
            return Weight(shape, self.names[id(value)], tuple(range(len(shape))), id(value) in self.parameters)
        ledger, marks, constant = getattr(value, _TAG, (None, None, True))
        if ledger is not self.ledger:  # the network has kept it from another walk
            return Operand(shape, None, constant=True)
        if isinstance(marks, Held):
            self.ledger.fix(marks.ids, marks.why)
            marks = None
        return marks if isinstance(marks, Weight) else Operand(shape, marks, constant)

    def _operands(self, value: Any) -> Any:
        """Nested arguments with an operand in place of each tensor; the same one for the same."""
        if isinstance(value, Tensor):
            return self._operand(value)
        if isinstance(value, dict):
            return {key: self._operands(part) for key, part in value.items()}
        if isinstance(value, tuple | list):
            return tuple(self._operands(part) for part in value)
        return value

    def _size(self, name: str, args: Any, kwargs: Any, place: Place) -> Any:
        value, dim = args[0], kwargs.get("dim", args[1] if len(args) > 1 else None)
        operand = self._operand(value)
        shape = Sizes(shape_rules.sizes_of(self.ledger, operand, frozenset({place})))
        if numbers_in(shape):
            self.places.add(place)
        if place in self.plain:
            shape = Sizes(size.plain() if isinstance(size, Number) else size for size in shape)
        if name == "len":
            return operand.shape[0] if not isinstance(shape[0], Number) else shape[0].plain()
        if name in ("numel", "nelement"):
            return shape.numel()
        if dim is not None:
            return shape[without_numbers(dim)]
        return shape if numbers_in(shape) else value.shape

    def _where(self, name: str) -> str:
        """The module whose code the function stands in; a layer of torch's is known by its name alone."""
        inside, module = self.stack[-1]
        if str(type(module).forward.__module__).startswith("torch.nn.") and inside:
            return inside
        return f"{inside} ({name})" if inside else name

    # --- layers ---------------------------------------------------------------------------------------------

    def layer(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A module is called, by `forward`."""
        if self.inside:
            return forward(module, *args, **kwargs)
        name = self.layers.get(id(module), self.stack[-1][0])
        self.stack.append((name, module))
        self.visited.add(name)
        self.last, self.ledger.at = name, name
        try:
            if isinstance(module, StochasticDepth):
                return args[0] if args else kwargs["input"]
            whole = name in self.opaque or type(module) is SelfAttention or isinstance(module, _NORMS)
            return self._leaf(module, forward, args, kwargs) if whole else forward(module, *args, **kwargs)
        finally:
            self.stack.pop()

    def _leaf(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A layer that is one operation."""
        self.inside = True
        try:
            result = forward(module, *without_numbers(args), **without_numbers(kwargs))
            results = list(_tensors(result))
            self._tag(results, self._leaf_rule(module, self._operands(args), self._operands(kwargs), results), False)
        finally:
            self.inside = False
        return result

    def _leaf_rule(self, module: nn.Module, args: Any, kwargs: Any, results: list[Tensor]) -> Result:
        tensors = {leaf: self._operand(tensor) for leaf, tensor in own_tensors(module)}
        known = not (module._forward_hooks or module._forward_pre_hooks) and self.stack[-1][0] not in self.opaque
        if known and isinstance(module, _NORMS) and not kwargs:
            stats: list[Any] = [None, None]
            if module.track_running_stats and not module.training:
                stats = [tensors.get("running_mean"), tensors.get("running_var")]
            affine = [tensors.get("weight"), tensors.get("bias")]
            return norm_rules.norm_per_channel(self._call("instance_norm", (*args, *stats, *affine), {}, results))
        if known and isinstance(module, SelfAttention):
            out = {f"out_{leaf}": self._operand(tensor) for leaf, tensor in own_tensors(module.out_proj)}
            return product_rules.attention(self._call("attention", args, {**kwargs, **tensors, **out}, results))
        why = f"{self.stack[-1][0]} ({type(module).__name__}) is not understood"
        inside = [self._operand(tensor) for tensor in (*module.parameters(), *module.buffers())]
        for operand in operands_in((args, kwargs, inside)):
            if isinstance(operand, Weight):
                operand.fix(self.ledger, why)
            elif operand.marks is not None:
                self.ledger.fix(operand.marks.ids, why)
        for number in numbers_in((args, kwargs)):
            number.plain(why)
        return None

    def run(self, model: nn.Module, images: Tensor) -> None:
        """Walk through a network that is in the wanted mode."""
        images = images.clone()
        setattr(images, _TAG, (self.ledger, None, False))
        try:
            with torch.no_grad(), _seen_by(self), _Again(), self:
                result = model.forward(images)
        finally:
            self.ledger.settle()
        self._outputs(result)

    def _outputs(self, value: Any) -> None:
        """What the network gives stays."""
        for tensor in _tensors(value):
            operand = self._operand(tensor)
            if isinstance(operand, Weight):
                operand.fix(self.ledger, OUTPUTS)
            elif operand.marks is not None:
                self.ledger.fix(operand.marks.ids, OUTPUTS)


def own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for leaf, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None:
            yield leaf, tensor


def _name(func: Any) -> str:
    name = str(getattr(func, "__name__", func))
    if name == "__get__":
        return str(getattr(func.__self__, "__name__", name))
    return name.split(".")[0].strip("_")


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested values."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
    elif hasattr(value, "__dict__") and not isinstance(value, nn.Module | type) and not callable(value):
        for part in vars(value).values():
            if isinstance(part, Tensor | tuple | list | dict):
                yield from _tensors(part)


@contextlib.contextmanager
def _seen_by(walk: Observer) -> Iterator[None]:
    """All modules are called through the walk."""
    before = nn.Module.__call__

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return walk.layer(module, before, args, kwargs)

    nn.Module.__call__ = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__call__ = before  # type: ignore[method-assign]
