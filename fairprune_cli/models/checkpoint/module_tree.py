"""A network as its modules and their settings: of a record in a pickle, or of a real one; both are seen alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from fairprune_cli.models.checkpoint.inert import Global, Inert
from fairprune_cli.models.checkpoint.weight_tables import child_records

Plain = bool | int | float | str | tuple[Any, ...] | None


@dataclass(frozen=True)
class ModuleNode:
    """One module.

    Attributes:
        origin: where its class is defined, `package.module.Class`.
        settings: its attributes that are numbers, texts, None or tuples of these, by name.
        children: its submodules in their order.
        hooks: what was hooked into its forward, in words.
        forward: whether its forward was replaced on this very object.
        ordered: whether it calls its children in their order; of a record this is not known.
    """

    origin: str
    settings: Mapping[str, Plain]
    children: Mapping[str, ModuleNode]
    hooks: tuple[str, ...] = ()
    forward: bool = False
    ordered: bool = False

    @property
    def kind(self) -> str:
        """The name of its class."""
        return self.origin.rpartition(".")[2]


def module_tree(module: Inert | nn.Module) -> ModuleNode:
    """The network as nodes; what a record lacks, as of an older version, is absent from them."""
    if isinstance(module, Inert):
        return _of_record(module)
    return _of_module(module)


def _of_module(module: nn.Module) -> ModuleNode:
    kind = type(module)
    # Not `named_children`, which names a module once that stands in two places.
    inner = vars(module)["_modules"]
    children = {name: _of_module(child) for name, child in inner.items() if child is not None}
    node = _node(f"{kind.__module__}.{kind.__qualname__}", vars(module), children)
    return replace(node, ordered=isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict))


def _of_record(record: Inert) -> ModuleNode:
    # How deep they may be nested was limited when the weights were gathered.
    children = {name: _of_record(child) for name, child in child_records(record).items()}
    return _node(str(_class_of(record)), record.state, children)


def _class_of(record: Inert) -> Global:
    """Objects of protocol 0 and 1 are made by a function of which the class is an argument."""
    first = record.args[0] if record.args else None
    rebuilt = record.origin.name in ("_reconstructor", "__newobj__", "__newobj_ex__")
    return first if rebuilt and isinstance(first, Global) else record.origin


def _node(origin: str, state: Mapping[str, Any], children: Mapping[str, ModuleNode]) -> ModuleNode:
    settings = {
        name: value
        for name, found in state.items()
        if isinstance(name, str) and not name.startswith("_") and _is_plain(value := _tuple(found))
    }
    hooks = [
        _named(hook)
        for key in ("_forward_pre_hooks", "_forward_hooks")
        if isinstance(table := state.get(key), Mapping)
        for hook in table.values()
    ]
    return ModuleNode(origin, settings, children, tuple(hooks), "forward" in state)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) and len(value) <= 8 else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) <= 8 and all(type(part) in (bool, int, float, str, type(None)) for part in value)
    return value is None or type(value) in (bool, int, float, str)


def _named(hook: Any) -> str:
    """The class or function of a hook."""
    if isinstance(hook, Inert):
        return str(_class_of(hook))
    if isinstance(hook, Global):
        return str(hook)
    named = hook if hasattr(hook, "__qualname__") else type(hook)
    return f"{named.__module__}.{named.__qualname__}"
