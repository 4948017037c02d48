"""`fairprune compare` as real processes: in place, interrupted, and through a shell."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.load import save_checkpoint
from tests.support.commands import Work, fairprune

CELLS = [f"{method}-weight-0.9-s{seed}" for method in ("magnitude", "bifp") for seed in (0, 1)]


def compare(work: Work, out: Path, *more: str) -> list[str]:
    return [
        "compare", str(work.folder / "dense-{seed}.pt"), "--methods", "magnitude,bifp", "--sparsities", "0.9",
        "--granularities", "weight", "--seeds", "2", "--epochs", "1", "--batch-size", "64", "--attr", "gender",
        "--set", "threads=1", "--out", str(out), *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def dense(work: Work) -> Work:
    shutil.copy(work.model, work.folder / "dense-0.pt")
    manifest = load_manifest(work.folder / "manifest.yaml")
    model = architectures.build("resnet10-w16", 2, seed=1)
    save_checkpoint(
        work.folder / "dense-1.pt", model, architecture="resnet10-w16", classes=manifest.classes,
        transform=manifest.transform.to_dict(), extra={},
    )  # fmt: skip
    return work


@pytest.fixture(scope="module")
def in_place(dense: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "out"
    ran = fairprune(*compare(dense, out), cwd=dense.folder)
    assert ran.code == 0, ran.err
    assert "weight 0.9, gender: mean ± standard deviation over seeds" in ran.out
    assert "compare.html in a browser" in ran.out
    return out


def timeless(out: Path) -> dict[str, Any]:
    """compare.json without the seconds that cells took."""
    document = json.loads((out / "compare.json").read_text())
    for part in (*document["cells"], *document["rows"]):
        part["figures"].pop("seconds")
    assert isinstance(document, dict)
    return document


def test_folder_holds_results_and_ordinary_runs(in_place: Path, dense: Work) -> None:
    assert {"compare.json", "compare.csv", "compare.md", "compare.html", "accuracy-gap.svg"} <= {
        path.name for path in in_place.iterdir()
    }
    assert sorted(path.name for path in (in_place / "cells").iterdir()) == sorted(CELLS)
    document = timeless(in_place)
    assert [cell["status"] for cell in document["cells"]] == ["done"] * 4
    for cell in document["cells"]:
        report = json.loads((in_place / "cells" / cell["name"] / "report.json").read_text())
        assert cell["figures"]["accuracy"] == report["results"]["pruned"]["accuracy"]
        assert cell["figures"]["attributes"]["gender"]["exact_gap"] == report["training"][-1]["exact_gap"]["gender"]
    assert {cell["dense"]["accuracy"] for cell in document["cells"][:2]} == {
        cell["dense"]["accuracy"] for cell in document["cells"][2:]
    }


def without(in_place: Path, out: Path, *cells: str) -> None:
    """A copy of the comparison in which some cells and all results are still to come."""
    shutil.copytree(in_place / "cells", out / "cells", ignore=lambda _, names: [n for n in names if n in cells])


def test_interrupted_comparison_goes_on(in_place: Path, dense: Work, tmp_path: Path) -> None:
    out = tmp_path / "out"
    without(in_place, out, *CELLS[2:])
    process = subprocess.Popen(
        [sys.executable, "-m", "fairprune_cli", *compare(dense, out)], cwd=dense.folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "cell 3 of 4, bifp weight 0.9: started" in line:
            break
    process.send_signal(signal.SIGTERM)
    printed, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert printed == ""
    assert list((out / "claims").glob("*.json")) == []
    ran = fairprune(*compare(dense, out), cwd=dense.folder)
    assert ran.code == 0, ran.err
    assert "cell 2 of 4" not in ran.err  # it was done
    assert timeless(out) == timeless(in_place)


def test_commands_through_a_shell_give_the_same(in_place: Path, dense: Work, tmp_path: Path) -> None:
    out, binaries = tmp_path / "a folder" / "out", tmp_path / "bin"
    without(in_place, out, CELLS[1], CELLS[3])
    binaries.mkdir()
    (binaries / "fairprune").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fairprune_cli "$@"\n')
    (binaries / "fairprune").chmod(0o755)
    listed = fairprune(*compare(dense, out, "--list-commands"), cwd=dense.folder)
    assert listed.code == 0, listed.err
    assert len(listed.out.splitlines()) == 2
    gathered = fairprune(*compare(dense, out, "--gather"), cwd=dense.folder)
    assert gathered.code == 0, gathered.err
    assert f"2 of 4 cells are missing: {CELLS[1]}, {CELLS[3]}" in gathered.err
    done = subprocess.run(
        ["sh", "-e"], input=listed.out, text=True, capture_output=True, check=False,
        cwd=tmp_path,  # elsewhere than where they were listed, as a scheduler may run them
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    gathered = fairprune(*compare(dense, out, "--gather"), cwd=dense.folder)
    assert gathered.code == 0, gathered.err
    assert timeless(out) == timeless(in_place)
