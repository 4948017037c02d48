"""A small data set and a dense model, made once by the commands themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fairprune_cli.sample import write_sample

SIZES = {"train": 400, "val": 300, "test": 400}


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


def fairprune(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 240.0, stdin: str | None = None
) -> Ran:
    """Run the command in a process of its own, as a user's shell would."""
    environment = {**os.environ, "PYTHONWARNINGS": "error::ResourceWarning", **(env or {})}
    done = subprocess.run(
        [sys.executable, "-m", "fairprune_cli", *arguments], cwd=cwd, env=environment, capture_output=True, text=True,
        timeout=timeout, input=stdin, check=False,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Work:
    """A folder with model.pt and manifest.yaml."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.pt"


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
