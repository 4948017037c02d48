"""A vision transformer from nothing to a pruned file, by the commands."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import fairprune_cli
from fairprune_cli.data.drawn_faces.write import write_sample
from tests.support.commands import fairprune


def test_vit_tiny_is_trained_and_loses_heads_and_widths_by_the_fair_method(tmp_path: Path) -> None:
    write_sample(tmp_path / "faces", seed=3, sizes={"train": 128, "val": 192, "test": 128})
    folder = tmp_path / "faces"
    manifest = folder / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("size: 40", "size: 32"))
    ran = fairprune("train", "--arch", "vit-tiny", "--epochs", "1", "--batch-size", "64", cwd=folder)
    assert ran.code == 0, ran.err
    ran = fairprune(
        "prune", "model.pt", "--granularity", "channel", "--sparsity", "0.6", "--attr", "gender", "--epochs", "1",
        "--batch-size", "32", "--lr", "0.02", "--out", "run", cwd=folder,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    report = json.loads((folder / "run" / "report.json").read_text())
    model = fairprune_cli.load(folder / "run")
    assert report["model"]["architecture"] == "vit-tiny"
    assert report["size"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert abs(report["sparsity"]["achieved"] - 0.6) < 0.02
    assert report["size"]["macs"] < 0.6 * report["size"]["dense_macs"]
    assert model(torch.zeros(2, 3, 48, 48)).shape == (2, 2)
