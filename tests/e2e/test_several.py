"""Runs of two processes that are stopped, killed or short of memory: nothing is lost, none hangs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from tests.support.commands import Work
from tests.support.processes import Started, start

PRUNE = (
    "prune", "model.pt", "--sparsity", "0.98", "--attr", "gender", "--epochs", "2", "--batch-size", "64",
    "--set", "save_minutes=0", "--show-examples", "3",
)  # fmt: skip


def begin(
    work: Work, logs: Path, *arguments: str, before: Sequence[Callable[[], None] | None] = (None, None)
) -> list[Started]:
    """Two processes as torchrun would start them, but forked, which is quick."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    number = len(list(logs.glob("log-*")))
    running = []
    for rank, first in enumerate(before):
        env = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        }  # fmt: skip
        log = logs / f"log-{number}-{rank}"
        running.append(start(*arguments, cwd=work.folder, log=log, env=env, before=first or one_thread))
    return running


def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def whole(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    out = tmp_path_factory.mktemp("several") / "whole"
    for running in begin(work, out.parent, *PRUNE, "--out", str(out)):
        assert running.wait() == 0, running.err
    return out


@pytest.fixture(scope="module")
def stopped(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run one process of which was interrupted, the second."""
    out = tmp_path_factory.mktemp("several") / "run"
    first, second = begin(work, out.parent, *PRUNE, "--out", str(out))
    assert first.wait_until((out / "state" / "state.pt").exists), first.err
    second.send(signal.SIGINT)
    assert second.wait() == 130, second.err
    assert first.wait() == 143, first.err
    assert "the state is saved" in first.err
    assert f"torchrun --nproc-per-node 2 -m fairprune_cli prune --resume {out}" in first.err
    assert second.err == ""
    return out


def test_killed_and_continued_by_two_gives_the_bytes_of_an_uninterrupted_run(
    work: Work, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    at = (out / "state" / "state.pt").stat().st_mtime_ns
    first, second = begin(work, tmp_path, "prune", "--resume", str(out))
    assert first.wait_until(lambda: (out / "state" / "state.pt").stat().st_mtime_ns > at), first.err
    second.send(signal.SIGKILL)
    assert second.wait() == -signal.SIGKILL
    assert first.wait(30) == 3
    assert "another process of this run ended" in first.err
    assert "internal" not in first.err
    torch.load(out / "state" / "state.pt", weights_only=True)
    for running in begin(work, tmp_path, "prune", "--resume", str(out)):
        assert running.wait() == 0, running.err
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}


def test_the_divided_audit_equals_that_of_one_process(work: Work, whole: Path, tmp_path: Path) -> None:
    """Counts, intervals, calibration and examples, to the last digit; 400 images are two batches."""
    arguments = ("audit", str(whole), "--against", "model.pt", "--batch-size", "256", "--show-examples", "3")
    arguments = (*arguments, "--attr", "gender", "--out")
    one, two = tmp_path / "one", tmp_path / "two"
    running = [start(*arguments, str(one), cwd=work.folder, log=tmp_path / "log", before=one_thread)]
    running += begin(work, tmp_path, *arguments, str(two))
    assert [process.wait() for process in running] == [0, 0, 0], [process.err for process in running]
    alone, *others = (json.loads((path / "report.json").read_text()) for path in (one, two, whole))
    assert any(alone["examples"]["lost"]["pruned"]["gender"].values())
    for document in others:
        for part in ("results", "degradation", "examples"):
            assert document[part] == alone[part], part


def test_one_process_continues_a_run_of_two(work: Work, stopped: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    running = start("prune", "--resume", str(out), cwd=work.folder, log=tmp_path / "log")
    assert running.wait() == 0, running.err
    assert "continuing at step" in running.err
    assert (out / "report.json").exists()


def test_two_processes_prune_single_weights(work: Work, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for running in begin(work, tmp_path, *PRUNE, "--granularity", "weight", "--out", str(out)):
        assert running.wait() == 0, running.err
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["sparsity"]["achieved"] == pytest.approx(0.98, abs=1e-4)
    assert len(report["training"]) == 2


def no_memory_in_the_third_step() -> None:
    """Of this process: after the trial, in the middle of the step's forward pass."""
    from fairprune_cli.training.trainer import Trainer

    one_thread()
    step = Trainer.step

    def starved(self: Trainer) -> None:
        def forward(*_: object) -> None:
            raise RuntimeError("out of memory")

        if self.done == 3:
            self.model.forward = forward
        step(self)

    Trainer.step = starved  # type: ignore[method-assign]


def test_memory_that_runs_out_on_one_ends_both_and_is_said(work: Work, stopped: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    first, second = begin(
        work, tmp_path, "prune", "--resume", str(out), before=(None, no_memory_in_the_third_step)
    )  # fmt: skip
    assert (first.wait(60), second.wait(60)) == (3, 3)
    assert "error: out of memory on process 1" in second.err
    assert "more processes" in second.err
    assert "another process of this run ended" in first.err
    torch.load(out / "state" / "state.pt", weights_only=True)


def test_torchrun_passes_a_signal_on_and_the_state_is_saved(work: Work, whole: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    command = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "fairprune_cli")
    with open(log, "wb") as stream:
        running = subprocess.Popen(
            [*command, *PRUNE, "--out", str(out)], cwd=work.folder, stdout=stream, stderr=stream,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            until = time.monotonic() + 120
            while not (out / "state" / "state.pt").exists() and running.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            running.send_signal(signal.SIGTERM)
            assert running.wait(120) != 0
        finally:
            running.kill()
            running.wait()
    said = log.read_text(encoding="utf-8")
    assert said.count("the state is saved") == 1, said
    for continued in begin(work, tmp_path, "prune", "--resume", str(out)):
        assert continued.wait() == 0, continued.err
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
