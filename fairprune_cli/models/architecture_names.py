"""The names of architectures, read from the files that define them: no network is built, and torch is not imported."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.core.plugins import ARCHITECTURE, is_import_path, is_pickled_network

TIMM = "timm/"  # what names of the library timm begin with
_TABLE = "ARCHITECTURES"
_REGISTERED = re.compile(r'@register_model\((?:name=)?(?:"(\w+)")?\).*?\ndef (\w+)\(', re.DOTALL)


def refuse_unknown(name: str) -> None:
    """Refuse an architecture that no file defines, where all of them can be read so; else `build` decides.

    Raises:
        FairpruneError: there is none of that name, nor does it mean the user's own code.
    """
    if is_import_path(name) or is_pickled_network(name) or name.startswith(TIMM):
        return
    supported = supported_names()
    if supported is None or name in supported:
        return
    others = registered_names()
    if not others or name in others:
        return
    hint = nearest(name, [*supported, *others])
    if hint.startswith("known"):
        listed = ", ".join(supported)
        hint = f"supported: {listed}; torchvision's other classifiers; timm/NAME; or package.module:factory"
    raise FairpruneError(f"there is no architecture {name!r}", where="--arch", hint=hint)


def supported_names() -> list[str] | None:
    """The names in the tables of the families; None where one of them is not written out."""
    found: list[str] = []
    for family in ARCHITECTURE.names():
        names = _keys(family)
        if names is None:
            return None
        found += names
    return found


def registered_names() -> list[str]:
    """The classifiers that the installed torchvision registers; none where it registers them in another way."""
    spec = importlib.util.find_spec("torchvision")
    places = (spec and spec.submodule_search_locations) or ()
    files = [file for place in places for file in sorted(Path(place, "models").glob("*.py"))]
    return [given or name for file in files for given, name in _REGISTERED.findall(file.read_text("utf-8"))]


def _keys(family: str) -> list[str] | None:
    try:
        tree = ast.parse(ARCHITECTURE.source(family))
    except (OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == _TABLE:
                return _keys_of(node.value, ARCHITECTURE.constants(family))
    return None


def _keys_of(table: ast.expr | None, constants: dict[str, object]) -> list[str] | None:
    """Keys of a dict that is written out, or made of a tuple of names that is."""
    if isinstance(table, ast.Dict):
        keys = [key.value for key in table.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
        return keys if len(keys) == len(table.keys) else None
    if isinstance(table, ast.DictComp) and len(table.generators) == 1:
        each = table.generators[0]
        plain = isinstance(table.key, ast.Name) and isinstance(each.target, ast.Name) and table.key.id == each.target.id
        names = constants.get(each.iter.id) if isinstance(each.iter, ast.Name) else None
        if plain and not each.ifs and isinstance(names, tuple) and all(isinstance(name, str) for name in names):
            return list(names)
    return None
