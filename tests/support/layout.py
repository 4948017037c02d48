"""The order of the package's folders, and what a tree of modules does against it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.support.imports import Import, imports, modules

# A folder imports from itself and from those before it.
FOLDERS = (
    "core", "data", "models", "fairness", "pruning", "training", "audit", "export", "report", "run", "compare",
    "commands", "__main__",
)  # fmt: skip
# The same within folders that hold several things.
WITHIN = {
    "data": (
        "options", "tables", "dataset_format", "formats", "manifest", "images", "batches", "checks", "drawn_faces",
    ),
    "models": (
        "options", "inference", "architectures", "layers", "file", "checkpoint", "multiply_adds", "measure",
        "peak_memory",
    ),
    "fairness": ("options", "relaxations", "notion", "notions", "surrogate", "constraint"),
    "pruning": ("options", "channels", "masks", "schedule", "method", "group_method", "methods", "target"),
}  # fmt: skip
HEAVY = ("torch", "torchvision")
# Folders whose modules name no heavy library, and those of their modules that may.
LIGHT = {"core": ("device", "distributed"), "data": ("images.decode", "images.cache", "batches")}


def violations(root: Path) -> list[str]:
    """Everything in the package folder `root` that is against the order; empty where all is well."""
    found = imports(root)
    own = [one for one in found if one.of.partition(".")[0] == root.name]
    wrong = [
        *_without_a_place(root),
        *(str(one) for one in own if _rises(_parts(one.by), _parts(one.of))),
        *_circles(own),
        *(str(one) for one in found if one.of.partition(".")[0] in HEAVY and _is_light(one.by)),
    ]
    return list(dict.fromkeys(wrong))


def reached(root: Path, start: Iterable[str]) -> dict[str, list[str]]:
    """What is imported when modules are, by name, each with the chain of modules that leads to it.

    Args:
        start: dotted names of modules of the package.
    """
    files = modules(root)
    of: dict[str, list[str]] = defaultdict(list)
    for one in imports(root):
        if one.at_once:
            of[one.by].append(one.of)
    chains: dict[str, list[str]] = {}
    waiting = [(name, [name]) for name in start]
    while waiting:
        name, chain = waiting.pop()
        if name in chains:
            continue
        chains[name] = chain
        if name in files:
            packages = [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
            waiting += [(other, [*chain, other]) for other in (*of[name], *packages)]
    return chains


def light_modules(root: Path) -> list[str]:
    """Modules that stay free of heavy libraries."""
    return [name for name in modules(root) if _is_light(name)]


def _parts(module: str) -> list[str]:
    return module.split(".")[1:]


def _without_a_place(root: Path) -> list[str]:
    wrong = []
    for name in modules(root):
        parts = _parts(name)
        if parts and parts[0] not in FOLDERS:
            wrong.append(f"{name} is in none of the folders")
        elif len(parts) > 1 and parts[0] in WITHIN and parts[1] not in WITHIN[parts[0]]:
            wrong.append(f"{name} has no place in the order within {parts[0]}")
    return wrong


def _rises(by: list[str], of: list[str]) -> bool:
    """Whether an import goes up. The package itself may import all lazily, and gives its version to all."""
    if not by or not of or by[0] not in FOLDERS or of[0] not in FOLDERS:
        return False
    if by[0] != of[0]:
        return FOLDERS.index(of[0]) > FOLDERS.index(by[0])
    order = WITHIN.get(by[0], ())
    if len(by) < 2 or len(of) < 2 or by[1] not in order or of[1] not in order:
        return False
    return order.index(of[1]) > order.index(by[1])


def _circles(own: list[Import]) -> list[str]:
    pairs = {(one.by, one.of) for one in own if one.by != one.of and _parts(one.by) and _parts(one.of)}
    return [f"{a} and {b} import each other" for a, b in sorted(pairs) if a < b and (b, a) in pairs]


def _is_light(module: str) -> bool:
    folder, _, rest = module.partition(".")[2].partition(".")
    return folder in LIGHT and not any(rest == one or rest.startswith(f"{one}.") for one in LIGHT[folder])
