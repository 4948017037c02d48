"""A small data set and a dense model, made once by the commands themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairprune_cli.data.drawn_faces.write import write_sample
from tests.support.commands import Work, fairprune

SIZES = {"train": 400, "val": 300, "test": 400}


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("work") / "faces"
    write_sample(folder, seed=3, sizes=SIZES)
    ran = fairprune("train", "--arch", "resnet10-w16", "--epochs", "2", "--batch-size", "64", cwd=folder)
    assert ran.code == 0, ran.err
    return Work(folder)


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
