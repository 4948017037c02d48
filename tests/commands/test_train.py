"""`fairprune train`: what it says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairprune_cli.__main__ import run
from fairprune_cli.data.drawn_faces.write import write_sample


def test_the_next_line_names_an_attribute_so_that_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sample(tmp_path / "faces", sizes={"train": 24, "val": 16, "test": 16})
    manifest, out = str(tmp_path / "faces" / "manifest.yaml"), str(tmp_path / "model.pt")
    assert run(["train", "--arch", "resnet10-w16", "--epochs", "1", "--data", manifest, "--out", out]) == 0
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"next: fairprune prune {out} --data {manifest} --sparsity 0.8 --attr gender"
    assert run([*told.split()[2:], "--out", str(tmp_path / "run"), "--dry-run"]) == 0
