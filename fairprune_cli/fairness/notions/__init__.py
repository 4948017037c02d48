"""Fairness notions; each module builds one for a number of classes. Listing them loads neither numpy nor torch."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairprune_cli.core import plugins as registry
from fairprune_cli.core.errors import nearest

if TYPE_CHECKING:
    from fairprune_cli.fairness.notions.base import Notion


def names() -> list[str]:
    return registry.names(__name__)


def get(name: str, classes: int) -> Notion:
    """The notion `name` for `classes` classes.

    Raises:
        FairpruneError: no such notion.
    """
    notion: Notion = registry.find(__name__, name, "notion").build(classes)
    return notion


def why_unknown(name: str) -> str:
    """The nearest known name where there is no notion of this one, else "".

    A notion of one's own (package.module:Class) is not looked up before it is used: `get` says what is wrong with it.
    """
    return "" if ":" in name or name in (known := names()) else nearest(name, known)


def heading(name: str) -> tuple[str, int]:
    """What a report calls the gap of a notion, and where its row stands: TITLE and ORDER of its module.

    They are read without importing it, since reports are rendered without numpy. Without them, or for a notion of one's
    own, it is the name, and 100: after the others.
    """
    found: dict[str, Any] = {}
    spec = find_spec(f"{__name__}.{name.replace('-', '_')}") if name in names() else None
    if spec is not None and spec.origin is not None:
        for node in ast.parse(Path(spec.origin).read_text("utf-8")).body:
            if isinstance(node, ast.Assign):
                found |= _constants(node)
    in_words = name.replace("-", " ").replace("_", " ").capitalize()
    return str(found.get("TITLE") or in_words), int(found.get("ORDER", 100))


def _constants(node: ast.Assign) -> dict[str, Any]:
    """Values by name of an assignment of constants: of one, or of several to a tuple of names."""
    try:
        value = ast.literal_eval(node.value)
    except ValueError:
        return {}
    target = node.targets[0]
    names, values = (target.elts, value) if isinstance(target, ast.Tuple) else ([target], (value,))
    return {name.id: of for name, of in zip(names, values, strict=False) if isinstance(name, ast.Name)}


__all__ = ["Notion", "get", "heading", "names", "why_unknown"]
