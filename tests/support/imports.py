"""What every module of a package imports, read from its source: at the top, in functions, relatively, by attribute."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One import: `by` and `of` are dotted names of modules, `line` is where it stands.

    `at_once` says that it is carried out as soon as `by` is imported: it stands in no function and is not for types
    alone. `written` is the whole dotted name, with what is taken from the module.
    """

    by: str
    of: str
    line: int
    at_once: bool = True
    written: str = ""

    def __str__(self) -> str:
        return f"{self.by}:{self.line} imports {self.of}"


def modules(root: Path) -> dict[str, Path]:
    """Every module below the package folder `root`, by dotted name; a package is named as its folder."""
    found = {}
    for file in sorted(root.rglob("*.py")):
        parts = (root.name, *file.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(root: Path) -> list[Import]:
    """All that the modules below `root` import, in whatever way and wherever in them, types included.

    What is imported from a package counts as an import of the module that it names, where there is such a one, and as
    one of the package otherwise. Modules outside the package are named as they are written.
    """
    files = modules(root)
    return [found for name, file in files.items() for found in _of_one(name, file, files)]


def _of_one(name: str, file: Path, files: dict[str, Path]) -> Iterator[Import]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    later = {id(inner) for node in ast.walk(tree) for part in _later(node) for inner in ast.walk(part)}
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        for alias, full in _named(node, package):
            yield Import(name, _module(full, files), getattr(node, "lineno", 0), id(node) not in later, full)
            aliases[alias] = full
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        by_attribute = [] if id(node) in inner else _by_attribute(node, aliases, files)
        for full in (*by_attribute, *_by_text(node, aliases)):
            yield Import(name, _module(full, files), getattr(node, "lineno", 0), id(node) not in later, full)


def _later(node: ast.AST) -> list[ast.AST]:
    """The parts of a statement that are not carried out when the module is imported."""
    if isinstance(node, ast.If):
        test = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", "")
        return list(node.body) if test == "TYPE_CHECKING" else []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return list(node.body)
    return [node.body] if isinstance(node, ast.Lambda) else []


def _named(node: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """(name it is known by from here on, dotted name) of all that an import statement imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (first, first)
            if not alias.asname and "." in alias.name:
                yield alias.name, alias.name
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        source = parts[: len(parts) - node.level + 1] if node.level else []
        source += [node.module] if node.module else []
        for alias in node.names:
            yield alias.asname or alias.name, ".".join([*source, alias.name])


def _module(full: str, files: dict[str, Path]) -> str:
    """The longest beginning of a dotted name that is a module of the package; the name itself outside of it."""
    parts = full.split(".")
    beginnings = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((name for name in beginnings if name in files), full)


def _by_attribute(node: ast.AST, aliases: dict[str, str], files: dict[str, Path]) -> Iterator[str]:
    """`package.folder.module.thing` through a name that stands for a package."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if names and isinstance(node, ast.Name) and node.id in aliases:
        known = aliases[node.id]
        full = ".".join([known, *reversed(names)])
        if known in files and (_module(full, files) != known or "." not in known):
            yield full


UNKNOWN = "(what only the run can tell)"


def _by_text(node: ast.AST, aliases: dict[str, str]) -> Iterator[str]:
    """Names handed to `importlib.import_module` or `__import__`; UNKNOWN where they are not plain, absolute text."""
    if not isinstance(node, ast.Call):
        return
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if aliases.get(name, name).rpartition(".")[2] in ("import_module", "__import__"):
        text = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        yield text if isinstance(text, str) and not text.startswith(".") else UNKNOWN
