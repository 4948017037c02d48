"""Pruning methods; each module has a class `Method` and is found by the listing of this folder."""

from __future__ import annotations

from fairprune_cli.core import plugins as registry
from fairprune_cli.pruning.methods.base import Dual, Method
from fairprune_cli.pruning.options import MethodOptions


def names() -> list[str]:
    return registry.names(__name__)


def get(name: str) -> type[Method]:
    """The class of the method `name`.

    Raises:
        FairpruneError: no such method.
    """
    method: type[Method] = registry.find(__name__, name, "method").Method
    return method


__all__ = ["Dual", "Method", "MethodOptions", "get", "names"]
