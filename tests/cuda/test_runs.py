"""The commands on a GPU: the same bytes for the same seed, also after a kill; figures as the CPU has them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fairprune_cli
from tests.support.commands import Work, fairprune
from tests.support.processes import Started, start

pytestmark = pytest.mark.cuda

PRUNE = ("prune", "model.pt", "--attr", "gender", "--epochs", "2", "--batch-size", "64", "--set", "save_minutes=0")
SPARSITY = {"channel": "0.8", "weight": "0.9", "2:4": "0.5"}
OTHERWISE = 3  # images that rounding may turn, of 300 that are audited

Prune = Callable[..., Path]


def command(granularity: str, device: str, out: Path) -> list[str]:
    kind = ("--granularity", granularity, "--sparsity", SPARSITY[granularity])
    return [*PRUNE, *kind, "--device", device, "--out", str(out)]


@pytest.fixture(scope="module")
def pruned(faces: Work, gpu: str, tmp_path_factory: pytest.TempPathFactory) -> Prune:
    """Finished runs by granularity, each made once."""
    made: dict[str, Path] = {}

    def run(granularity: str) -> Path:
        if granularity not in made:
            out = tmp_path_factory.mktemp("runs") / "run"
            ran = fairprune(*command(granularity, gpu, out), cwd=faces.folder)
            assert ran.code == 0, ran.err
            made[granularity] = out
        return made[granularity]

    return run


def report_of(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize("granularity", SPARSITY)
def test_the_same_seed_gives_the_same_bytes(
    faces: Work, gpu: str, pruned: Prune, tmp_path: Path, granularity: str
) -> None:
    one, other = pruned(granularity), tmp_path / "other"
    ran = fairprune(*command(granularity, gpu, other), cwd=faces.folder)
    assert ran.code == 0, ran.err
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    first, second = report_of(one), report_of(other)
    assert first["provenance"]["device"] == gpu
    for part in ("results", "degradation", "sparsity", "size"):
        assert first[part] == second[part], part


@pytest.mark.parametrize("granularity", ["channel", "weight"])
def test_a_run_that_is_killed_and_continued_ends_with_the_same_bytes(
    faces: Work, gpu: str, pruned: Prune, tmp_path: Path, granularity: str
) -> None:
    out = tmp_path / "run"
    saved = out / "state" / "state.pt"

    def began(*arguments: str) -> Started:
        return start(*arguments, cwd=faces.folder, log=tmp_path / f"log-{len(list(tmp_path.iterdir()))}")

    first = began(*command(granularity, gpu, out))
    assert first.wait_until(lambda: saved.exists() and (out / "events.jsonl").exists()), first.err
    first.send(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    last = began("prune", "--resume", str(out))
    assert last.wait() == 0, last.err
    assert "continuing at step" in last.err
    assert (out / "model.safetensors").read_bytes() == (pruned(granularity) / "model.safetensors").read_bytes()


def test_the_audit_counts_what_the_cpu_counts(faces: Work, gpu: str, pruned: Prune) -> None:
    counted = []
    for device in ("cpu", gpu):
        arguments = (
            "audit",
            str(pruned("channel")),
            "--against",
            "model.pt",
            "--attr",
            "gender",
            "--show-examples",
            "2",
        )
        ran = fairprune(*arguments, "--batch-size", "64", "--device", device, "--json", cwd=faces.folder)
        assert ran.code == 0, ran.err
        counted.append(json.loads(ran.out))
    host, there = counted
    assert there["provenance"]["device"] == gpu
    assert host["examples"]["per_group"] == there["examples"]["per_group"] == 2
    for model in ("dense", "pruned"):
        groups, others = (d["results"][model]["attributes"]["gender"]["groups"] for d in counted)
        for name, group in groups.items():
            assert group["n"] == others[name]["n"]
            assert abs(group["correct"] - others[name]["correct"]) <= OTHERWISE


def test_time_and_memory_are_those_of_the_device(faces: Work, gpu: str, pruned: Prune) -> None:
    arguments = ("measure", str(pruned("channel")), "--against", "model.pt", "--device", gpu, "--json")
    ran = fairprune(*arguments, cwd=faces.folder)
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["device"] == gpu
    assert (document["peak_memory"] == "allocated on the device") == (gpu == "cuda")
    for figures in document["models"].values():
        one, many = (figures["batch"][batch] for batch in ("1", "32"))
        assert 0 < one["low_ms"] <= one["median_ms"] <= one["high_ms"] < 10_000
        assert many["peak_bytes"] > one["peak_bytes"] > figures["dense_bytes"]


def test_the_report_says_how_it_was_computed(gpu: str, pruned: Prune) -> None:
    cost = report_of(pruned("weight"))["cost"]
    assert cost["arithmetic"].startswith({"fp32": "float32", "bf16": "bf16"}[cost["precision"]])


def test_the_model_is_exported_and_read_on_the_cpu(faces: Work, pruned: Prune, tmp_path: Path) -> None:
    run, out = pruned("channel"), tmp_path / "model.pt2"
    ran = fairprune("export", str(run), "--to", "pt2", "--out", str(out), cwd=faces.folder)
    assert ran.code == 0, ran.err
    model = fairprune_cli.load(run)
    size = report_of(run)["size"]["parameters"]
    assert sum(parameter.numel() for parameter in model.parameters()) == size
    images = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        again = torch.export.load(out).module()(images)
        assert torch.allclose(again, model(images), atol=1e-4)
