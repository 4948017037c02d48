"""Data flows one way: a module imports only from those above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import fairprune_cli

ROOT = Path(fairprune_cli.__file__).parent
ORDER = [
    {"errors", "files", "terminal", "config", "registry", "signals", "device", "memory", "launch", "ranks", "trial"},
    {
        "tables", "layouts", "sections", "spec", "formats", "naming", "records", "manifest_data", "manifest_build",
        "images", "findings", "guess", "manifest_init", "manifest", "association", "checking", "faces", "sample",
        "fingerprint", "cache_store", "gallery",
    },
    {"decoding", "cache", "shuffles", "batches", "stratified", "batchnorm"},
    {"architectures", "pickles", "torchfiles", "inert", "contents", "states", "checkpoint", "exports.codec"},
    {"coupling", "channels", "channel_choice", "masks"},
    {"relaxations", "fairness"},
    {"constraint", "optimizer", "schedule", "snapshots"},
    {"methods"},
    {"arithmetic", "history", "objective", "passes", "shared_norms"},
    {"training", "dense_training"},
    {
        "intervals", "calibration", "metrics", "audit", "examples", "remarks", "signs", "gate", "policy", "measure",
        "footprint", "provenance",
    },
    {"exports"},
    {"target", "storage"},
    {"report"},
    {"inputs", "run_folder"},
    {"origins"},
    {"assembly", "watch"},
    {"pipeline"},
    {"comparison"},
    {"auditing", "measuring", "dense", "datasets", "summary", "tracking", "github"},
    {"demo"},
    {"app", "__main__"},
]  # fmt: skip


def _part(module: str) -> str:
    """The name in ORDER of `fairprune_cli.x.y`."""
    path = module.split(".")[1:]
    if path[:1] == ["exports"] and path[1:2] and path[1] in {"codec", "container", "encodings", "header", "rounding"}:
        return "exports.codec"
    return path[0] if path else "__init__"


def _imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return {name for name in found if name.startswith("fairprune_cli.")}


def test_imports_go_one_way() -> None:
    level = {part: i for i, parts in enumerate(ORDER) for part in parts}
    wrong = []
    for file in sorted(ROOT.rglob("*.py")):
        if file == ROOT / "__init__.py":
            continue  # the lazy import of load()
        module = ".".join(("fairprune_cli", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        part = _part(module)
        assert part in level, f"{module} has no place in the order"
        wrong += [
            f"{module} imports {name}" for name in _imports(file)
            if _part(name) != "__version__" and level.get(_part(name), 99) > level[part]
        ]  # fmt: skip
    assert wrong == []


def test_help_and_data_commands_do_not_import_torch() -> None:
    code = (
        "import sys, fairprune_cli.app, fairprune_cli.datasets, fairprune_cli.report, fairprune_cli.gate;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
