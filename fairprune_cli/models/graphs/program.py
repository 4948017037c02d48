"""A program of torch.export, run operator by operator from its description, which is data.

`torch.export.load` is not used: it evaluates the text of shapes and guards, makes source code of names, looks up any
function of torch by name and unpickles objects, so that a file could run what it likes. Here the operators are torch's
own ATen ones, shapes are those of the tensors at hand, and what is anything else is refused.
"""

from __future__ import annotations

import functools
import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError, said_by
from fairprune_cli.models.graphs.network import GraphInput, GraphNetwork
from fairprune_cli.models.graphs.program_sizes import ProgramBudget, refuse_large_results
from fairprune_cli.models.graphs.program_values import (
    SCALAR_TYPES,
    Inside,
    OnDevice,
    Ref,
    Refused,
    output_of,
    value_of,
    values_named_in,
)
from fairprune_cli.models.read_out import Key

Hold = Callable[[Iterable[Any]], None]
_ATEN = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)", re.ASCII)
_REFUSED = ("from_file", "as_strided_scatter", "set_", "resize_")  # files of any name, and memory of any place
# Of the operators that torch keeps to itself, some of which trust their arguments: those that exports are made of.
_OWN = frozenset((
    "_softmax", "_log_softmax", "_to_copy", "_native_batch_norm_legit_no_training", "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d", "_unsafe_view", "_scaled_dot_product_flash_attention_for_cpu", "_convolution",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_flash_attention", "_upsample_nearest_exact2d",
    "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_prelu_kernel", "_local_scalar_dense", "_weight_norm",
    "_weight_norm_interface", "_fft_r2c", "_fft_c2r", "_fft_c2c", "_conj", "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd",
))  # fmt: skip
_GRADIENTS = "torch.ops.higher_order.wrap_with_set_grad_enabled"
# Arithmetic of sizes.
_OF_NUMBERS: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in (
        "add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_",
        "not_", "getitem",
    )},
    "math.ceil": math.ceil, "math.floor": math.floor, "math.trunc": math.trunc, "torch.sym_max": torch.sym_max,
    "torch.sym_min": torch.sym_min, "torch.sym_not": torch.sym_not, "torch.sym_float": torch.sym_float,
    "torch.sym_int": torch.sym_int,
}  # fmt: skip
# Operators that move numbers and leave them what they are.
_MOVES = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "to", "_to_copy", "clone", "contiguous", "alias")
_UNDONE = {"softmax": "log", "_softmax": "log", "sigmoid": "logit"}
HINT = "export it again after model.eval(), with operators of torch alone, or audit its predictions with --predictions"


@dataclass(frozen=True)
class _Step:
    """One operator.

    Attributes:
        args, kwargs: values, with `Ref` where they are computed.
        outputs: names; a tuple of them where an output is a list of tensors, None where there is nothing.
        spent: names that no later step uses.
    """

    run: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[str | tuple[str, ...] | None, ...]
    spent: tuple[str, ...]


