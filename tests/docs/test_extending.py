"""docs/extending.md, followed literally: its blocks put where they say, listed, used, and held against the contract."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fairprune_cli.core import plugins

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
PACKAGE = {kind.package.replace(".", "/"): kind for kind in plugins.KINDS}

USE = """
import sys
from fairprune_cli.__main__ import main
from fairprune_cli.data.drawn_faces.write import write_sample
from pathlib import Path
import os

write_sample(Path("faces"), seed=3, sizes={"train": 128, "val": 192, "test": 128})
os.chdir("faces")
for line in Path("../commands").read_text().splitlines():
    sys.argv = ["fairprune", *line.split()]
    try:
        main()
    except SystemExit as left:
        assert left.code in (0, None) or (left.code in (1, 4) and line.startswith("audit")), (line, left.code)
"""
COMMANDS = """
train --arch plain8 --epochs 1 --batch-size 64
prune model.pt --method taylor --granularity channel --sparsity 0.5 --attr gender --notion predictive-equality \
--relaxation arctan --epochs 1 --batch-size 64 --out run
audit run --attr gender --notion predictive-equality --max-gap 0.5 --min-group 3 --out judged
export run --to npz --out run.npz
data init ../genki --out ../genki/manifest.yaml
data check --data ../genki/manifest.yaml
""".replace("\\\n", "").strip()


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with all blocks in it."""
    folder = tmp_path_factory.mktemp("followed")
    for name in ("fairprune_cli", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in BLOCKS.items():
        assert not (folder / path).exists(), f"{path} is there already"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def python(folder: Path, *arguments: str, cwd: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "FAIRPRUNE_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd or folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_one_file_and_one_test_of_each_kind() -> None:
    shown = [PACKAGE[path.rpartition("/")[0]] for path in BLOCKS if path.rpartition("/")[0] in PACKAGE]
    # Writers and trackers are shown by none: a further one is rare, and the others are as short.
    rare = (plugins.REPORT_WRITER, plugins.TRACKER)
    assert sorted(kind.word for kind in shown) == sorted(kind.word for kind in plugins.KINDS if kind not in rare)
    assert sum(path.startswith("tests/") for path in BLOCKS) == len(shown) == len(BLOCKS) / 2


def test_its_plug_ins_are_listed_and_used_by_the_commands(followed: Path, tmp_path: Path) -> None:
    listing = python(followed, "-c", "from fairprune_cli.core.plugins import KINDS; print([k.names() for k in KINDS])")
    for path in BLOCKS:
        if path.rpartition("/")[0] in PACKAGE:
            assert repr(Path(path).stem.replace("_", "-")) in listing
    (tmp_path / "commands").write_text(COMMANDS)
    make = "from pathlib import Path; from tests.contract.cases.genki import genki; genki(Path('genki'))"
    python(followed, "-c", f"{make}\n{USE}", cwd=tmp_path)
    run = tmp_path / "faces" / "run"
    report = json.loads((run / "report.json").read_text())
    assert report["model"]["architecture"] == "plain8"
    assert report["sparsity"]["achieved"] >= 0.45
    assert report["config"]["notion"]["value"] == "predictive-equality"
    judged = json.loads((tmp_path / "faces" / "judged" / "report.json").read_text())
    (gate,) = judged["gates"]
    assert gate["notion"] == "predictive-equality"
    assert gate["value"] == judged["results"]["dense"]["attributes"]["gender"]["metrics"]["predictive_equality"]["value"]
    assert "The run took" in (run / "report.html").read_text()
    assert (tmp_path / "faces" / "run.npz").stat().st_size > 1000
    assert "format: genki" in (tmp_path / "genki" / "manifest.yaml").read_text()


def test_its_plug_ins_keep_the_contract(followed: Path) -> None:
    own = [path for path in BLOCKS if Path(path).name.startswith("test_")]
    names = "taylor or predictive or arctan or plain or npz or genki or cost"
    told = python(
        followed, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "-rA", "--override-ini", "addopts=",
        "tests/contract/test_contract.py", *own, "-k", names,
    )  # fmt: skip
    for name in ("taylor", "predictive-equality", "arctan", "plain8", "npz", "genki", "cost"):
        assert re.search(rf"PASSED tests/contract/\S+\[\S*{name}", told), name
    assert all(f"PASSED {path}" in told for path in own)
