"""`fairprune train`: what it says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fairprune_cli.__main__ import run
from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.models.checkpoint.load import load_model


def test_the_next_line_names_an_attribute_so_that_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sample(tmp_path / "faces", sizes={"train": 24, "val": 16, "test": 16})
    manifest, out = str(tmp_path / "faces" / "manifest.yaml"), str(tmp_path / "model.pt")
    assert run(["train", "--arch", "resnet10-w16", "--epochs", "1", "--data", manifest, "--out", out]) == 0
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"next: fairprune prune {out} --data {manifest} --sparsity 0.8 --attr gender"
    assert run([*told.split()[2:], "--out", str(tmp_path / "run"), "--dry-run"]) == 0


def test_a_rate_given_by_set_is_that_of_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sample(tmp_path / "faces", sizes={"train": 24, "val": 16, "test": 16})
    given = ["train", "--arch", "resnet10-w16", "--epochs", "1", "--data", str(tmp_path / "faces" / "manifest.yaml")]
    words = {"none": [], "flag": ["--lr", "0.003"], "set": ["--set", "lr=0.003"]}
    models = {name: tmp_path / f"{name}.pt" for name in words}
    for name, more in words.items():
        assert run([*given, *more, "--out", str(models[name]), "-q"]) == 0
    states = {name: load_model(path).model.state_dict() for name, path in models.items()}
    first = next(iter(states["set"]))
    assert torch.equal(states["set"][first], states["flag"][first])
    assert not torch.equal(states["set"][first], states["none"][first])
