"""The order of the package's folders, and what a tree of modules does against it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.support.imports import UNKNOWN, Import, imports, modules

# A folder imports from itself and from those before it.
FOLDERS = (
    "core", "data", "models", "fairness", "pruning", "training", "audit", "export", "report", "run", "compare",
    "commands", "__main__",
)  # fmt: skip
# The same within folders that hold several things.
WITHIN = {
    "data": (
        "options", "tables", "dataset_format", "formats", "content_hashes", "manifest", "images", "batches", "checks",
        "drawn_faces",
    ),
    "models": (
        "options", "strides", "strided_convolutions", "inference", "read_out", "score_search", "sameness", "soundness",
        "frozen", "widths", "architecture_names", "architectures", "layers", "file", "checkpoint", "graphs",
        "multiply_adds", "stopwatch", "measure", "peak_memory",
    ),
    "fairness": (
        "options", "relaxations", "notion", "notions", "margins", "surrogate", "group_rows", "tally", "accuracy_budget",
        "multipliers", "term", "constraint", "joint", "window_search", "bias_descent", "group_biases",
    ),
    "pruning": (
        "options", "channels", "masks", "schedule", "method", "group_method", "group_weights", "methods", "target",
    ),
}  # fmt: skip
HEAVY = ("torch", "torchvision", "torchcodec", "timm", "safetensors.torch")
# Folders whose modules name no heavy library, and those of their modules that may.
LIGHT: dict[str, tuple[str, ...]] = {
    "core": ("device", "distributed", "transfer"), "data": ("images.decode", "images.cache", "batches"), "report": (),
}  # fmt: skip
# Where names come from a listing or from the user.
IMPORTS_BY_NAME = ("core.plugins",)
# Beside the package in the repository, and in no wheel.
BESIDE = ("tests", "benchmarks")


def violations(root: Path) -> list[str]:
    """Everything in the package folder `root` that is against the order; empty where all is well."""
    found = imports(root)
    own = [one for one in found if one.of.partition(".")[0] == root.name]
    wrong = [
        *_without_a_place(root),
        *(str(one) for one in own if _rises(_parts(one.by), _parts(one.of))),
        *_circles(own),
        *(str(one) for one in found if is_heavy(one.of) and _is_light(one.by)),
        *(f"{one.by}:{one.line} uses {one.written}" for one in own if _uses_the_public_names(one, root.name)),
        *(str(one) for one in found if one.of.partition(".")[0] in BESIDE),
        *(str(one) for one in found if one.of == UNKNOWN and ".".join(_parts(one.by)) not in IMPORTS_BY_NAME),
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


def _uses_the_public_names(one: Import, package: str) -> bool:
    """Those stand above everything; only the version is for all."""
    return one.of == package != one.by and one.written not in (package, f"{package}.__version__")


def is_heavy(module: str) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in HEAVY)


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
    """Modules that import each other, directly or through others; each circle once."""
    of: dict[str, set[str]] = defaultdict(set)
    for one in own:
        if one.by != one.of and _parts(one.by) and _parts(one.of):
            of[one.by].add(one.of)
    behind = {name: _behind(name, of) for name in of}
    circles = {
        tuple(sorted(o for o in behind[name] if name in behind.get(o, ()))) for name in of if name in behind[name]
    }
    return [f"{' and '.join(circle)} import each other" for circle in sorted(circles)]


def _behind(name: str, of: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(of[name])
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += of.get(other, ())
    return found


def _is_light(module: str) -> bool:
    folder, _, rest = module.partition(".")[2].partition(".")
    return folder in LIGHT and not any(rest == one or rest.startswith(f"{one}.") for one in LIGHT[folder])
