"""Commands in tests compute on the CPU, whatever the machine has."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.support.commands import Work
from tests.support.processes import start

ARGUMENTS = ("audit", "model.pt", "--attr", "gender", "--dry-run", "--json")


def with_a_gpu() -> None:
    """Of this process: torch says that there is one."""
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: 1


def test_commands_take_the_cpu_where_there_is_a_gpu(work: Work, tmp_path: Path) -> None:
    ran = start(*ARGUMENTS, cwd=work.folder, log=tmp_path / "log", before=with_a_gpu)
    assert ran.wait() == 0, ran.err
    assert '"device": "cpu"' in ran.err


def test_without_a_word_they_would_take_the_gpu(work: Work, tmp_path: Path) -> None:
    """So the test above can fail."""
    env = {"FAIRPRUNE_DEVICE": "auto"}
    ran = start(*ARGUMENTS, cwd=work.folder, log=tmp_path / "log", env=env, before=with_a_gpu)
    assert ran.wait() == 0, ran.err
    assert '"device": "cuda"' in ran.err