class ProgramNetwork(GraphNetwork):
    """A program as a network; its parameters and buffers are the network's own."""

    kind = "pt2"

    def __init__(self, where: str, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Prepare the steps.

        Args:
            where: the file, for messages.
            document: the program as torch.export wrote it as JSON.
            tensors: parameters, buffers and constants, by their names.

        Raises:
            FairpruneError: it takes something else than images, was exported in training mode, or has operators that
                are not torch's own.
            KeyError, TypeError, ValueError: the document contradicts itself.
        """
        module = document["graph_module"]
        graph, signature = module["graph"], module["signature"]
        bound, images = _bound(signature["input_specs"], where)
        meta = graph["tensor_values"][images]
        sizes = [size.get("as_int") for size in meta["sizes"]]
        kind = SCALAR_TYPES.get(meta["dtype"])
        super().__init__(where, GraphInput.of(images, str(kind).removeprefix("torch."), sizes, where))
        self._budget = ProgramBudget()
        self._images, self._stores = images, {name: key.replace(".", "/") for name, key in bound.items()}
        for name, key in bound.items():
            self._store(self._stores[name], tensors[key], name.startswith("p_"))
        given = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
        names = [arg["as_tensor"]["name"] if "as_tensor" in arg else None for arg in given]
        keys = _keys(module["module_call_graph"], len(names))
        self._outputs = {key: name for key, name in zip(keys, names, strict=True) if name is not None}
        try:
            self._steps = _steps(graph, set(self._outputs.values()))
        except Refused as refusal:
            raise FairpruneError(str(refusal), where=where, hint=HINT) from None
        self.undoes = {key: _ends_with(graph["nodes"], name) for key, name in self._outputs.items()}

    def _store(self, key: str, tensor: Tensor, trained: bool) -> None:
        if key in self._parameters or key in self._buffers:
            return  # tied
        if trained and tensor.is_floating_point():
            self.register_parameter(key, nn.Parameter(tensor, requires_grad=False))
        else:
            self.register_buffer(key, tensor)

    def run(self, images: Tensor) -> dict[Key, Tensor]:
        """As `GraphNetwork.run`."""
        held: dict[str, Any] = {name: getattr(self, key) for name, key in self._stores.items()}
        held[self._images] = images.clone()  # the program may change what it is given
        self._budget.begin(len(images))
        hold = functools.partial(self._budget.hold, where=self.where)
        _run(self._steps, held, self.place.device, len(images), hold)  # type: ignore[arg-type]
        self._budget.end()
        return {key: held[name] for key, name in self._outputs.items()}


def _bound(specs: Sequence[Mapping[str, Any]], where: str) -> tuple[dict[str, str], str]:
    """Names in the graph with those of the tensors that they stand for, and the name of the images."""
    bound: dict[str, str] = {}
    given: list[str] = []
    for spec in specs:
        ((kind, told),) = spec.items()
        if kind == "user_input" and "as_tensor" in told["arg"]:
            given.append(told["arg"]["as_tensor"]["name"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            bound[told["arg"]["name"]] = told[f"{kind}_name"]
        elif kind not in ("user_input", "constant_input") or kind == "token":
            raise FairpruneError(f"the program takes a {kind[:40]}, which is not run", where=where, hint=HINT)
    if len(given) != 1:
        raise FairpruneError(f"the program takes {len(given)} tensors, and images are one", where=where,
                             hint="export the network with the other inputs fixed")  # fmt: skip
    return bound, given[0]


def _keys(calls: Sequence[Mapping[str, Any]], count: int) -> list[Key]:
    """What the outputs are called: None for one alone, the keys of a dict, else positions."""
    whole = json.loads(next(call["signature"]["out_spec"] for call in calls if call["fqn"] == ""))[1]
    if whole["type"] is None and count == 1:
        return [None]
    context = json.loads(whole["context"] or "null")
    leaves = all(child["type"] is None for child in whole["children_spec"])
    if (
        isinstance(context, list)
        and len(context) == count
        and leaves
        and all(isinstance(k, str | int) for k in context)
    ):
        return list(context)
    return list(range(count))


def _steps(graph: Mapping[str, Any], wanted: set[str | None]) -> list[_Step]:
    """The operators in their order; `wanted` are kept to the end.

    Raises:
        Refused: one of them is none of torch's own, or behaves as in training.
    """
    nodes = [node for node in graph["nodes"] if not node["target"].startswith("torch.ops.aten._assert")]
    used = [set(values_named_in(node["inputs"])) for node in nodes]
    seen: set[str] = {str(name) for name in wanted}
    steps: list[_Step] = []
    for node, names in zip(reversed(nodes), reversed(used), strict=True):
        spent = tuple(names - seen)
        seen |= names
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for given in node["inputs"]:
            if given["name"] in ("training", "train") and given["arg"].get("as_bool"):
                raise Refused("the program was exported in training mode, in which images of a batch see each other")
            value = value_of(given["arg"])
            value = _inside(value.graph) if isinstance(value, Inside) else value
            if given.get("kind") == 2 or (given.get("kind") is None and kwargs):
                kwargs[given["name"]] = value
            else:
                args.append(value)
        outputs = tuple(output_of(arg) for arg in node["outputs"])
        steps.append(_Step(_operator(node["target"], args), tuple(args), kwargs, outputs, spent))
    return steps[::-1]


def _inside(graph: Mapping[str, Any]) -> tuple[list[_Step], list[str], list[str]]:
    """The steps of a graph within the graph, the names of its inputs and those of its outputs."""
    inputs, outputs = ([arg["as_tensor"]["name"] for arg in graph[end]] for end in ("inputs", "outputs"))
    return _steps(graph, set(outputs)), inputs, outputs


def _operator(target: str, args: list[Any]) -> Callable[..., Any]:
    if target in _OF_NUMBERS:
        return _OF_NUMBERS[target]
    if target == _GRADIENTS:  # a part of the network under torch.no_grad()
        del args[0]
        return _part
    match = _ATEN.fullmatch(target)
    name = "" if match is None or match[1] in _REFUSED else match[1]
    found = getattr(getattr(torch.ops.aten, name, None), match[2], None) if match and name else None
    if (name.startswith("_") and not name.startswith("__") and name not in _OWN) or not _is_operator(found):
        raise Refused(f"the program has the operator {target[:80]!r}, which is none of torch's own that are run")
    assert callable(found)
    return found


def _is_operator(found: object) -> bool:
    """Whether it is one that torch's dispatcher runs; those of TorchScript alone, as `aten::save`, write files."""
    if not isinstance(found, torch._ops.OpOverload):  # noqa: SLF001
        return False
    return bool(torch._C._dispatch_has_kernel(found.name()))  # noqa: SLF001


def _part(steps: tuple[Sequence[_Step], Sequence[str], Sequence[str]], *given: Any, images: int, hold: Hold) -> Any:
    """A graph within the graph."""
    inside, inputs, outputs = steps
    held = dict(zip(inputs, given, strict=True))
    device = next((one.device for one in given if isinstance(one, Tensor)), torch.device("cpu"))
    _run(inside, held, device, images, hold)
    return tuple(held[name] for name in outputs)


def _run(
    steps: Sequence[_Step], held: dict[str, Any], device: torch.device, images: int, hold: Hold
) -> None:  # fmt: skip
    """Run the steps for so many images; `held` has the inputs and gets the outputs, `hold` is told of it."""

    def at(value: Any) -> Any:
        if isinstance(value, Ref):
            return held[value.name]
        if isinstance(value, list):
            return [at(one) for one in value]
        return device if isinstance(value, OnDevice) else value

    given = set(held)
    for step in steps:
        try:
            args, kwargs = [at(value) for value in step.args], {name: at(value) for name, value in step.kwargs.items()}
            if step.run is _part:
                kwargs |= {"images": images, "hold": hold}
            else:
                refuse_large_results(step.run, args, kwargs, images)
            found = step.run(*args, **kwargs)
        except (TypeError, KeyError, IndexError) as error:
            raise RuntimeError(f"a step of the program fails: {said_by(error)}") from error
        for name in step.spent:
            held.pop(name, None)
        several = len(step.outputs) > 1 or (step.run is _part)
        for output, value in zip(step.outputs, found if several else (found,), strict=False):
            if isinstance(output, tuple):
                held.update(zip(output, value, strict=True))
            elif output is not None:
                held[output] = value
        hold(value for name, value in held.items() if name not in given)


def _ends_with(nodes: Sequence[Mapping[str, Any]], output: str) -> str:
    """What undoes the operation that makes an output: "log", "logit" or ""."""
    makers = {output_of(arg): node for node in nodes for arg in node["outputs"]}
    while (node := makers.get(output)) is not None:
        name = node["target"].removeprefix("torch.ops.aten.").partition(".")[0]
        if name not in _MOVES:
            return _UNDONE.get(name, "")
        output = node["inputs"][0]["arg"]["as_tensor"]["name"]
    return ""
