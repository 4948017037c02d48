"""--max-accuracy-loss, as it is typed: the network without the constraint beside the constrained one."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.commands import Work, fairprune
from tests.support.processes import start

PRUNE = (
    "prune", "model.pt", "--sparsity", "0.9", "--attr", "gender", "--granularity", "weight", "--epochs", "2",
    "--batch-size", "64", "--set", "operating_point=as-trained",
)  # fmt: skip
BUDGET = ("--max-accuracy-loss", "0.01")


@pytest.fixture(scope="module")
def held(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("held") / "run"
    ran = fairprune(*PRUNE, *BUDGET, "--out", str(out), cwd=work.folder)
    assert ran.code == 0, ran.err
    assert "fairness may cost 1 points" in " ".join(ran.err.split())
    return out


@pytest.fixture(scope="module")
def still(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose multipliers never move."""
    out = tmp_path_factory.mktemp("still") / "run"
    given = ("--set", "multiplier_rate=0", "--set", "multiplier_start=zero", "--out", str(out))
    ran = fairprune(*PRUNE, *given, cwd=work.folder)
    assert ran.code == 0, ran.err
    return out


def test_the_network_without_the_constraint_is_that_of_multipliers_that_never_move(held: Path, still: Path) -> None:
    assert (held / "unconstrained.safetensors").read_bytes() == (still / "model.safetensors").read_bytes()


def test_the_report_has_both_accuracies_and_all_passes(held: Path, still: Path) -> None:
    report, alone = (json.loads((run / "report.json").read_text()) for run in (held, still))
    budget = report["accuracy_budget"]
    assert budget["allowed"] == 0.01
    assert budget["file"] == "unconstrained.safetensors"
    assert budget["images"] == 150
    assert 0.5 < budget["unconstrained"][0] <= 1
    assert 0.5 < budget["reached"][0] <= 1
    assert alone["accuracy_budget"] is None
    assert report["cost"]["passes"] == pytest.approx(2 * alone["cost"]["passes"])
    assert budget["passes"] == pytest.approx(alone["cost"]["passes"])
    assert "without the constraint" in (held / "report.md").read_text()


@pytest.mark.parametrize("stage", ["without the constraint", "with it"])
def test_killed_and_continued_it_ends_with_the_same_bytes(work: Work, held: Path, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "run"
    reached = out / ("state/state.pt" if stage == "without the constraint" else "events.jsonl")
    given = (*BUDGET, "--set", "save_minutes=0", "--out", str(out))
    running = start(*PRUNE, *given, cwd=work.folder, log=tmp_path / "log")
    assert running.wait_until(reached.exists), running.err
    running.send(signal.SIGKILL)
    running.wait()
    assert (out / "unconstrained.safetensors").exists() == (stage == "with it")
    ran = fairprune("prune", "--resume", str(out), cwd=work.folder)
    assert ran.code == 0, ran.err
    assert "continuing at step" in ran.err
    for name in ("model.safetensors", "unconstrained.safetensors"):
        assert (out / name).read_bytes() == (held / name).read_bytes()


def test_a_run_that_replaces_it_keeps_nothing_of_it(work: Work, held: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(held, out)
    ran = fairprune(*PRUNE, "--epochs", "1", "--out", str(out), "--force", cwd=work.folder)
    assert ran.code == 0, ran.err
    assert not (out / "unconstrained.safetensors").exists()


def test_a_dry_run_says_what_is_trained_first(work: Work) -> None:
    ran = fairprune(*PRUNE, *BUDGET, "--dry-run", cwd=work.folder)
    assert ran.code == 0, ran.err
    assert "trained first: the same run without the constraint" in ran.out


def test_a_budget_is_a_share_above_zero(work: Work, tmp_path: Path) -> None:
    ran = fairprune(*PRUNE, "--max-accuracy-loss", "0", "--out", str(tmp_path / "run"), cwd=work.folder)
    assert ran.code == 2
    assert "--max-accuracy-loss" in ran.err
    assert not (tmp_path / "run").exists()
