"""No two modules and no two public functions or classes share a name: a reader who meets one knows which it is."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import fairprune_cli
from fairprune_cli.core import plugins
from tests.support.imports import modules

ROOT = Path(fairprune_cli.__file__).parent
PLUG_INS = {kind.package: set(kind.needs) for kind in plugins.KINDS}
# A command's module is called as the command, and its function `command`; every folder's settings are its `options`,
# and what reads its kind of file is its `load`.
COMMANDS = "fairprune_cli.commands"
SAME_EVERYWHERE = {"options", "load"}
# Its names, such as `prune`, are what others call what is called so within.
PUBLIC = "fairprune_cli"
# What every listing of plug-ins has.
LISTINGS = {"names", "get"}


def public(file: Path) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


def protocol(folder: str, file: Path) -> set[str]:
    """What may be defined anew in a module of the folder: all that its kind of plug-in can define."""
    if folder == COMMANDS:
        return {"command"}
    if folder not in PLUG_INS:
        return set()
    own = [public(other) for other in file.parent.glob("*.py") if other.name != "__init__.py"]
    return PLUG_INS[folder] | {name for name in set().union(*own) if sum(name in names for names in own) > 1}


def doubled(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: places for name, places in sorted(found.items()) if len(places) > 1}


def test_no_two_modules_share_a_name() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for name, file in modules(ROOT).items():
        folder, _, leaf = name.rpartition(".")
        if file.name != "__init__.py" and folder not in {COMMANDS, *PLUG_INS} and leaf not in SAME_EVERYWHERE:
            found[leaf].append(name)
    assert doubled(found) == {}


def test_no_two_public_functions_or_classes_share_a_name() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for name, file in modules(ROOT).items():
        folder = name.rpartition(".")[0]
        for defined in public(file) - protocol(folder, file) - LISTINGS if name != PUBLIC else ():
            found[defined].append(name)
    assert doubled(found) == {}
