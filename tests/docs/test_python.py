"""docs/python.md and the notebook: cells run in their order, and calls name what there is."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fairprune_cli
from fairprune_cli.run.options import FIELDS

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOK = DOCS / "fairprune.ipynb"
CELLS = ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
BLOCKS = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text("utf-8"), re.DOTALL)
OWN = {
    "prune": {"out", "force", "resume", "config", "trust_checkpoint", "progress"},
    "audit": {"against", "out", "force", "config", "trust_checkpoint", "progress"},
}
AFTER = """
assert report.passed, report
assert not audit.passed, audit
assert report.results["dense"]["accuracy"] > 0.8
assert network.training
"""


def test_the_notebook_runs(tmp_path: Path) -> None:
    (tmp_path / "cells.py").write_text("\n".join([*CELLS, AFTER]), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
    done = subprocess.run(
        [sys.executable, "cells.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.json").is_file()


def test_the_notebook_is_one_and_keeps_small_outputs() -> None:
    document = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    shown = [cell["outputs"] for cell in document["cells"] if cell["cell_type"] == "code"]
    assert any(shown)
    assert all(len(json.dumps(outputs)) < 10_000 for outputs in shown)
    assert "Traceback" not in json.dumps(shown)


@pytest.mark.parametrize("text", [*BLOCKS, *CELLS])
def test_calls_name_settings_that_there_are(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "fairprune_cli":
            name = node.func.attr
            assert hasattr(fairprune_cli, name)
            if name in OWN:
                assert {word.arg for word in node.keywords} <= OWN[name] | set(FIELDS)
