"""Data flows one way: folders import from those before them, no two modules from each other, light ones no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fairprune_cli
from tests.support.imports import imports, modules
from tests.support.layout import FOLDERS, is_heavy, light_modules, reached, violations

ROOT = Path(fairprune_cli.__file__).parent
TESTS = Path(__file__).parent
# What answers at once: help, refusals, reports and gates.
QUICK = ("fairprune_cli", "commands.app", "report", "audit.gates", "audit.policy", "core.plugins", "__main__")
LONGEST = 300
LONGEST_FUNCTION = 60
# A drawing, not a rule.
DRAWINGS = {"draw_faces"}
# Modules under tests/ that are no tests.
HELPERS = ("tests.support", "tests.contract.cases", "tests.contract.contracts", "tests.contract.shapes")


def test_the_folders_are_those_of_the_order() -> None:
    found = {path.name for path in ROOT.iterdir() if path.name != "__pycache__"}
    assert found == {*FOLDERS, "__init__.py", "__main__.py", "py.typed"} - {"__main__"}


def test_imports_go_one_way() -> None:
    assert violations(ROOT) == []


def test_what_answers_at_once_imports_nothing_heavy() -> None:
    start = [name if name == "fairprune_cli" else f"fairprune_cli.{name}" for name in QUICK]
    chains = reached(ROOT, [*start, *light_modules(ROOT)])
    assert [chain for name, chain in chains.items() if is_heavy(name)] == []


def test_what_answers_at_once_loads_nothing_heavy() -> None:
    names = [name for name in QUICK if name != "fairprune_cli"]
    code = f"import sys; [__import__('fairprune_cli.' + name) for name in {names}]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_module_and_no_function_is_long() -> None:
    long = []
    for name, file in modules(ROOT).items():
        text = file.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > LONGEST:
            long.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name not in DRAWINGS:
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                long += [f"{name}.{node.name}: {lines} lines"] if lines > LONGEST_FUNCTION else []
    assert long == []


def test_no_test_module_imports_another() -> None:
    wrong = [
        str(one) for one in imports(TESTS)
        if one.of.startswith("tests.") and not one.of.startswith(HELPERS) and one.by != one.of
    ]  # fmt: skip
    assert wrong == []


def test_tests_mirror_the_package() -> None:
    folders = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_dir()}
    own = {"support", "contract", "cuda", "docs", "e2e", "benchmarks"}
    found = {path.parent.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}
    assert {f for f in found if f.partition("/")[0] not in own and f != "."} <= folders


def made_up(root: Path, **files: str) -> Path:
    """A package of this shape with a few modules; `folder__module="source"`."""
    package = root / "fairprune_cli"
    for name in ("core", "data", "data/tables", "data/images", "models", "run"):
        (package / name).mkdir(parents=True, exist_ok=True)
        (package / name / "__init__.py").touch()
    (package / "__init__.py").write_text('__version__ = "0"\n')
    for name, source in files.items():
        package.joinpath(*name.split("__")).with_suffix(".py").write_text(source)
    return package


WRONG = {
    "an upward import": {"core__files": "from fairprune_cli.run import prune\n", "run__prune": ""},
    "an upward import of a name": {"core__files": "from fairprune_cli.run.prune import x\n", "run__prune": "x = 1\n"},
    "a relative one": {"core__files": "from ..run import prune\n", "run__prune": ""},
    "a relative one of a name": {"data__tables__table": "from ...run.prune import x\n", "run__prune": "x = 1\n"},
    "attribute access": {"core__files": "import fairprune_cli\n\nfairprune_cli.run.prune.x\n", "run__prune": "x = 1\n"},
    "attribute access from the package's name": {
        "core__files": "from fairprune_cli import data as other\n\nother.tables.table.x\n",
        "data__tables__table": "x = 1\n",
    },
    "an import inside a function": {
        "models__measure": "def f():\n    import fairprune_cli.run.prune\n", "run__prune": ""
    },
    "an import for types alone": {
        "models__measure": "import typing\n\nif typing.TYPE_CHECKING:\n    from fairprune_cli.run import prune\n",
        "run__prune": "",
    },
    "an import by text": {
        "core__files": 'import importlib\n\nimportlib.import_module("fairprune_cli.run.prune")\n', "run__prune": ""
    },
    "text that only the run can tell": {"core__files": "import importlib\n\nimportlib.import_module(f'a.{1}')\n"},
    "text under another name": {
        "core__files": "from importlib import import_module as im\n\nim('fairprune_cli.run.prune')\n",
        "run__prune": "",
    },
    "a relative text": {"core__files": "import importlib\n\nimportlib.import_module('..run', __package__)\n"},
    "a public name": {"core__files": "from fairprune_cli import load\n"},
    "a public name by attribute": {"core__files": "import fairprune_cli\n\nfairprune_cli.load\n"},
    "all public names": {"core__files": "from fairprune_cli import *\n"},
    "a test's helper": {"core__files": "from tests.support import networks\n"},
    "one against the order within data": {
        "data__tables__table": "from fairprune_cli.data.images import pillow\n", "data__images__pillow": ""
    },
    "a circle of two": {
        "run__prune": "from fairprune_cli.run import watch\n", "run__watch": "from . import prune\n"
    },
    "a circle of three": {
        "run__prune": "from fairprune_cli.run import watch\n", "run__watch": "from fairprune_cli.run import folder\n",
        "run__folder": "def f():\n    from fairprune_cli.run import prune\n",
    },
    "torchcodec in data/tables": {"data__tables__table": "from torchcodec import decoders\n"},
    "torch in data/tables": {"data__tables__table": "def f():\n    import torch\n"},
    "torch in core": {"core__files": "from torch import nn\n"},
    "a module in no folder": {"loose": ""},
    "a module with no place within data": {"data__other": ""},
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_the_order_is_held(what: str, tmp_path: Path) -> None:
    package = made_up(tmp_path, **WRONG[what])
    assert violations(package)


def test_what_is_allowed_is_no_violation(tmp_path: Path) -> None:
    package = made_up(
        tmp_path,
        core__files="from fairprune_cli import __version__\n",
        core__device="import torch\n",
        data__images__decode="import torch\n",
        data__images__pillow="from fairprune_cli.data.tables import table\nfrom . import formats\n",
        data__images__formats="",
        data__tables__table="from ...core import files\n",
        run__prune="import fairprune_cli.models.measure\n\nfairprune_cli.models.measure.x\n",
        models__measure="import torch\n\nx = 1\n",
    )
    assert violations(package) == []


def test_a_heavy_library_behind_others_is_found(tmp_path: Path) -> None:
    package = made_up(
        tmp_path,
        core__files="from fairprune_cli.core import device\n",
        core__device="import torch\n",
        core__later="def f():\n    from fairprune_cli.core import device\n",
    )
    assert "torch" in reached(package, ["fairprune_cli.core.files"])
    assert "torch" not in reached(package, ["fairprune_cli.core.later"])


def test_what_is_carried_out_at_once_is_told_from_what_is_not(tmp_path: Path) -> None:
    package = made_up(
        tmp_path,
        core__device="import torch\n",
        core__otherwise="import typing\n\nif typing.TYPE_CHECKING:\n    pass\nelse:\n    import torch\n",
        core__unless="import typing\n\nif not typing.TYPE_CHECKING:\n    import torch\n",
        core__default="def f(x=__import__('torch')):\n    pass\n",
        core__types="import typing\n\nif typing.TYPE_CHECKING:\n    import torch\n",
        core__inside="def f():\n    import torch\n",
    )
    loads = {name for name in ("otherwise", "unless", "default", "types", "inside")
             if "torch" in reached(package, [f"fairprune_cli.core.{name}"])}  # fmt: skip
    assert loads == {"otherwise", "unless", "default"}
