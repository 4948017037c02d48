"""Every table of weights in a checkpoint, whatever it is wrapped in, and which of them is meant.

A checkpoint is a tree of dicts, lists and objects. A table is a dict of tensors by name, or a whole pickled network.
The optimiser's tensors, gradients and metrics are never taken for weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.architectures import words_of_key
from fairprune_cli.models.checkpoint.inert import Inert, TensorRef, printable
from fairprune_cli.models.checkpoint.numpy_arrays import tensor_of_array
from fairprune_cli.models.checkpoint.wrappers import COMPILED

WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "module", "ema")
"""Names under which a checkpoint keeps its weights, in the order in which they are looked for."""

_MAX_DEPTH = 64
_MAX_MODULES = 100_000
_MAX_NODES = 20_000  # containers that are looked into
_DEEPEST = 8
Weights = dict[str, TensorRef | Tensor]

_AVERAGED = frozenset(("ema", "swa", "averaged", "shadow", "polyak", "modelema", "emamodel"))
_TEACHER = frozenset(("teacher",))
_NEVER = frozenset((
    "optimizer", "optimizers", "optimiser", "optim", "opt", "scheduler", "schedulers", "scaler", "grad", "grads",
    "gradient", "gradients", "fisher", "momentum", "callbacks", "loops", "rng",
))  # fmt: skip
_HARDLY = frozenset(("sched", "amp", "hyper", "criterion", "loss", "losses", "metric", "metrics", "exp"))
_CERTAINLY = frozenset(("model", "weights", "net", "network"))
_PARAMETER = re.compile(r"(^|\.)(weight|bias|running_mean|running_var|weight_orig|weight_g|weight_v|original\d?)$")


@dataclass(frozen=True)
class WeightTable:
    """Tensors by name, and where in the file they stand.

    Attributes:
        path: keys that lead to it.
        weights: tensors or references to them, by their names in the file.
        module: the network, where it is a whole one: a record of it, or itself in a trusted file.
    """

    path: tuple[str, ...]
    weights: Weights
    module: Inert | nn.Module | None = None

    @property
    def averaged(self) -> bool:
        """Whether it holds an average of the weights over the training (EMA, SWA)."""
        return is_averaged(self.path) or "n_averaged" in self.weights

    @property
    def name(self) -> str:
        return printable(".".join(self.path), 80)

    @property
    def score(self) -> int:
        """How many of its names are those of layers' tensors."""
        return sum(_PARAMETER.search(name) is not None for name in self.weights)


def is_averaged(path: Sequence[str]) -> bool:
    """Whether a key on the way says that what is below is an average."""
    return any(words_of_key(key) & _AVERAGED for key in path)


def is_teacher(path: Sequence[str]) -> bool:
    """Whether a key on the way says that what is below taught the network that is meant."""
    return any(words_of_key(key) & _TEACHER for key in path)


def find_table(root: Any, weights: str | None = None) -> tuple[WeightTable, list[str]]:
    """The table of weights that is meant, and a sentence for what had to be chosen.

    Args:
        root: what the file holds, as `read_pickle` gives it or with real tensors.
        weights: `raw` or `ema`, or the key under which the file keeps them; None takes the raw ones where there are
            both. What no table answers may still be answered by a prefix of the names in it.

    Raises:
        FairpruneError: there are no weights in it, or several and no way to tell which are meant.
    """
    tables = list(_tables(root))
    likely = [table for table in tables if table.score] or sorted(tables, key=lambda t: -len(t.weights))[:1]
    if not likely:
        raise FairpruneError(f"it holds no weights of a network, but {_describe(root)}", hint=_wrapper_hint())
    likely = _lightning_averages(likely)
    raw = [table for table in likely if not table.averaged]
    averages = [table for table in likely if table.averaged]
    asked = [t for t in likely if weights is not None and (t.name == weights or weights in t.path[-1:])]
    if asked:
        wanted = asked
    elif weights == "ema":
        wanted = averages or raw
    else:
        wanted = raw or averages
    table = _preferred(wanted)
    others = [other for other in likely if other is not table]
    notes = []
    if table.averaged and table.path:
        notes.append(f"the averaged weights (EMA) under {table.name!r} are used")
        table = _completed(table, raw, notes)
    elif others:
        notes.append(f"the weights under {table.name or 'the top'!r} are used")
    if others:
        names = ", ".join(sorted(repr(other.name) for other in others)[:4])
        notes[0] += f"; the file also holds {names} (--weights chooses)"
    return table, notes


def _lightning_averages(tables: list[WeightTable]) -> list[WeightTable]:
    """Lightning's averaging callback keeps the average as `state_dict`, and the raw weights as below."""
    if not any(table.path == ("current_model_state",) for table in tables):
        return tables
    return [replace(t, path=("state_dict", "averaged")) if t.path == ("state_dict",) else t for t in tables]


def _preferred(tables: list[WeightTable]) -> WeightTable:
    """The one under the usual names; else the largest, which must be one alone of its names."""
    students = [table for table in tables if not is_teacher(table.path)]
    tables = students or tables
    usual = [table for table in tables if table.path and all(k in WRAPPERS or k == "averaged" for k in table.path)]
    if usual:
        return min(usual, key=lambda t: [WRAPPERS.index(key) if key in WRAPPERS else 0 for key in t.path])
    largest = max(tables, key=lambda table: (table.score, not table.path))
    alike = [table.name for table in tables if table.weights.keys() == largest.weights.keys()]
    if len(alike) > 1 and largest.path:
        raise FairpruneError(
            f"it holds the weights of several networks alike: {', '.join(alike[:6])}",
            hint=f"say which with --weights, e.g. --weights {alike[0]}",
        )
    return largest


