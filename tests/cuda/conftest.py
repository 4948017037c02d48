"""What runs on a GPU: each such test is skipped, by name, where there is none.

TEST_DEVICE=cpu python -m pytest tests/cuda     tries out the tests themselves
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fairprune_cli.core.device import repeatable
from fairprune_cli.data.drawn_faces.write import write_sample
from tests.support.commands import Work, fairprune

# Both are asked before tests are kept from seeing either.
GPU = os.environ.get("TEST_DEVICE", "cuda")
_is_available = torch.cuda.is_available


def skip_without() -> None:
    if GPU == "cuda" and not _is_available():
        pytest.skip("no CUDA device on this machine")


@pytest.fixture(scope="module")
def gpu() -> Iterator[str]:
    """The name of the device; torch sees it as long as a module's tests run, and computes as a run does."""
    skip_without()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", _is_available)
        before = torch.are_deterministic_algorithms_enabled()
        repeatable(torch.device(GPU))
        yield GPU
        torch.use_deterministic_algorithms(before)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """The CPU, and then the GPU."""
    return str(request.getfixturevalue("gpu")) if request.param == "cuda" else "cpu"


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A small data set, and a dense model that was trained on the device."""
    skip_without()
    folder: Path = tmp_path_factory.mktemp("cuda") / "faces"
    write_sample(folder, seed=3, sizes={"train": 300, "val": 200, "test": 300})
    ran = fairprune(
        "train", "--arch", "resnet10-w16", "--epochs", "2", "--batch-size", "64", "--device", GPU, cwd=folder
    )
    assert ran.code == 0, ran.err
    return Work(folder)
