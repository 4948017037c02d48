"""Every method through the whole pipeline: plan, budget, file, report; and what a run leaves when it diverges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fairprune_cli.core.terminal import Terminal
from fairprune_cli.models.checkpoint.load import load_model
from fairprune_cli.pruning import methods
from fairprune_cli.run import prune as pipeline
from fairprune_cli.run.options import resolve
from tests.support.commands import Work, fairprune


def run(work: Work, out: Path, **flags: Any) -> dict[str, Any]:
    common = {"data": str(work.folder / "manifest.yaml"), "attr": ("gender",), "epochs": 1, "batch_size": 64,
              "rounds": 2, "saliency_batches": 1}  # fmt: skip
    resolved = resolve(common | flags, {}, None)
    return pipeline.prune(pipeline.PruneRequest(work.model, resolved, out), Terminal(quiet=True)).report


@pytest.mark.parametrize("method", methods.names())
def test_every_method_reports_a_pruned_model_within_the_same_passes(method: str, work: Work, tmp_path: Path) -> None:
    for granularity in set(methods.get(method).granularities) - {"2:4"}:  # which has a sparsity of its own
        report = run(work, tmp_path / granularity, method=method, granularity=granularity, sparsity=0.7)
        # 550 lower images in batches of 64: 8 passes, of which a step can leave less than one and a third over.
        assert 8 - 4 / 3 < report["cost"]["passes"] <= 8
        assert report["sparsity"]["achieved"] == pytest.approx(0.7, abs=0.01)
        assert report["results"]["pruned"]["accuracy"] is not None
        assert report["training"][-1]["exact_gap"]["gender"] is not None


@pytest.mark.parametrize(
    "flags",
    [
        {"balance": "none"}, {"balance": "even"}, {"distill": 0.5}, {"average": 0.6}, {"precision": "bf16"},
        {"schedule": "one-shot"}, {"scope": "layer"}, {"score_init": "gradient"},
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_changes_the_result(flags: dict[str, Any], work: Work, tmp_path: Path) -> None:
    base = {
        "granularity": "weight", "sparsity": 0.9, "upper_every": 1, "multiplier_rate": 1.0, "tolerance": 0.0,
        "tolerance_errors": 0.0, "precision": "fp32",
    }  # fmt: skip
    if "score_init" in flags:  # what the first-order scores start from
        base["mask_step"] = "first-order"
    plain = run(work, tmp_path / "plain", **base)
    other = run(work, tmp_path / "other", **base | flags)
    assert plain["model"]["output_sha256"] != other["model"]["output_sha256"]
    assert other["cost"]["passes"] <= 8


def test_a_method_that_needs_channels_says_so(work: Work, tmp_path: Path) -> None:
    ran = fairprune(
        "prune", "model.pt", "--attr", "gender", "--method", "fpgm", "--granularity", "weight", "--out",
        str(tmp_path / "run"), cwd=work.folder,
    )  # fmt: skip
    assert ran.code == 2
    assert "--granularity: the method fpgm does not work for weight" in ran.err
    assert not (tmp_path / "run").exists()


def test_precision_auto_equals_the_format_that_it_names(work: Work, tmp_path: Path) -> None:
    chosen = run(work, tmp_path / "auto", granularity="weight", sparsity=0.9, precision="auto")
    named = chosen["cost"]["precision"]
    given = run(work, tmp_path / "given", granularity="weight", sparsity=0.9, precision=named)
    assert given["cost"]["precision"] == named
    assert given["model"]["output_sha256"] == chosen["model"]["output_sha256"]


def test_a_run_that_diverges_keeps_its_best_state(work: Work, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ran = fairprune(
        "prune", "model.pt", "--attr", "gender", "--granularity", "weight", "--epochs", "40", "--batch-size", "64",
        "--method", "magnitude", "--lr", "10", "--set", "momentum=0.99", "--set", "clip_norm=1e30", "--set",
        "weight_decay=1", "--out", str(out),
        cwd=work.folder,
    )  # fmt: skip
    assert ran.code == 3, ran.err
    assert "diverged" in ran.err
    assert "best.safetensors" in ran.err
    assert "lower --lr" in ran.err
    assert not (out / "report.json").exists()
    assert not (out / "model.safetensors").exists()
    kept = load_model(out / "best.safetensors")
    assert kept.architecture == "resnet10-w16"
    assert all(torch.isfinite(p).all() for p in kept.model.parameters())
    again = fairprune("prune", "model.pt", "--attr", "gender", "--epochs", "1", "--out", str(out), cwd=work.folder)
    assert again.code == 2  # what was kept is not overwritten
    assert "already exists" in again.err