def _completed(table: WeightTable, raw: list[WeightTable], notes: list[str]) -> WeightTable:
    """Averages of parameters alone lack the buffers, which are then those of the raw weights."""
    for other in raw:
        missing = other.weights.keys() - table.weights.keys()
        if missing and table.weights.keys() < other.weights.keys():
            some = ", ".join(sorted(missing)[:2])
            notes.append(f"{len(missing)} tensors that it lacks ({some}, ...) are those under {other.name!r}")
            return WeightTable(table.path, {**other.weights, **table.weights}, None)
    return table


def _tables(root: Any) -> Iterator[WeightTable]:
    arrays: dict[int, Tensor | None] = {}
    modules = iter(range(_MAX_MODULES))  # of all networks together: they may share what is in them
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    seen: set[int] = set()
    for _ in range(_MAX_NODES):
        if not waiting:
            return
        path, node = waiting.pop()
        if id(node) in seen or _is_other(path, node):
            continue
        seen.add(id(node))
        module = node if isinstance(node, nn.Module) else module_record(node)
        if module is not None:
            weights = _module_weights(module, modules) if isinstance(module, Inert) else dict(module.state_dict())
            if weights:
                yield WeightTable(path, weights, module)
            continue
        table = _table(node)
        found = {
            key: tensor
            for key, value in table.items()
            if isinstance(key, str) and (tensor := _tensor(value, arrays)) is not None
        }
        if found:
            yield WeightTable(path, found)
        if len(path) < _DEEPEST:
            inner = [(str(key), value) for key, value in table.items() if isinstance(key, str | int)]
            if isinstance(node, list | tuple):
                inner = [(str(place), value) for place, value in enumerate(node[:64])]
            waiting += [((*path, key), v) for key, v in reversed(inner) if isinstance(v, _CONTAINERS)]


_CONTAINERS = (Mapping, Inert, list, tuple, nn.Module)


def _is_other(path: tuple[str, ...], node: Any) -> bool:
    """The state of an optimiser and the like, by its key, its class or what it is made of."""
    words = words_of_key(path[-1]) if path else set()
    if words & _NEVER or (words & _HARDLY and not words & _CERTAINLY):
        return True
    if isinstance(node, Inert) and node.origin.module.startswith("torch.optim") and "swa" not in node.origin.module:
        return True
    return isinstance(node, Mapping) and {"state", "param_groups"} <= node.keys()


def _tensor(value: Any, arrays: dict[int, Tensor | None]) -> TensorRef | Tensor | None:
    if isinstance(value, TensorRef | Tensor):
        return value
    if id(value) not in arrays:
        arrays[id(value)] = tensor_of_array(value)
    return arrays[id(value)]


def module_record(value: Any) -> Inert | None:
    """The record of a torch.nn.Module, without what torch.compile wraps it in; None for anything else."""
    if isinstance(value, Inert) and value.origin.name == COMPILED and value.args:
        value = value.args[0]
    state = value.state if isinstance(value, Inert) else None
    if isinstance(state, dict) and isinstance(state.get("_modules"), dict) and "_parameters" in state:
        return value
    return None


def child_records(record: Inert) -> dict[str, Inert]:
    """The submodules of a record of a module, by name."""
    found = {name: module_record(child) for name, child in record.state["_modules"].items() if isinstance(name, str)}
    return {name: child for name, child in found.items() if child is not None}


def _table(value: Any) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Inert):
        return value.items or (value.state if isinstance(value.state, dict) else {})
    return {}


def _module_weights(root: Inert, modules: Iterator[int]) -> Weights:
    """Parameters and persistent buffers of a pickled module tree, named as its own state dict names them.

    Args:
        modules: one is taken for each module that is looked into.
    """
    weights: Weights = {}
    waiting: list[tuple[str, Inert, int]] = [("", root, 0)]
    while waiting:
        if next(modules, None) is None:
            raise FairpruneError(f"the pickled network has more than {_MAX_MODULES} modules")
        prefix, module, depth = waiting.pop()
        state = module.state
        transient = state.get("_non_persistent_buffers_set")
        hidden = transient if isinstance(transient, set | frozenset) else frozenset()
        for kind in ("_parameters", "_buffers"):
            for name, value in _table(state.get(kind)).items():
                kept = isinstance(name, str) and not (kind == "_buffers" and name in hidden)
                if kept and isinstance(value, TensorRef | Tensor):
                    weights[f"{prefix}{name}"] = value
        children = list(child_records(module).items())
        if depth > _MAX_DEPTH or any(len(name) > 256 for name, _ in children):
            raise FairpruneError(f"the pickled network is nested more than {_MAX_DEPTH} deep or badly named")
        waiting += [(f"{prefix}{name}.", child, depth + 1) for name, child in reversed(children)]
    return weights


def _describe(root: Any) -> str:
    table = _table(root)
    if isinstance(root, Inert) and not table:
        return f"an object of {printable(root.origin, 80)}"
    if table:
        keys = ", ".join(printable(key, 30) for key in list(table)[:8])
        return f"a dict with the keys {keys}{' …' if len(table) > 8 else ''}"
    return "a tensor alone" if isinstance(root, TensorRef | Tensor) else f"an object of type {type(root).__name__}"


def _wrapper_hint() -> str:
    return f"save model.state_dict(), alone or in a dict under one of {', '.join(WRAPPERS)}"
