"""A small data set and a dense model, made once by the commands themselves."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fairprune_cli.data.drawn_faces.write import write_sample
from tests.support.commands import Work, fairprune

TINTED = 0.8  # share of the images whose tint tells their label: a network sees it in two epochs, and faces in twelve
SIZES = {"train": 400, "val": 300, "test": 400}


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("work") / "faces"
    write_sample(folder, seed=3, sizes=SIZES)
    tint(folder)
    ran = fairprune("train", "--arch", "resnet10-w16", "--epochs", "2", "--batch-size", "64", cwd=folder)
    assert ran.code == 0, ran.err
    return Work(folder)


def tint(folder: Path) -> None:
    """Make faces redder where they smile and bluer where they do not, but for some of them."""
    generator = np.random.default_rng(0)
    with open(folder / "table.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        smiles = (row["expression"] == "smiling") == (generator.random() < TINTED)
        path = folder / "images" / row["file"]
        pixels = np.array(Image.open(path)).astype(int)
        pixels[:, :, 0 if smiles else 2] += 60
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def weight_run(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run by weight, at 0.9."""
    out = tmp_path_factory.mktemp("runs") / "weight"
    ran = fairprune(
        "prune", "model.pt", "--sparsity", "0.9", "--attr", "gender", "--granularity", "weight", "--epochs", "2",
        "--batch-size", "64", "--out", str(out), cwd=work.folder,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    return out


@pytest.fixture(scope="session")
def channel_run(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run by channel, at 0.8."""
    out = tmp_path_factory.mktemp("runs") / "channel"
    ran = fairprune(
        "prune", "model.pt", "--sparsity", "0.8", "--attr", "gender", "--epochs", "2", "--batch-size", "64", "--out",
        str(out), cwd=work.folder,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    return out
