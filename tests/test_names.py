"""No two modules and no two public functions or classes share a name: a reader who meets one knows which it is."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import fairprune_cli

ROOT = Path(fairprune_cli.__file__).parent
Defined = dict[str, list[str]]


def trees() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name below it; a package stands for its __init__."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def plug_in_folders(modules: dict[str, ast.Module]) -> set[str]:
    """Packages that are listed: what is handed to the listing is `__name__`, or the package's full name as a text."""
    found = set()
    for name, tree in modules.items():
        texts = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        found |= {text.partition(".")[2] for text in texts if text.partition(".")[2] in modules}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "names":
                found |= {name for given in node.args if isinstance(given, ast.Name) and given.id == "__name__"}
    return {name for name in found if (ROOT / name.replace(".", "/")).is_dir()}


def public(tree: ast.Module) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


def inside(folder: str, name: str) -> bool:
    return name.rpartition(".")[0] == folder


def protocol(folder: str, modules: dict[str, ast.Module]) -> set[str]:
    """What every plug-in of a folder defines, under the same name."""
    own = [public(tree) for name, tree in modules.items() if inside(folder, name)]
    return set.intersection(*own) if own else set()


def doubled(found: Defined) -> Defined:
    return {name: places for name, places in sorted(found.items()) if len(places) > 1}


def test_the_plug_in_folders_are_found() -> None:
    modules = trees()
    folders = plug_in_folders(modules)
    assert {"pruning.methods", "fairness.notions", "export.formats", "data.formats", "report.sections"} <= folders
    assert "build" in protocol("report.sections", modules)


def test_no_two_modules_share_a_name() -> None:
    modules = trees()
    folders = plug_in_folders(modules)
    found: Defined = defaultdict(list)
    for name in modules:
        package = (ROOT / name.replace(".", "/")).is_dir()
        if name and not package and not any(inside(folder, name) for folder in folders):
            found[name.rpartition(".")[2]].append(name)
    assert doubled(found) == {}


def test_no_two_public_functions_or_classes_share_a_name() -> None:
    modules = trees()
    allowed = {folder: protocol(folder, modules) for folder in plug_in_folders(modules)}
    found: Defined = defaultdict(list)
    for name, tree in modules.items():
        folder = name.rpartition(".")[0]
        for defined in public(tree) - allowed.get(folder, set()):
            found[defined].append(name or "fairprune_cli")
    assert doubled(found) == {}
